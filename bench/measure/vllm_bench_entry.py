"""`vllm bench latency` and `vllm bench throughput`, started without the `vllm` command and seeded.

Usage: `python vllm_bench_entry.py {latency,throughput} SEED [flags of vllm bench ...] [--and flags ...]`

What follows `--and` is measured after the rest with the same engine, which is started once.

The `vllm` command looks up a distribution called "vllm" and fails under the name of the CPU wheel, so this
hands the flags to the same function that the command would. `latency` draws its token ids from NumPy's
global generator and has no seed of its own for it: seeding it here gives every model the same ids.
"""

import importlib
import sys
from typing import Any

import numpy

AND = "--and"


def main(arguments: list[str]) -> None:
    """Run benchmarks of vLLM on one engine."""
    kind, seed, flags = arguments[0], int(arguments[1]), arguments[2:]
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    benchmark = importlib.import_module(f"vllm.benchmarks.{kind}")
    keep_one_engine()
    for each in parts_of(flags):
        numpy.random.seed(seed)  # noqa: NPY002 - the generator that vLLM draws from
        parser = FlexibleArgumentParser()
        benchmark.add_cli_args(parser)
        benchmark.main(parser.parse_args(each))


def parts_of(flags: list[str]) -> list[list[str]]:
    """The flags of each benchmark."""
    parts: list[list[str]] = [[]]
    for flag in flags:
        if flag == AND:
            parts.append([])
        else:
            parts[-1].append(flag)
    return parts


def keep_one_engine() -> None:
    """Give every benchmark the engine that the first one started: the parts differ in their loads only.

    A second engine cannot live in the process of the first, nor after it (vLLM 0.32: "pipeline model parallel
    group is not initialized").
    """
    from vllm import LLM

    start, kept = LLM.from_engine_args, list[LLM]()

    def start_once(settings: Any) -> LLM:
        if not kept:
            kept.append(start(settings))
        return kept[0]

    LLM.from_engine_args = start_once


if __name__ == "__main__":  # vLLM starts its processes by importing this file again
    main(sys.argv[1:])
