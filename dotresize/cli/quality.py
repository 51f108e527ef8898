"""`dotresize perplexity`: score models on the same texts."""

from typing import Annotated

import typer

from .options.run import Device, Json, TrustRemoteCode
from .options.texts import Evaluation, EvaluationWindows, WindowTokens
from .printed.output import emit, quiet_libraries


def perplexity_command(
    models: Annotated[
        list[str], typer.Argument(help="Directories (or other MODELs); the others are compared to the first.")
    ],
    evaluation: Evaluation = None,
    window_tokens: WindowTokens = 1024,
    evaluation_windows: EvaluationWindows = None,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
    as_json: Json = False,
) -> None:
    """Perplexity with its standard error, and ratio and mean KL to the first model, text by text."""
    quiet_libraries()
    from ..bench.quality.models_on_texts import perplexity
    from .printed.progress import ProgressBar
    from .printed.tables import quality_tables

    with ProgressBar() as progress:
        record = perplexity(
            models,
            evaluation or ["builtin"],
            window_tokens=window_tokens,
            evaluation_windows=evaluation_windows,
            device=device,
            trust_remote_code=trust_remote_code,
            progress=progress,
        )
    emit(record, *quality_tables(record), as_json=as_json)
