"""Generation by ONNX Runtime GenAI against transformers, in one process."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from dotresize.errors import InputError, ModelError, OptionError
from dotresize.export.contract import reference
from dotresize.serve.onnx_server.generation import PREFILL_TOKENS, Generation, OnnxModel, Piece

PROMPT = Generation(prompt_ids=(5, 6, 7, 8), max_tokens=24, ignore_eos=True)


@pytest.fixture(scope="module")
def model(pico_onnx: Path) -> OnnxModel:
    return OnnxModel(pico_onnx)


def run(model: OnnxModel, request: Generation) -> list[Piece]:
    return list(model.generate(request, Event()))


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def tokens_of(pieces: list[Piece]) -> tuple[int, ...]:
    return tuple(token for piece in pieces for token in piece.token_ids)


def test_greedy_tokens_equal_those_of_transformers(model: OnnxModel, pico_onnx: Path) -> None:
    for prompt in reference.load(pico_onnx).prompts:
        request = Generation(prompt_ids=prompt.token_ids, max_tokens=reference.GREEDY_TOKENS, ignore_eos=True)
        assert tokens_of(run(model, request)) == prompt.greedy_token_ids


def test_a_prompt_longer_than_one_step_of_its_computation_is_the_same_prompt(
    model: OnnxModel, pico_served: Path
) -> None:
    import torch
    from transformers import LlamaForCausalLM

    prompt = tuple(5 + 7 * place % 370 for place in range(2 * PREFILL_TOKENS - 20))
    stock: Any = LlamaForCausalLM.from_pretrained(pico_served)
    expected = stock.generate(torch.tensor([prompt]), do_sample=False, min_new_tokens=10, max_new_tokens=10)[
        0, len(prompt) :
    ]
    request = Generation(prompt_ids=prompt, max_tokens=10, ignore_eos=True)
    assert tokens_of(run(model, request)) == tuple(expected.tolist())


def test_text_and_chat_become_the_tokens_of_transformers(model: OnnxModel, pico_onnx: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pico_onnx)
    for text in ("Simple is better", "héllo 😀", ""):
        assert list(model.encode(text)) == tokenizer(text)["input_ids"]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": 'Say "hi" \\ 😀'}]
    template = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    expected = tokenizer(template, add_special_tokens=False)["input_ids"]
    assert list(model.encode_chat(messages)) == expected
    text = str(tokenizer.decode(list(tokens_of(run(model, PROMPT))), skip_special_tokens=True))
    # a last character that never became complete is not sent
    assert text_of(run(model, PROMPT)) == text.rstrip("\N{REPLACEMENT CHARACTER}")


def test_the_end_of_text_ends_an_answer_unless_told_otherwise(
    model: OnnxModel, pico_onnx: Path, tmp_path: Path
) -> None:
    all_tokens = tokens_of(run(model, PROMPT))
    ending = shutil.copytree(pico_onnx, tmp_path / "ending")
    config = json.loads((ending / "genai_config.json").read_text())
    end = next(token for token in all_tokens[3:] if token not in all_tokens[:3])
    config["model"]["eos_token_id"] = [end, 1]
    (ending / "genai_config.json").write_text(json.dumps(config))
    other = OnnxModel(ending)
    pieces = run(other, replace(PROMPT, ignore_eos=False))
    assert tokens_of(pieces) == all_tokens[: all_tokens.index(end) + 1]
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish_reason == "stop"
    assert tokens_of(run(other, PROMPT)) == all_tokens


def test_a_stop_text_ends_an_answer_and_is_not_sent(model: OnnxModel) -> None:
    whole = text_of(run(model, PROMPT))
    stop = whole[9:12]
    before = whole[: whole.index(stop)]
    pieces = run(model, replace(PROMPT, stop=("nowhere in there", stop)))
    assert text_of(pieces) == before
    assert pieces[-1].finish_reason == "stop"
    # a stop text that begins but never completes is sent after all
    assert text_of(run(model, replace(PROMPT, stop=(whole[-1] + "never",)))) == whole
    assert run(model, PROMPT)[-1].finish_reason == "length"


def test_sampling_repeats_with_a_seed(model: OnnxModel) -> None:
    request = replace(PROMPT, temperature=1.0, seed=7)
    first = tokens_of(run(model, request))
    assert first == tokens_of(run(model, request))
    assert first != tokens_of(run(model, replace(request, seed=8)))  # 24 tokens of 384: equal by chance never


def test_a_cancelled_request_stops(model: OnnxModel) -> None:
    cancelled = Event()
    pieces = model.generate(PROMPT, cancelled)
    next(pieces)
    cancelled.set()
    assert list(pieces) == []
    assert len(run(model, PROMPT)) == PROMPT.max_tokens  # and the next one runs


def test_a_smaller_context_is_kept_and_a_larger_one_refused(pico_onnx: Path) -> None:
    assert OnnxModel(pico_onnx, 64).max_model_len == 64
    with pytest.raises(OptionError, match="--max-model-len 257 is more than the model's 256 positions"):
        OnnxModel(pico_onnx, 257)


def test_what_cannot_be_opened_is_named(pico_onnx: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(pico_onnx, tmp_path / "broken")
    (broken / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="cannot be opened by ONNX Runtime GenAI"):
        OnnxModel(broken)
    (broken / "genai_config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be opened by ONNX Runtime GenAI"):
        OnnxModel(broken)


def test_a_model_without_a_chat_template_says_so(pico_onnx: Path, tmp_path: Path) -> None:
    plain = shutil.copytree(pico_onnx, tmp_path / "plain")
    (plain / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="chat template"):
        OnnxModel(plain).encode_chat([{"role": "user", "content": "hi"}])
