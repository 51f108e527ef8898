"""A narrow model that drafts for its original: the exact command, and what vLLM does not take."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig
from typer.testing import CliRunner

from dotresize.cli import app
from dotresize.errors import DotresizeError, ModelError, OptionError
from dotresize.export.contract.manifest import Manifest
from dotresize.serve.engine.draft import draft_facts
from dotresize.serve.engine.machine import Machine
from dotresize.serve.engine.model_facts import ModelFacts, read_facts
from dotresize.serve.engine.options import ServeOptions
from dotresize.serve.engine.vllm_command import vllm_command

from ..conftest import SaveCheckpoint
from ..picos import SHAPE
from .machines import LAPTOP, NODE


@pytest.fixture
def narrow(save_pico: SaveCheckpoint) -> Path:
    return save_pico(LlamaConfig(**(SHAPE | {"intermediate_size": 64})), "narrow")


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND"):
        monkeypatch.delenv(name, raising=False)


def planned(original: Path, draft: Path, machine: Machine = LAPTOP, **options: Any) -> list[str]:
    """The arguments; facts are read from disk."""
    chosen = ServeOptions(directory=original, draft=draft, **options)
    return list(
        vllm_command(chosen, 8000, read_facts(original), machine, None, draft_facts(chosen)).arguments
    )


def speculation(arguments: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(arguments[arguments.index("--speculative-config") + 1])
    return found


def test_vllm_is_told_of_the_draft(pico_llama: Path, narrow: Path) -> None:
    assert speculation(planned(pico_llama, narrow)) == {
        "method": "draft_model",
        "model": str(narrow),
        "num_speculative_tokens": 2,
    }
    assert speculation(planned(pico_llama, narrow, draft_tokens=5))["num_speculative_tokens"] == 5
    assert "--speculative-config" not in planned_without(pico_llama)


def planned_without(original: Path) -> tuple[str, ...]:
    options = ServeOptions(directory=original)
    return vllm_command(options, 8000, read_facts(original), LAPTOP, None).arguments


def test_both_models_are_split_alike(pico_llama: Path, narrow: Path) -> None:
    """vLLM refuses any other number of ranks for the draft."""
    found = speculation(planned(pico_llama, narrow, NODE, tensor_parallel_size=2))
    assert found["draft_tensor_parallel_size"] == 2


def test_the_dry_run_shows_the_command(pico_llama: Path, narrow: Path) -> None:
    command = ["serve", str(pico_llama), "--draft", str(narrow), "--draft-tokens", "3", "--dry-run"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert '"num_speculative_tokens": 3' in done.stdout
    assert "draft narrow: 3 tokens proposed before each check" in done.output


def test_the_cache_holds_both_models(pico_llama: Path, narrow: Path) -> None:
    """The cache's note counts the bytes of a token in both: 2 x 3 layers x 2 heads x 32 x 4 bytes each."""
    options = ServeOptions(directory=pico_llama, draft=narrow)
    command = vllm_command(options, 8000, read_facts(pico_llama), LAPTOP, None, draft_facts(options))
    assert any(f"at {2 * 1536} bytes each" in note for note in command.notes)


@pytest.mark.parametrize(
    ("options", "kind", "complaint"),
    [
        ({"draft_tokens": 0}, OptionError, "--draft-tokens is 0; expected 1 to 64"),
        ({"draft_tokens": 65}, OptionError, "--draft-tokens is 65; expected 1 to 64"),
        ({"pipeline_parallel_size": 2}, OptionError, "vLLM runs no draft model beside pipeline stages"),
        ({"engine_flags": ("--speculative-config={}",)}, OptionError, "--draft writes it"),
        ({"engine_flags": ("--spec_model", "x")}, OptionError, "--draft writes it"),
    ],
)
def test_what_vllm_does_not_take_is_refused(
    pico_llama: Path, narrow: Path, options: dict[str, Any], kind: type[DotresizeError], complaint: str
) -> None:
    with pytest.raises(kind, match=complaint):
        planned(pico_llama, narrow, NODE, **options)


def test_a_split_that_only_the_original_allows_is_refused(
    pico_llama: Path, save_pico: SaveCheckpoint
) -> None:
    odd = save_pico(LlamaConfig(**(SHAPE | {"intermediate_size": 63})), "odd")
    with pytest.raises(OptionError, match="an MLP width of 63"):
        planned(pico_llama, odd, NODE, tensor_parallel_size=2)


def test_a_shorter_context_is_refused_with_the_remedy(pico_llama: Path, save_pico: SaveCheckpoint) -> None:
    short = save_pico(LlamaConfig(**(SHAPE | {"max_position_embeddings": 128})), "short")
    with pytest.raises(
        OptionError, match="has 128 positions and 256 tokens shall be served; give --max-model-len 128"
    ):
        planned(pico_llama, short)
    assert planned(pico_llama, short, max_model_len=128)


def test_another_vocabulary_is_no_draft(pico_llama: Path, save_pico: SaveCheckpoint) -> None:
    more = save_pico(LlamaConfig(**(SHAPE | {"vocab_size": 400})), "more")
    with pytest.raises(ModelError, match=r"has 400 tokens and .* has 384; a draft proposes the original's"):
        planned(pico_llama, more)
    other = save_pico(LlamaConfig(**SHAPE), "other")
    content = json.loads((other / "tokenizer.json").read_text())
    first, second, *_ = (token for token, index in content["model"]["vocab"].items() if index > 10)
    vocabulary = content["model"]["vocab"]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (other / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="numbers its tokens otherwise than"):
        planned(pico_llama, other)


def test_other_formats_are_no_draft(pico_llama: Path, narrow: Path, tmp_path: Path) -> None:
    (tmp_path / "genai_config.json").write_text("{}")
    with pytest.raises(ModelError, match="is an ONNX export; a draft runs in vLLM"):
        planned(pico_llama, tmp_path)
    with pytest.raises(ModelError, match="is not a directory"):
        planned(pico_llama, tmp_path / "nothing")
    manifest = Manifest(format="gguf", precision="f16", files={}, reference=None)
    facts: ModelFacts = replace(read_facts(narrow), manifest=manifest)
    options = ServeOptions(directory=pico_llama, draft=narrow)
    with pytest.raises(ModelError, match="is a gguf export; a draft is the output of"):
        vllm_command(options, 8000, read_facts(pico_llama), LAPTOP, None, facts)


def test_the_onnx_engine_has_no_drafts(narrow: Path, tmp_path: Path) -> None:
    (tmp_path / "genai_config.json").write_text("{}")
    done = CliRunner().invoke(app, ["serve", str(tmp_path), "--draft", str(narrow)])
    assert "--draft cannot take effect with the ONNX engine" in str(done.exception)


def test_draft_tokens_alone_have_no_effect(pico_llama: Path) -> None:
    with pytest.raises(OptionError, match="--draft-tokens cannot take effect without --draft"):
        ServeOptions(directory=pico_llama, draft_tokens=3)


def test_a_draft_that_cannot_pay_is_warned_of(pico_llama: Path, save_pico: SaveCheckpoint) -> None:
    same = save_pico(LlamaConfig(**SHAPE), "same")
    options = ServeOptions(directory=pico_llama, draft=same)
    command = vllm_command(options, 8000, read_facts(pico_llama), LAPTOP, None, draft_facts(options))
    assert any("no smaller than the original's" in warning for warning in command.warnings)
