"""Forms of an export that are no dtype."""

from typing import Annotated

import typer

__all__ = ["FallbackF16", "GroupSize", "Provider", "Quantize", "ShardBytes"]

Provider = Annotated[str, typer.Option(help="cpu (float32, int8, int4) or cuda.")]
FallbackF16 = Annotated[
    bool, typer.Option("--fallback-f16", help="Keep matrices that do not divide into blocks in float16.")
]
Quantize = Annotated[str, typer.Option(help="none, fp8, w8a8 or w4a16.")]
GroupSize = Annotated[int | None, typer.Option(help="Weights per scale of w4a16; 32 if left out.")]
ShardBytes = Annotated[int, typer.Option(help="Upper bound of one weight file.")]
