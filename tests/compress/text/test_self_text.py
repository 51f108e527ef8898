"""Text that the model writes: sampled as the model says, by seed, without loops, and kept."""

import json
from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dotresize.compress.text.grouped_attention import grouped_attention
from dotresize.compress.text.openings import BEGINNINGS, QUESTIONS
from dotresize.compress.text.passages import PASSAGES
from dotresize.compress.text.sampling import sample
from dotresize.compress.text.self_text import SelfText, _Sieve
from dotresize.compress.weights.source import DenseModel, load_dense
from dotresize.errors import TextError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dense(pico_llama: Path) -> DenseModel:
    return load_dense(str(pico_llama))


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_a_cached_padded_batch_says_what_each_prompt_says_alone(dense: DenseModel) -> None:
    """With a temperature of zero in all but name: the largest logits are made certain."""
    sharp = load_dense(str(dense.model.config._name_or_path)).model
    sharp.get_output_embeddings().weight.mul_(1e4)
    prompts = [[5, 6, 7], [9], [20, 21, 22, 23, 24, 25]]
    together = sample(sharp, prompts, new_tokens=12, stop=frozenset(), generator=_generator())
    for prompt, said in zip(prompts, together, strict=True):
        ids = list(prompt)
        for _ in range(12):
            ids.append(int(sharp(torch.tensor([ids])).logits[0, -1].argmax()))
        assert said == ids[len(prompt) :]


def test_attention_in_groups_says_the_same(dense: DenseModel) -> None:
    """The same sums in another order: the tokens that a seed draws are equal."""
    prompts = [[5, 6, 7], [9], [20, 21, 22, 23, 24, 25]]
    assert dense.model.config.num_key_value_heads < dense.model.config.num_attention_heads
    stock = sample(dense.model, prompts, new_tokens=12, stop=frozenset(), generator=_generator())
    with grouped_attention(dense.model):
        assert dense.model.config._attn_implementation != "sdpa"
        grouped = sample(dense.model, prompts, new_tokens=12, stop=frozenset(), generator=_generator())
    assert dense.model.config._attn_implementation == "sdpa"
    assert grouped == stock


def test_tokens_come_as_often_as_the_model_says(dense: DenseModel) -> None:
    """3000 first tokens against the softmax: the chi-square statistic is within six of its deviations."""
    prompt = [5, 6, 7]
    drawn = [
        token
        for (token,) in sample(
            dense.model, [prompt] * 3000, new_tokens=1, stop=frozenset(), generator=_generator()
        )
    ]
    with torch.no_grad():
        expected = torch.softmax(dense.model(torch.tensor([prompt])).logits[0, -1].double(), -1) * 3000
    counts = torch.bincount(torch.tensor(drawn), minlength=len(expected)).double()
    often = expected >= 5
    statistic = float(((counts - expected)[often] ** 2 / expected[often]).sum())
    freedom = int(often.sum())
    assert abs(statistic - freedom) < 6 * (2 * freedom) ** 0.5


def test_a_stop_token_ends_its_text_only(dense: DenseModel) -> None:
    free = sample(dense.model, [[5], [9]], new_tokens=20, stop=frozenset(), generator=_generator())
    stop = free[0][3]
    said = sample(dense.model, [[5], [9]], new_tokens=20, stop=frozenset([stop]), generator=_generator())
    assert said[0] == free[0][: free[0].index(stop) + 1]
    assert len(said[1]) == 20 or said[1][-1] == stop


def test_the_seed_decides_and_more_text_goes_on_from_less(dense: DenseModel, tmp_path: Path) -> None:
    writer = SelfText(dense=dense, device=CPU, seed=3, cache=tmp_path / "cache")
    few = writer.documents(300)
    (file,) = (tmp_path / "cache").glob("*")
    assert len(json.loads(file.read_text())) == 1
    assert sum(len(dense.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in few) >= 300
    more = replace(writer, cache=None).documents(12_000)
    assert more[: len(few)] == few
    assert len(more) > len(few)
    assert SelfText(dense=dense, device=CPU, seed=4).documents(300) != few
    assert any(text.startswith("<s>user\n") for text in more), "through the chat template"
    assert any(text.startswith(BEGINNINGS) for text in more)
    assert any(text.startswith(PASSAGES) for text in more)


def test_the_cache_is_used_and_a_damaged_one_refused(dense: DenseModel, tmp_path: Path) -> None:
    writer = SelfText(dense=dense, device=CPU, seed=3, cache=tmp_path)
    writer.documents(300)
    (file,) = tmp_path.glob("*")
    said = "Something that no pico would say, with words enough for a text."
    file.write_text(json.dumps([[["", f"{index} {said} {index}"] for index in range(40)]]))
    assert writer.documents(300)[0] == f"0 {said} 0"
    file.write_text("[[3]]")
    with pytest.raises(TextError, match=r"self-\w+\.json is damaged"):
        writer.documents(300)


def test_a_model_without_a_template_writes_too(dense: DenseModel) -> None:
    plain = copy(dense.tokenizer)
    plain.chat_template = None
    texts = SelfText(dense=replace(dense, tokenizer=plain), device=CPU, seed=3).documents(300)
    assert any(text.startswith("User: ") for text in texts)


def test_loops_and_repetitions_are_dropped(dense: DenseModel) -> None:
    sieve = _Sieve(dense.tokenizer)
    good = "Sphinx of black quartz, judge my vow; five boxing wizards jump quickly."
    sieve.add([("", "again and again and " * 12), ("Q: ", good), ("", good), ("", "short")])
    sieve.add([("", good + " Really."), ("", "Pack my box with five dozen liquor jugs, said nobody at all.")])
    assert sieve.texts == ["Q: " + good, "Pack my box with five dozen liquor jugs, said nobody at all."]


def test_the_openings_are_many_and_different() -> None:
    assert len(QUESTIONS) >= 64
    assert len(set(QUESTIONS)) == len(QUESTIONS)
    assert len(set(BEGINNINGS)) == len(BEGINNINGS)
    assert len(set(PASSAGES)) == len(PASSAGES)
