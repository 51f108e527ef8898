"""`dotresize compress`: model + text -> a narrower stock model with its measured perplexity."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import app
from .narrow_dry_run import forecast_compress
from .narrow_run import run_compress

if TYPE_CHECKING:
    from ..plan.record import PlanRecord

_WIDTHS, _METHOD, _CALIBRATION, _RUN = "New widths", "Method", "Calibration and evaluation", "Run"


@app.command("compress", rich_help_panel="Compress")
def compress_command(
    model: Annotated[
        str, typer.Argument(help="Hugging Face directory, hub id, .gguf file, or demo:smollm2-135m.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory to write; must not exist.")],
    width: Annotated[
        float | None, typer.Option(help="New hidden size as a fraction, e.g. 0.8.", rich_help_panel=_WIDTHS)
    ] = None,
    hidden_size: Annotated[
        int | None, typer.Option(help="New hidden size, exactly.", rich_help_panel=_WIDTHS)
    ] = None,
    mlp_width: Annotated[
        float | None, typer.Option(help="New MLP width as a fraction, e.g. 0.75.", rich_help_panel=_WIDTHS)
    ] = None,
    intermediate_size: Annotated[
        int | None, typer.Option(help="New MLP width, exactly.", rich_help_panel=_WIDTHS)
    ] = None,
    kv_groups: Annotated[
        str | None,
        typer.Option(
            help="Key-value groups to keep, with their query heads: a number, or a fraction such as 0.5.",
            rich_help_panel=_WIDTHS,
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Whole layers to keep: a number, or a fraction such as 0.9.", rich_help_panel=_WIDTHS
        ),
    ] = None,
    experts: Annotated[
        str | None,
        typer.Option(
            help="Whole experts of each layer to keep: a number, or a fraction such as 0.75.",
            rich_help_panel=_WIDTHS,
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="The widths that `dotresize plan` chose: its file.", rich_help_panel=_WIDTHS),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Residual basis, with a hidden width: dot, magnitude, pca (default) or pca+dot.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    mlp_method: Annotated[
        str | None,
        typer.Option(
            help="MLP neurons, with an MLP width: dot, magnitude (default), magnitude+dot.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    compensate: Annotated[
        str, typer.Option(help="Closed-form fits: none, readout or full.", rich_help_panel=_METHOD)
    ] = "full",
    reg: Annotated[
        float | None,
        typer.Option(
            help="Entropic regularisation of transport; 0 is exact; default 0.01.", rich_help_panel=_METHOD
        ),
    ] = None,
    signed: Annotated[
        bool | None,
        typer.Option(
            "--signed/--no-signed",
            help="Let a neuron merge with another's negative in a transport (default).",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    mass: Annotated[
        str | None,
        typer.Option(help="MLP transport marginals: energy or uniform (default).", rich_help_panel=_METHOD),
    ] = None,
    ridge_tokens: Annotated[
        float | None,
        typer.Option(
            help="The unfitted weights count as this many tokens; default 1600.", rich_help_panel=_METHOD
        ),
    ] = None,
    ridge_share: Annotated[
        float | None,
        typer.Option(
            help="... and as this share of the calibration, for text of other kinds; default 0.3.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    effort: Annotated[
        str | None,
        typer.Option(
            help="Work in the fits: quick, standard (default) or thorough.", rich_help_panel=_METHOD
        ),
    ] = None,
    neuron_steps: Annotated[
        int | None,
        typer.Option(
            help="With full, Gauss-Newton steps on gate and up; 0: none; default by effort.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    calibration: Annotated[
        list[str] | None,
        typer.Option(
            help="builtin (default), self, a .txt/.jsonl/.parquet file, or hf:NAME[:CONFIG]; again for a "
            "mixture, as in A=0.7.",
            rich_help_panel=_CALIBRATION,
        ),
    ] = None,
    calibration_windows: Annotated[
        int | None,
        typer.Option(
            help="Number of windows; default 128, or what the text allows.", rich_help_panel=_CALIBRATION
        ),
    ] = None,
    window_tokens: Annotated[
        int, typer.Option(help="Tokens per window.", rich_help_panel=_CALIBRATION)
    ] = 1024,
    evaluation: Annotated[
        list[str] | None,
        typer.Option(
            help="Text for the perplexities: builtin (default), a file, hf:NAME, or none; again for more.",
            rich_help_panel=_CALIBRATION,
        ),
    ] = None,
    evaluation_windows: Annotated[
        int | None,
        typer.Option(
            help="Windows of each text to evaluate at most; default 8.", rich_help_panel=_CALIBRATION
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Stored dtype: auto, float32, bfloat16 or float16.", rich_help_panel=_RUN)
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=_RUN)] = "auto",
    seed: Annotated[int, typer.Option(help="Draws the calibration windows.", rich_help_panel=_RUN)] = 42,
    force: Annotated[bool, typer.Option("--force", help="Replace OUTPUT.", rich_help_panel=_RUN)] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Predict sizes, memory, disk and time, then stop.", rich_help_panel=_RUN
        ),
    ] = False,
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run code that comes with the model.", rich_help_panel=_RUN),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="End stdout with one JSON object.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Narrow a model and write it as a stock checkpoint, with its perplexity beside the original's.

    An interrupted run resumes when the same command is given again.
    """
    from ..compress.config import CompressConfig

    widths: dict[str, float | None] = {
        "width": width,
        "hidden_size": hidden_size,
        "mlp_width": mlp_width,
        "intermediate_size": intermediate_size,
        "kv_groups": _number_or_fraction("--kv-groups", kv_groups),
        "layers": _number_or_fraction("--layers", layers),
        "experts": _number_or_fraction("--experts", experts),
    }
    record = None if plan is None else _planned(plan, widths)
    config = CompressConfig(
        **widths,  # type: ignore[arg-type]
        method=method,  # type: ignore[arg-type]  # CompressConfig checks the choices below
        mlp_method=mlp_method,  # type: ignore[arg-type]
        compensate=compensate,  # type: ignore[arg-type]
        reg=reg,
        signed=signed,
        mass=mass,  # type: ignore[arg-type]
        ridge_tokens=ridge_tokens,
        ridge_share=ridge_share,
        effort=effort,  # type: ignore[arg-type]
        neuron_steps=neuron_steps,
        calibration=tuple(calibration or ["builtin"]),
        calibration_windows=calibration_windows,
        window_tokens=window_tokens,
        dtype=dtype,
        device=device,
        seed=seed,
        trust_remote_code=trust_remote_code,
    )
    run = forecast_compress if dry_run else run_compress
    run(
        model,
        output,
        config,
        evaluation=evaluation or ["builtin"],
        evaluation_windows=evaluation_windows,
        force=force,
        as_json=as_json,
        plan=record,
    )


def _planned(plan: Path, widths: dict[str, float | None]) -> "PlanRecord":
    """The plan, whose widths are set.

    Raises:
        OptionError: widths were given beside it.
        InputError: it is no plan.
    """
    from ..errors import OptionError
    from ..plan.record import planned_options, read_plan

    given = [f"--{name.replace('_', '-')}" for name, value in widths.items() if value is not None]
    if given:
        raise OptionError(f"--plan was given beside {', '.join(given)}; give the plan or widths, not both.")
    record = read_plan(plan)
    widths.update(planned_options(record))
    return record


def _number_or_fraction(option: str, text: str | None) -> float | None:
    """An int for a whole number, a float for anything with a point; the config checks the range."""
    from ..errors import OptionError

    if text is None:
        return None
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise OptionError(
            f"{option} is {text!r}; give a whole number, or a fraction in (0, 1] such as 0.9."
        ) from None
