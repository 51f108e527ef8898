"""The last step of `dotresize compress`: measure what is on disk; whatever happens here, that stays."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..printed.output import error_console, note_console

if TYPE_CHECKING:
    import torch

    from ...compress.record.config import CompressConfig
    from ...compress.record.report import CalibrationRecord
    from ...compress.text.calibration import Windows
    from ...compress.weights.dense import Dense

__all__ = ["measure", "measuring_command", "say_if_unmeasured"]


def measuring_command(
    model: str,
    output: Path,
    config: "CompressConfig",
    evaluation: Sequence[str],
    texts: "list[Windows]",
) -> str:
    """The command that measures what was written, on the same texts, with windows that each of them has."""
    data = [word for text in evaluation for word in ("--evaluation", text)]
    windows = ["--evaluation-windows", str(min(len(text.token_ids) for text in texts))]
    length = ["--window-tokens", str(config.window_tokens)]
    trust = ["--trust-remote-code"] if config.trust_remote_code else []
    return shlex.join(["dotresize", "perplexity", model, str(output), *data, *windows, *length, *trust])


@contextmanager
def say_if_unmeasured(output: Path, command: str) -> Iterator[None]:
    """Whatever ends the measurement early, say that the model is there and how to measure it."""
    from ...errors import DotresizeError

    explained = False
    try:
        yield
        explained = True  # there is nothing to explain
    except (DotresizeError, RuntimeError, MemoryError, OSError) as error:  # torch raises RuntimeErrors
        explained = True
        raise DotresizeError(
            f"{output} was written, but its perplexity could not be measured: {error}. Measure it with "
            f"`{command}`."
        ) from error
    finally:
        if not explained:  # interrupted
            error_console().print(
                f"{output} was written, but not measured; repeat the command, or measure it with `{command}`",
                markup=False,
                soft_wrap=True,
            )


def measure(
    output: Path,
    config: "CompressConfig",
    dense: "Dense",
    calibration: "CalibrationRecord",
    texts: "list[Windows]",
    progress: Any,
    resident_bytes: int,
) -> dict[str, Any]:
    """Measure the model that was written, as it was written, and add the numbers to it."""
    from ...bench.quality.text_quality import measure_texts
    from ...compress.run import choose_device
    from ...export.checkpoint.write import record_quality

    note_console().print(f"written: {output}", markup=False)
    device = choose_device(config.device)
    models = {
        "dense": _dense(dense, device, resident_bytes),
        "narrow": _narrow(output, config, device, resident_bytes),
    }
    quality = measure_texts(models, texts, calibrations={"narrow": calibration}, progress=progress)
    record_quality(output, quality)
    return quality


def _dense(dense: "Dense", device: "torch.device", resident_bytes: int) -> Any:
    """The original, its layers read from its files while they run where it lies in files."""
    import copy

    from ...compress.maths.precision import evaluation_dtype
    from ...compress.weights.dense import StreamedModel
    from ...export.checkpoint.paged import page

    dtype = evaluation_dtype(device, dense.dtype)
    if not isinstance(dense, StreamedModel):
        return dense.model.to(device, dtype)  # type: ignore[arg-type]
    hollow = copy.deepcopy(dense.skeleton).to(dtype)  # type: ignore[arg-type]
    return page(hollow, dense.weights.places, resident_bytes=resident_bytes, device=device)


def _narrow(output: Path, config: "CompressConfig", device: "torch.device", resident_bytes: int) -> Any:
    """What was written, as it was written."""
    from ...compress.weights.source import open_model

    opened = open_model(str(output), trust_remote_code=config.trust_remote_code)
    return _dense(opened.stream(), device, resident_bytes)
