"""`dotresize perplexity`: score models on the same text."""

from typing import Annotated

import typer

from . import app
from .output import emit, quiet_libraries


@app.command("perplexity", rich_help_panel="Measure")
def perplexity_command(
    models: Annotated[
        list[str], typer.Argument(help="Directories (or other MODELs); the others are compared to the first.")
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Text: builtin (its held-out split), a .txt/.jsonl/.parquet file, or hf:NAME[:CONFIG]."
        ),
    ] = "builtin",
    window_tokens: Annotated[int, typer.Option(help="Tokens per window.")] = 1024,
    windows: Annotated[int | None, typer.Option(help="Number of windows [default: the whole text].")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with a model.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End stdout with one JSON object.")] = False,
) -> None:
    """Perplexity with its standard error, and ratio and mean KL to the first model."""
    quiet_libraries()
    from ..bench.perplexity import check_same_tokenizer, measure_perplexity, quality_record
    from ..compress.calibration import leading_windows
    from ..compress.run import choose_device
    from ..compress.source import load_dense
    from ..errors import OptionError
    from .progress import ProgressBar
    from .tables import quality_table

    if windows is not None and windows < 1:
        raise OptionError(f"--windows is {windows}; expected at least 1, or leave it out for the whole text")
    if window_tokens < 2:
        raise OptionError(f"--window-tokens is {window_tokens}; expected at least 2")
    if len(set(models)) != len(models):
        raise OptionError("a model was named twice; name each once.")
    torch_device = choose_device(device)
    loaded = {name: load_dense(name, any_family=True, trust_remote_code=trust_remote_code) for name in models}
    check_same_tokenizer({name: each.tokenizer for name, each in loaded.items()})
    text = leading_windows(data, loaded[models[0]].tokenizer, windows=windows, window_tokens=window_tokens)
    with ProgressBar() as progress:
        qualities = measure_perplexity(
            {name: each.model for name, each in loaded.items()}, text, device=torch_device, progress=progress
        )
    record = quality_record(qualities, text)
    emit(record, quality_table(record), as_json=as_json)
