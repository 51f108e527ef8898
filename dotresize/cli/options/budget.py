"""What may be spent, and where the model will be served."""

from dataclasses import dataclass
from typing import Annotated

import typer

from .export import Quantize
from .load import Concurrency, TensorParallelSize
from .run import Engine
from .sweep import Executor, Jobs

__all__ = ["BudgetOptions"]

_BUDGET, _WHERE = "Budget", "Where it will be served"

Params = Annotated[
    str | None,
    typer.Option(
        help="Layer parameters at most: a fraction such as 0.75, or a number such as 6B.",
        rich_help_panel=_BUDGET,
    ),
]
WeightBytes = Annotated[
    str | None, typer.Option(help="Stored weights at most, e.g. 12GB.", rich_help_panel=_BUDGET)
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Weights and key-value cache at most, e.g. 16GB; see --context.", rich_help_panel=_BUDGET
    ),
]
DecodeSpeedup = Annotated[
    float | None,
    typer.Option(
        help="Decode speed-up at least, e.g. 1.5: from models measured in --engine, or for --target.",
        rich_help_panel=_BUDGET,
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        help="Tokens of a sequence, for --memory and --decode-speedup; default 1024.", rich_help_panel=_BUDGET
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        help="Speed by data sheet: h100, h200, l4, a10 or a .json file; default: the engine on this machine.",
        rich_help_panel=_WHERE,
    ),
]


QualityFloor = Annotated[
    str | None,
    typer.Option(
        help="Ratio of perplexities at most, as in 'ppl<=1.15', measured on small fits while planning.",
        rich_help_panel=_BUDGET,
    ),
]


@dataclass(frozen=True, kw_only=True)
class BudgetOptions:
    """Of `plan` and `compress`: all that must hold at once."""

    params: Params = None
    weight_bytes: WeightBytes = None
    memory: Memory = None
    decode_speedup: DecodeSpeedup = None
    context: Context = None
    concurrency: Concurrency = None
    engine: Engine = "vllm"
    target: Target = None
    quality_floor: QualityFloor = None
    quantize: Quantize = "none"
    tensor_parallel_size: TensorParallelSize = 1
    jobs: Jobs = 1
    executor: Executor = "local"
