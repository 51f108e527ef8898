"""`dotresize plan`: a budget -> new widths, before an hour is spent."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from . import app
from .output import emit, quiet_libraries

if TYPE_CHECKING:
    from ..plan.planner import PlanSettings

__all__ = ["plan_command"]

_BUDGET, _WHERE, _HOW, _RUN = "Budget", "Where it will be served", "Quality", "Run"


@app.command("plan", rich_help_panel="Compress")
def plan_command(
    model: Annotated[
        str, typer.Argument(help="Hugging Face directory, hub id, .gguf file, or demo:smollm2-135m.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File to write for `compress --plan`; must not exist.")
    ] = Path("plan.json"),
    params: Annotated[
        str | None,
        typer.Option(
            help="Layer parameters at most: a fraction such as 0.75, or a number such as 6B.",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    weight_bytes: Annotated[
        str | None, typer.Option(help="Stored weights at most, e.g. 12GB.", rich_help_panel=_BUDGET)
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Weights and key-value cache at most, e.g. 16GB; see --context.", rich_help_panel=_BUDGET
        ),
    ] = None,
    decode_speedup: Annotated[
        float | None,
        typer.Option(
            help="Decode speed-up at least, by what bytes and FLOPs allow, e.g. 1.5.", rich_help_panel=_BUDGET
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            help="Tokens of a sequence, for --memory and --decode-speedup; default 1024.",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            help="Sequences at a time, for --memory and --decode-speedup; default 1.", rich_help_panel=_BUDGET
        ),
    ] = None,
    engine: Annotated[
        Literal["vllm", "onnx"], typer.Option(help="That will serve it.", rich_help_panel=_WHERE)
    ] = "vllm",
    target: Annotated[
        str | None,
        typer.Option(
            help="Speed by data sheet: h100, h200, l4, a10 or a .json file; default: this machine, measured.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    tensor_parallel_size: Annotated[
        int, typer.Option(help="GPUs that heads and MLP are split over.", rich_help_panel=_WHERE)
    ] = 1,
    effort: Annotated[
        Literal["quick", "standard", "thorough"],
        typer.Option(
            help="quick trusts a proxy; standard measures about 20 small compressions, thorough 60.",
            rich_help_panel=_HOW,
        ),
    ] = "standard",
    calibration: Annotated[
        list[str] | None,
        typer.Option(help="As of `dotresize compress`; again for a mixture.", rich_help_panel=_HOW),
    ] = None,
    calibration_windows: Annotated[
        int | None, typer.Option(help="Of the run that is planned.", rich_help_panel=_HOW)
    ] = None,
    window_tokens: Annotated[int, typer.Option(help="Tokens per window.", rich_help_panel=_HOW)] = 1024,
    evaluation: Annotated[
        list[str] | None,
        typer.Option(
            help="Text that candidates are scored on: builtin (default), a file, hf:NAME; again for more.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Stored dtype: auto, float32, bfloat16 or float16.", rich_help_panel=_RUN)
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=_RUN)] = "auto",
    seed: Annotated[int, typer.Option(help="Draws windows and mutations.", rich_help_panel=_RUN)] = 42,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier plan.", rich_help_panel=_RUN)
    ] = False,
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run code that comes with the model.", rich_help_panel=_RUN),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="End stdout with one JSON object.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Find the widths for a budget: hidden size, MLP, key-value groups, layers and experts together.

    An interrupted search resumes when the same command is given again. `dotresize compress MODEL -o OUT
    --plan plan.json` then does what was planned.
    """
    quiet_libraries()
    from ..compress.config import CompressConfig
    from ..plan.budget import Budget, parse_bytes, parse_parameters
    from ..plan.planner import PlanSettings

    shape = {"context": context, "concurrency": concurrency}
    _refuse_without_use(shape, used=memory is not None or decode_speedup is not None)
    settings = PlanSettings(
        budget=Budget(
            params=None if params is None else parse_parameters(params),
            weight_bytes=None if weight_bytes is None else parse_bytes("--weight-bytes", weight_bytes),
            memory_bytes=None if memory is None else parse_bytes("--memory", memory),
            decode_speedup=decode_speedup,
            **{name: value for name, value in shape.items() if value is not None},
        ),
        base=CompressConfig(
            mlp_width=0.5,  # every candidate sets its own widths
            calibration=tuple(calibration or ["builtin"]),
            calibration_windows=calibration_windows,
            window_tokens=window_tokens,
            dtype=dtype,
            device=device,
            seed=seed,
            trust_remote_code=trust_remote_code,
        ),
        engine=engine,
        target=target,
        tensor_parallel_size=tensor_parallel_size,
        effort=effort,
        evaluation=tuple(evaluation or ["builtin"]),
    )
    _plan(model, output, settings, force=force, as_json=as_json)


def _refuse_without_use(options: dict[str, int | None], *, used: bool) -> None:
    from ..errors import OptionError

    for name, value in options.items():
        if value is not None and not used:
            raise OptionError(f"--{name} has no effect without --memory or --decode-speedup; leave it out.")


def _plan(model: str, output: Path, settings: "PlanSettings", *, force: bool, as_json: bool) -> None:
    from dataclasses import asdict

    from ..export.staging import check_writable
    from ..plan.planner import plan_widths
    from ..plan.record import check_plan_free, write_plan
    from .narrow_run import refuse_same_text
    from .progress import ProgressBar
    from .tables_plan import plan_tables

    check_plan_free(output, force=force)
    check_writable(output)
    refuse_same_text(settings.base, list(settings.evaluation))
    with ProgressBar() as progress:
        record, state = plan_widths(model, settings, progress=progress, output=output)
    write_plan(record, output, force=force)
    if state is not None:
        state.discard()
    emit({"output": str(output), "plan": asdict(record)}, *plan_tables(record, output), as_json=as_json)
