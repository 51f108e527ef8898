"""What the export tests share.

compressed          a stand-in for `compress(...)`'s result, from any checkpoint directory
pico_saved          directory: `checkpoint.save` of the untied pico Llama, float32 (read-only)
pico_copy           the same, a fresh copy to damage
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dotresize.compress.record.report import CalibrationRecord, Counts, Report, Source, Widths
from dotresize.export.checkpoint.write import save

Compressed = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The fields of CompressResult that export reads."""

    model: Any
    tokenizer: Any
    generation_config: Any
    report: Report


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def compressed() -> Compressed:
    def load(directory: Path, dtype: str = "float32") -> Result:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype)
        return Result(
            model=model,
            tokenizer=AutoTokenizer.from_pretrained(directory),
            generation_config=model.generation_config,
            report=_report(model.config),
        )

    return load


def _report(config: Any) -> Report:
    widths = Widths(
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        vocab_size=config.vocab_size,
    )
    counts = Counts(
        embedding_parameters=1,
        head_parameters=0 if config.tie_word_embeddings else 1,
        layer_parameters=2,
        weight_bytes=16,
        flops_per_token=8,
        kv_cache_bytes_per_token=4,
    )
    return Report(
        source=Source(
            name="pico",
            kind="directory",
            model_type=config.model_type,
            architecture=(config.architectures or ["LlamaForCausalLM"])[0],
            sha256="0" * 64,
            dequantised_from=None,
            licence="apache-2.0",
        ),
        config={"method": "pca", "seed": 42},
        dense=widths,
        narrow=widths,
        dense_counts=counts,
        narrow_counts=counts,
        calibration=CalibrationRecord(name="builtin", windows=2, window_tokens=8, sha256="1" * 64, seed=42),
        fits=(),
        notes=("width 0.8 was rounded to 64",),
        versions={"torch": "2.13.0"},
    )


@pytest.fixture(scope="session")
def pico_saved(
    compressed: Compressed, pico_llama_untied: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("saved") / "pico"
    save(compressed(pico_llama_untied), directory)
    (directory / "LICENSE").write_text("of the pico model")
    return directory


@pytest.fixture
def pico_copy(pico_saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pico_saved, tmp_path / "pico"))
