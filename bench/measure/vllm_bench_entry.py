"""`vllm bench latency` and `vllm bench throughput`, started without the `vllm` command and seeded.

Usage: `python vllm_bench_entry.py {latency,throughput} SEED [flags of vllm bench ...]`

The `vllm` command looks up a distribution called "vllm" and fails under the name of the CPU wheel, so this
hands the flags to the same function that the command would. `latency` draws its token ids from NumPy's
global generator and has no seed of its own for it: seeding it here gives every model the same ids.
"""

import importlib
import sys

import numpy


def main(arguments: list[str]) -> None:
    """Run one benchmark of vLLM."""
    kind, seed, flags = arguments[0], int(arguments[1]), arguments[2:]
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    numpy.random.seed(seed)  # noqa: NPY002 - the generator that vLLM draws from
    benchmark = importlib.import_module(f"vllm.benchmarks.{kind}")
    parser = FlexibleArgumentParser()
    benchmark.add_cli_args(parser)
    benchmark.main(parser.parse_args(flags))


if __name__ == "__main__":  # vLLM starts its processes by importing this file again
    main(sys.argv[1:])
