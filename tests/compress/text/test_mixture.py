"""Shares of a calibration mixture and the windows that they come to."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from dotresize.compress.text.calibration import check_texts, draw_windows
from dotresize.compress.text.mixture import BUILTIN_SHARES, SELF, mixture_of, windows_of
from dotresize.errors import OptionError, TextError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def _shares(*specs: str) -> dict[str, Any]:
    return {part.spec: pytest.approx(part.share) for part in mixture_of(specs)}


def test_unnamed_shares_split_the_rest() -> None:
    assert _shares("a.txt") == {"a.txt": 1.0}
    assert _shares("a.txt", "b.txt") == {"a.txt": 0.5, "b.txt": 0.5}
    assert _shares("a.txt", "b.txt=0.3", "c.txt") == {"a.txt": 0.35, "b.txt": 0.3, "c.txt": 0.35}
    assert _shares("a.txt=0.25", "b.txt=0.75") == {"a.txt": 0.25, "b.txt": 0.75}


def test_builtin_is_taken_apart() -> None:
    assert sum(BUILTIN_SHARES.values()) == pytest.approx(1.0)
    expected = {spec: pytest.approx(share / 2) for spec, share in BUILTIN_SHARES.items()}
    assert _shares("builtin", "a.txt=0.5") == expected | {"a.txt": 0.5}
    read = mixture_of(["builtin"], writer=False)
    assert [part.spec for part in read] == [spec for spec in BUILTIN_SHARES if spec != SELF]
    assert sum(part.share for part in read) == pytest.approx(1.0)


def test_a_file_whose_name_holds_an_equals_sign(tmp_path: Path) -> None:
    file = tmp_path / "a=0.5.txt"
    file.write_text("x")
    assert _shares(str(file)) == {str(file): 1.0}


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([], "no calibration text was given"),
        (["a.txt=1.5", "b.txt"], "a share of 1.5; expected more than 0 and at most 1"),
        (["a.txt=0", "b.txt"], "a share of 0; expected more than 0"),
        (["a.txt=nan", "b.txt"], "a share of nan; expected"),
        (["a.txt=half", "b.txt"], "gives 'half' as a share; expected a fraction, as in a.txt=0.3"),
        (["a.txt=0.8", "b.txt=0.8"], "add up to 1.6; they are fractions of all windows"),
        (["a.txt=1", "b.txt"], "which leaves nothing for 1 without a share"),
        (["a.txt=0.3", "b.txt=0.3"], "add up to 0.6; expected 1, or a text without a share"),
        (["a.txt", "a.txt"], "a.txt is in the calibration mixture twice"),
        (["builtin", "builtin:code"], "builtin:code is in the calibration mixture twice"),
    ],
)
def test_shares_that_cannot_be(specs: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        mixture_of(specs)


@pytest.mark.parametrize("windows", [3, 7, 16, 128])
def test_windows_add_up_and_follow_the_shares(windows: int) -> None:
    parts = mixture_of(["a.txt=0.5", "b.txt=0.3", "c.txt"])
    counts = windows_of(parts, windows)
    assert sum(counts) == windows
    assert all(abs(count - part.share * windows) < 1 for count, part in zip(counts, parts, strict=True))


def test_a_text_that_gets_no_window_is_refused_unless_it_is_a_part_of_builtin() -> None:
    with pytest.raises(
        OptionError, match=r"0\.01 of 8 calibration windows is less than one window of b\.txt"
    ):
        windows_of(mixture_of(["a.txt", "b.txt=0.01"]), 8)
    assert sum(windows_of(mixture_of(["builtin"]), 1)) == 1


def _file(tmp_path: Path, name: str, words: range) -> str:
    (tmp_path / name).write_text(" ".join(f"{name[0]}{word}" for word in words))
    return str(tmp_path / name)


def test_a_mixture_is_drawn_by_its_seed(tmp_path: Path, pico_tokenizer: "PreTrainedTokenizerFast") -> None:
    specs = [_file(tmp_path, "a.txt", range(999)), _file(tmp_path, "b.txt", range(999)) + "=0.25"]

    def draw(seed: int):
        return draw_windows(specs, pico_tokenizer, windows=8, window_tokens=32, seed=seed)

    first, again, other = draw(1), draw(1), draw(2)
    assert torch.equal(first.token_ids, again.token_ids)
    assert first.record == again.record
    assert first.record.sha256 != other.record.sha256
    assert first.record.name == "a.txt + b.txt=0.25"
    assert [(part.name, part.share, part.windows) for part in first.record.parts] == [
        ("a.txt", 0.75, 6),
        ("b.txt", 0.25, 2),
    ]
    # the drawn windows are those of the texts alone, shuffled together
    alone = {
        tuple(window)
        for spec, part in zip((specs[0], specs[1].removesuffix("=0.25")), first.record.parts, strict=True)
        for window in draw_windows(spec, pico_tokenizer, windows=part.windows, window_tokens=32, seed=1)
        .token_ids.numpy()
        .tolist()
    }
    drawn = [tuple(window) for window in first.token_ids.tolist()]
    assert set(drawn) == alone
    assert len(set(drawn)) == 8
    of_a = ["a" in str(pico_tokenizer.decode(list(window))) for window in drawn]
    assert of_a != sorted(of_a, reverse=True), "not one text after the other"


def test_no_window_comes_twice_even_from_a_copy(
    tmp_path: Path, pico_tokenizer: "PreTrainedTokenizerFast"
) -> None:
    one = _file(tmp_path, "a.txt", range(60))
    copy = str(tmp_path / "copy.txt")
    Path(copy).write_text(Path(one).read_text())
    held = draw_windows(one, pico_tokenizer, windows=None, window_tokens=16, seed=0).available
    both = draw_windows(
        [one, copy], pico_tokenizer, windows=held - held % 2, window_tokens=16, seed=0
    ).token_ids
    assert len({tuple(window) for window in both.tolist()}) == len(both)
    with pytest.raises(
        TextError, match=rf"copy\.txt holds \d+ windows of 16 tokens, {2 * held} were asked for"
    ):
        draw_windows([one, copy], pico_tokenizer, windows=2 * held, window_tokens=16, seed=0)


def test_the_default_is_what_the_scarcest_text_allows(
    tmp_path: Path, pico_tokenizer: "PreTrainedTokenizerFast"
) -> None:
    specs = [_file(tmp_path, "a.txt", range(4000)), _file(tmp_path, "b.txt", range(60))]
    scarce = draw_windows(specs[1], pico_tokenizer, windows=None, window_tokens=16, seed=0).available
    drawn = draw_windows(
        [specs[0] + "=0.9", specs[1]], pico_tokenizer, windows=None, window_tokens=16, seed=0
    )
    assert drawn.record.windows == min(128, scarce * 10)


def test_self_text_needs_a_model_but_is_checked_without(pico_tokenizer: "PreTrainedTokenizerFast") -> None:
    with pytest.raises(OptionError, match="self text needs the model that writes it"):
        draw_windows(SELF, pico_tokenizer, windows=2, window_tokens=16, seed=0)
    check_texts(SELF, pico_tokenizer, windows=2, window_tokens=16, seed=0)
    asked: list[int] = []

    def write(tokens: int) -> list[str]:
        asked.append(tokens)
        return ["Words that a model wrote. " * 9, "And more of them. " * 20]

    drawn = draw_windows(SELF, pico_tokenizer, windows=2, window_tokens=16, seed=0, self_text=write)
    assert asked == [32]
    assert drawn.record.parts[0].drawn == (0, 1)
    assert str(pico_tokenizer.decode(drawn.token_ids[0])).startswith("Words that")
