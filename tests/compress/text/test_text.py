"""Text specifications and token windows."""

import json
import os
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from dotresize.compress.text.calibration import _pieces, draw_windows, leading_windows
from dotresize.compress.text.conversation import Conversation, render
from dotresize.compress.text.documents import read_documents
from dotresize.errors import TextError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def test_builtin_halves_share_no_paragraph() -> None:
    calibration, evaluation = (
        str(read_documents("builtin", split)[0]).split("\n\n") for split in ("calibration", "evaluation")
    )
    assert not set(calibration) & set(evaluation)
    assert len(set(evaluation)) == len(evaluation)
    assert sum(map(len, calibration)) > 2 * sum(map(len, evaluation)) > 50_000


def test_txt_jsonl_and_parquet_say_the_same(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    documents = ["first document", "zweites Dokument, mit Umlaut ü"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents) + "\n")
    pyarrow.parquet.write_table(pyarrow.table({"text": [*documents, None]}), tmp_path / "a.parquet")
    (tmp_path / "a.txt").write_text(documents[1], encoding="utf-8")
    assert read_documents(str(tmp_path / "a.jsonl"), "calibration") == documents
    assert read_documents(str(tmp_path / "a.parquet"), "calibration") == documents
    assert read_documents(str(tmp_path / "a.txt"), "calibration") == documents[1:]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.txt", None, "is not a file; check the path"),
        ("notes.pdf", b"x", "is not a text source; expected `builtin`"),
        ("empty.txt", b" \n", "holds no text"),
        ("latin.txt", b"caf\xe9", "is not UTF-8 text"),
        ("broken.jsonl", b'{"text": "a"}\n{oops', "line 2 is not JSON"),
        ("other.jsonl", b'{"body": "a"}', "line 1 has no string field `text`"),
        ("list.jsonl", b"[1]", "line 1 has no string field `text`"),
        ("nested.jsonl", b"[" * 100_000, "cannot be read: maximum recursion depth|is not JSON"),
        ("half.jsonl", b'{"text": "\\ud83d"}', "line 1 holds half of a surrogate pair"),
        ("broken.parquet", b"PAR1", "is not a readable parquet file"),
    ],
)
def test_unusable_text_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TextError, match=message):
        read_documents(str(tmp_path / name), "calibration")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "the text is empty"),
        ("hf:", "names no dataset"),
        ("a\0.txt", "a character that no path can hold"),
        ("~nobody-of-that-name/a.txt", "names a home directory that does not exist"),
        ("x" * 300 + ".txt", "longer than a file system holds"),
    ],
)
def test_names_that_no_text_can_have(name: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        read_documents(name, "calibration")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A pipe blocks whoever opens it, and /dev/zero never ends."""
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    for name in ("pipe.txt", "zero.txt"):
        with pytest.raises(TextError, match="is not a file"):
            read_documents(str(tmp_path / name), "calibration")


def test_one_endless_line_is_read_as_far_as_needed(
    tmp_path: Path, pico_tokenizer: "PreTrainedTokenizerFast"
) -> None:
    """Fifty megabytes without a space: as one string this took minutes and gigabytes."""
    file = tmp_path / "line.txt"
    file.write_text("abcdefghij" * 5_000_000)
    few = leading_windows(str(file), pico_tokenizer, windows=3, window_tokens=64)
    assert few.record.windows == 3
    assert few.available < 50_000_000 // 64 // 10


def test_long_documents_are_cut_before_a_line_or_a_word() -> None:
    for document in ("word " * 500_000, "a line\nand a word " * 200_000, "x" * 5_000_000, "short", ""):
        pieces = list(_pieces(document))
        assert "".join(pieces) == document
        assert len(pieces) == max(1, -(-len(document) // 2**21))
    assert all(piece.startswith("\n") for piece in list(_pieces("a line\nand a word " * 200_000))[1:])


def test_windows_are_packed_across_documents(
    tmp_path: Path, pico_tokenizer: "PreTrainedTokenizerFast"
) -> None:
    file = tmp_path / "two.jsonl"
    file.write_text('{"text": "aa"}\n{"text": "bb"}\n')
    windows = draw_windows(str(file), pico_tokenizer, windows=1, window_tokens=5, seed=0)
    a, b = (pico_tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("aa", "bb"))
    assert windows.token_ids[0].tolist() == [*a, pico_tokenizer.eos_token_id, *b][:5]


def test_the_seed_draws_the_windows(pico_tokenizer: "PreTrainedTokenizerFast") -> None:
    def draw(seed: int) -> torch.Tensor:
        return draw_windows(
            "builtin:documentation", pico_tokenizer, windows=9, window_tokens=64, seed=seed
        ).token_ids

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert len(torch.unique(draw(1), dim=0)) == 9


def test_default_takes_128_windows_or_what_there_is(
    tmp_path: Path, pico_tokenizer: "PreTrainedTokenizerFast"
) -> None:
    assert (
        draw_windows(
            "builtin:documentation", pico_tokenizer, windows=None, window_tokens=64, seed=0
        ).record.windows
        == 128
    )
    (tmp_path / "short.txt").write_text("ten words " * 100)
    short = draw_windows(str(tmp_path / "short.txt"), pico_tokenizer, windows=None, window_tokens=64, seed=0)
    assert short.record.windows == short.available < 128


def test_more_windows_than_the_text_holds_are_refused(pico_tokenizer: "PreTrainedTokenizerFast") -> None:
    with pytest.raises(TextError, match=r"holds \d+ windows of 512 tokens, 100000 were asked for"):
        draw_windows("builtin:code", pico_tokenizer, windows=100_000, window_tokens=512, seed=0)
    with pytest.raises(TextError, match="less than one window"):
        leading_windows("builtin", pico_tokenizer, window_tokens=10_000_000)


def test_evaluation_windows_are_the_first_ones(pico_tokenizer: "PreTrainedTokenizerFast") -> None:
    few = leading_windows("builtin", pico_tokenizer, windows=3, window_tokens=64)
    more = leading_windows("builtin", pico_tokenizer, at_most=5, window_tokens=64)
    assert torch.equal(few.token_ids, more.token_ids[:3])
    assert few.record.sha256 != more.record.sha256


def test_conversations_go_through_the_models_template(
    tmp_path: Path, pico_tokenizer: "PreTrainedTokenizerFast"
) -> None:
    messages = [{"role": "user", "content": "Now?"}, {"role": "assistant", "content": "Never."}]
    file = tmp_path / "chat.jsonl"
    file.write_text(json.dumps({"messages": messages}))
    windows = leading_windows(str(file), pico_tokenizer, window_tokens=5, windows=1)
    expected = "<s>user\nNow?</s>\n<s>assistant\nNever.</s>\n"
    assert expected.startswith(str(pico_tokenizer.decode(windows.token_ids[0])))
    (conversation,) = read_documents(str(file), "evaluation")
    assert isinstance(conversation, Conversation)
    assert render(conversation, pico_tokenizer) == expected
    plain = copy(pico_tokenizer)
    plain.chat_template = None
    assert render(conversation, plain) == "User: Now?\n\nAssistant: Never."
    plain.chat_template = "{{ raise_exception('only users here') }}"
    with pytest.raises(
        TextError, match="between user, assistant cannot be read by the model's chat template"
    ):
        render(conversation, plain)


@pytest.mark.parametrize("messages", ["", [], [{"role": "user"}], [3]])
def test_conversations_without_turns_are_refused(tmp_path: Path, messages: object) -> None:
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": messages}))
    with pytest.raises(TextError, match=r"chat\.jsonl line 1 has (no turns|a message without)"):
        read_documents(str(tmp_path / "chat.jsonl"), "calibration")


def test_code_halves_share_no_file() -> None:
    halves = [set(map(str, read_documents("builtin:code", split))) for split in ("calibration", "evaluation")]
    assert min(map(len, halves)) >= 8
    assert not halves[0] & halves[1]
    assert any("import " in document for document in halves[1])
