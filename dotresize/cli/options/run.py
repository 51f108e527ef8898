"""What most commands take: a model, where to write, what to run in and on, and how to answer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..asked.recipes import apply_recipe

__all__ = [
    "AnswerOptions",
    "ComputeOptions",
    "Device",
    "DryRun",
    "Dtype",
    "Effort",
    "Engine",
    "Force",
    "Json",
    "MachineOptions",
    "Minutes",
    "Model",
    "OptionalOutput",
    "Output",
    "Quiet",
    "Recipe",
    "Resume",
    "Revision",
    "Runtime",
    "Seed",
    "StreamMemory",
    "TrustRemoteCode",
    "Verbose",
]

_PANEL = "Run"

Model = Annotated[
    str, typer.Argument(help="Hugging Face directory, hub id, .gguf file, or demo:smollm2-135m.")
]

_OUTPUT = typer.Option("-o", "--output", help="What to write; must not exist, but for --force and --resume.")
Output = Annotated[Path, _OUTPUT]
OptionalOutput = Annotated[Path | None, _OUTPUT]

Dtype = Annotated[
    str,
    typer.Option(
        help="Of the weights: float32, bfloat16, float16; auto: as they are; ONNX: int8, int4, too; "
        "GGUF: q8_0, q4_0, q4_1; with llama.cpp q2_k, q3_k_m, q4_k_s, q4_k_m, q5_k_m, q6_k, iq4_xs.",
        rich_help_panel=_PANEL,
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Where to compute; auto takes a GPU when there is one.", rich_help_panel=_PANEL),
]
Engine = Annotated[
    Literal["auto", "vllm", "onnx", "transformers"],
    typer.Option(
        help="What runs the model. auto, to serve: by what DIR holds; transformers: only to measure.",
        rich_help_panel=_PANEL,
    ),
]
Runtime = Annotated[
    str,
    typer.Option(
        help="Which runtime proves it: transformers, vllm, onnxruntime, llama-cpp, or all.",
        metavar="NAME",
        rich_help_panel=_PANEL,
    ),
]
Effort = Annotated[
    Literal["quick", "standard", "thorough"] | None,
    typer.Option(
        help="How much work to do for quality; default standard. To plan: quick measures no candidate, "
        "standard about 20, thorough 60.",
        rich_help_panel=_PANEL,
    ),
]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn.", rich_help_panel=_PANEL)]
Minutes = Annotated[float | None, typer.Option(help="About how long.", rich_help_panel=_PANEL)]
TrustRemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run code that comes with the model.", rich_help_panel=_PANEL),
]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a model on the hub.", rich_help_panel=_PANEL)
]
StreamMemory = Annotated[
    float | None,
    typer.Option(
        help="Gigabytes that a residual stream may take before it goes to the disk, and layers that are used "
        "again before they are read from it again; a quarter of what is free.",
        rich_help_panel=_PANEL,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier output.", rich_help_panel=_PANEL)]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an interrupted run.", rich_help_panel=_PANEL)
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what would be done and taken, then stop.", rich_help_panel=_PANEL),
]
Json = Annotated[
    bool, typer.Option("--json", help="End stdout with one JSON object.", rich_help_panel=_PANEL)
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="YAML file of options, as every run writes one into its output, or the name of one that comes "
        "with dotresize; `list` shows those. What is typed wins.",
        callback=apply_recipe,
        is_eager=True,
        rich_help_panel=_PANEL,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="Say results, warnings and errors only.", rich_help_panel=_PANEL),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "-v",
        "--verbose",
        help="Let libraries log to stderr, and show the traceback of an error, as DOTRESIZE_DEBUG=1 does.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """Of what computes: in which dtype, where, from which seed."""

    dtype: Dtype = "auto"
    device: Device = "auto"
    seed: Seed = 42


@dataclass(frozen=True, kw_only=True)
class MachineOptions(ComputeOptions):
    """Of `compress` and `plan`, which may also read models that bring code."""

    trust_remote_code: TrustRemoteCode = False


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """Of what writes: whether it may replace, whether it only says what it would do, and how it answers."""

    dry_run: DryRun = False
    force: Force = False
    as_json: Json = False
