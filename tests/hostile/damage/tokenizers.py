"""Tokenizer files and chat templates: damaged, missing, of other kinds, hostile."""

import json
from pathlib import Path
from random import Random
from typing import Any

from ..case import Attempt, Sandbox
from ..operations import on_checkpoint, on_foreign_model
from .json_damage import damage_file, mutate_file, set_fields

__all__ = ["BASES", "damage"]

BASES = ("llama", "narrow")
TEMPLATES = (
    "{% for", "{{ 1/0 }}", "{% for i in range(10**9) %}x{% endfor %}", "{{ ''.__class__.__mro__ }}",
    "{{ raise_exception('no') }}", "", "\0", "{% include '/etc/passwd' %}", "{{ messages[99].content }}",
)  # fmt: skip
SETTINGS: list[dict[str, Any]] = [
    {"tokenizer_class": "Nothing"}, {"tokenizer_class": "LlamaTokenizer"}, {"tokenizer_class": 3},
    {"tokenizer_class": "BertTokenizer"}, {"tokenizer_class": None}, {"model_max_length": -1},
    {"model_max_length": "x"}, {"eos_token": 5}, {"eos_token": None}, {"eos_token": {"content": 3}},
    {"eos_token": "<not there>"}, {"added_tokens_decoder": {"x": {}}}, {"added_tokens_decoder": [1]},
    {"added_tokens_decoder": {"99999": {"content": "new"}}}, {"pad_token": [1]}, {"extra_special_tokens": 7},
    {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}, {"chat_template": [{"name": 1}]},
    {"padding_side": "up"}, {"clean_up_tokenization_spaces": "x"}, {"backend": "nothing"},
]  # fmt: skip


def damage(box: Sandbox) -> Attempt:
    base = box.rng.choice(BASES)
    model = box.copy(base)
    acts = ["file", "field", "field", "model", "settings", "template", "odd vocabulary", "other files"]
    act = box.rng.choice(acts)
    what = f"{base}: {_damage(model, act, box.rng)}"
    return (on_checkpoint if base == "narrow" else on_foreign_model)(box, "model", what)


def _damage(model: Path, act: str, rng: Random) -> str:
    tokenizer, settings = model / "tokenizer.json", model / "tokenizer_config.json"
    if act == "file":
        return damage_file(rng.choice([tokenizer, tokenizer, settings]), rng)
    if act == "field":
        return mutate_file(rng.choice([tokenizer, tokenizer, settings]), rng)
    if act == "settings":
        fields = rng.choice(SETTINGS)
        set_fields(settings, fields)
        return f"tokenizer_config.json: {fields}"
    if act == "template":
        template = rng.choice(TEMPLATES)
        (model / "chat_template.jinja").write_text(template)
        return f"chat template {template!r}"
    if act == "other files":
        name = rng.choice(["special_tokens_map.json", "added_tokens.json", "vocab.json", "tokenizer.model"])
        (model / name).write_text(
            rng.choice(["{", "[]", '{"a": "b"}', '{"a": 99999999}', "\0\1", '{"eos": 1}'])
        )
        if rng.random() < 0.3:
            tokenizer.unlink()
        return f"{name} beside {'' if tokenizer.exists() else 'no '}tokenizer.json"
    return _damage_model(tokenizer, act, rng)


def _damage_model(path: Path, act: str, rng: Random) -> str:
    data = json.loads(path.read_text())
    vocabulary: dict[str, Any] = data["model"]["vocab"]
    if act == "model":
        field = rng.choice(
            ["model", "pre_tokenizer", "decoder", "normalizer", "post_processor", "added_tokens"]
        )
        data[field] = rng.choice(
            [None, {}, {"type": "Nothing"}, [], 3, {"type": "BPE"}, {"type": "ByteLevel"}]
        )
        what = f"{field} = {data[field]}"
    else:
        token = rng.choice(sorted(vocabulary))
        what = rng.choice(["hole", "twice", "beyond", "negative", "word", "merges", "empty", "added"])
        if what == "empty":
            data["model"]["vocab"] = {}
        elif what == "merges":
            data["model"]["merges"] = rng.choice([[], [["x", "y"]], ["a b c"], [[1, 2]], None, [["Ġ"]]])
        elif what == "added":
            data["added_tokens"].append({**data["added_tokens"][0], "id": 5000, "content": "<new>"})
        elif what == "hole":
            del vocabulary[token]
        else:
            vocabulary[token] = {"twice": 7, "beyond": 10**6, "negative": -1, "word": "x"}[what]
        what = f"vocabulary: {what} {token!r}"
    path.write_text(json.dumps(data))
    return f"tokenizer.json {what}"
