"""Forms of an export that are no dtype."""

from typing import Annotated

import typer

__all__ = ["FallbackF16", "GroupSize", "Provider", "Quantize", "Rounding", "ShardBytes"]

Provider = Annotated[
    str, typer.Option(help="What will run it: cpu or cuda; vllm: auto is what this machine has.")
]
FallbackF16 = Annotated[
    bool, typer.Option("--fallback-f16", help="Keep matrices that do not divide into blocks in float16.")
]
Quantize = Annotated[
    str,
    typer.Option(
        help="none, fp8, w8a8, w8a16 or w4a16; a plan keeps to widths that groups of 128 (64, 32) divide."
    ),
]
GroupSize = Annotated[int | None, typer.Option(help="Weights per scale of w4a16 and w8a16; 32 if left out.")]
Rounding = Annotated[
    str | None,
    typer.Option(help="calibrated (default with --calibration) or nearest, of quantised weights."),
]
ShardBytes = Annotated[int, typer.Option(help="Upper bound of one weight file.")]
