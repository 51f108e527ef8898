"""What the bench tests share.

pico_onnx_models   [BenchModel, BenchModel]: the tied and the untied pico Llama as fp32 ONNX exports
pico_onnx          directory of the first (all of them read-only)
"""

from pathlib import Path

import pytest

from dotresize.bench.measure.prepare import prepare, settle
from dotresize.bench.record.results import BenchModel
from dotresize.bench.record.settings import BenchSettings
from dotresize.compress.record.progress import Silent

from ..workers import Once


@pytest.fixture(scope="session")
def pico_onnx_models(pico_llama: Path, pico_llama_untied: Path, made_once: Once) -> list[BenchModel]:
    settings = settle(BenchSettings(engine="onnx", device="cpu"))
    sources = [str(pico_llama), str(pico_llama_untied)]
    work = made_once("bench-onnx", lambda to: prepare(sources, settings, to, Silent()))
    return prepare(sources, settings, work, Silent())  # reuses what is there


@pytest.fixture(scope="session")
def pico_onnx(pico_onnx_models: list[BenchModel]) -> Path:
    return Path(pico_onnx_models[0].path)
