"""The README's table of families is the one that the rows give."""

from pathlib import Path

from dotresize.compress.families.rows import FAMILIES
from dotresize.export.family_table import family_table

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_holds_the_table_of_the_rows() -> None:
    assert family_table() in README.read_text(encoding="utf-8"), (
        "README.md: replace the table of families with what family_table() returns"
    )


def test_every_row_is_in_it() -> None:
    table = family_table()
    for row in FAMILIES.values():
        assert f"`{row.architecture}`" in table
