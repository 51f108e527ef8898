"""The judge itself: what it calls a failure, shown on endings of each kind."""

from dataclasses import replace
from pathlib import Path

import pytest

from .case import Attempt
from .judge import Ending, judge
from .tree import changes, snapshot

ATTEMPT = Attempt(arguments=["compress", "model", "-o", "out"], damage="none", model="model", output="out")
FILE = "file 100644 abc"
REFUSED = Ending(
    code=2,
    signal=None,
    stderr="loading\nerror: model has no config.json\n",
    escaped="",
    lies=[],
    alive=[],
    root="/nowhere",
    before={"home": "d", "home/thesis.txt": FILE},
    after={"home": "d", "home/thesis.txt": FILE},
)


def test_an_error_of_ours_and_a_success_are_right() -> None:
    assert judge(ATTEMPT, REFUSED) == ("our error", "error: model has no config.json")
    written = REFUSED.after | {"home/out": "d", "home/out/config.json": FILE}
    assert judge(ATTEMPT, replace(REFUSED, code=0, after=written))[0] == "legitimate"


@pytest.mark.parametrize(
    ("ending", "verdict"),
    [
        (replace(REFUSED, code=None), "hang"),
        (replace(REFUSED, code=-1, signal=11), "crash"),
        (replace(REFUSED, code=99, escaped="KeyError: 'x'"), "foreign"),
        (replace(REFUSED, code=70), "foreign"),
        (replace(REFUSED, stderr="Traceback (most recent call last):\n  x\nKeyError: 3"), "foreign"),
        (replace(REFUSED, code=0, lies=["x has other values than its file"]), "silent"),
        (replace(REFUSED, code=2, alive=["process 7: python"]), "left over"),
        (replace(REFUSED, after=REFUSED.after | {"home/.out.x.tmp": "d"}), "left over"),
        (replace(REFUSED, after=REFUSED.after | {"home/thesis.txt": "file 100644 other"}), "damaged"),
        (replace(REFUSED, after={"home": "d"}), "damaged"),
        (replace(REFUSED, code=0, after={"home": "d"}), "damaged"),
        (replace(REFUSED, code=0, after=REFUSED.after | {"home/model/out": "d"}), "damaged"),
        (replace(REFUSED, after=REFUSED.after | {"home/executed": FILE}), "damaged"),
    ],
)
def test_every_kind_of_failure_is_seen(ending: Ending, verdict: str) -> None:
    assert judge(ATTEMPT, ending)[0] == verdict


def test_layers_kept_for_the_next_run_are_no_left_over() -> None:
    work = "home/.out.dotresize-work"
    kept = REFUSED.after | {work: "d", f"{work}/basis.safetensors": FILE}
    assert judge(ATTEMPT, replace(REFUSED, after=kept))[0] == "our error"


def test_an_output_that_was_written_and_could_not_be_measured_is_no_left_over() -> None:
    half = REFUSED.after | {"home/out": "d", "home/out/model.safetensors": FILE}
    assert judge(ATTEMPT, replace(REFUSED, after=half))[0] == "left over"
    whole = half | {"home/out/dotresize.json": FILE}
    assert judge(ATTEMPT, replace(REFUSED, after=whole))[0] == "our error"


def test_a_tree_shows_content_links_and_modes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("1")
    (tmp_path / "link").symlink_to("a")
    before = snapshot(tmp_path)
    assert changes(before, snapshot(tmp_path)) == ([], [])
    (tmp_path / "a" / "file").chmod(0o600)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "a" / "new").write_text("2")
    assert changes(before, snapshot(tmp_path)) == (["link", "a/file"], ["a/new"])
    assert changes(before, snapshot(tmp_path), altering=["a"]) == (["link"], [])
