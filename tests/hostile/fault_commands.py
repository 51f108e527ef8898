"""The commands that `faults` kills, and what each reads and writes."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import bases

__all__ = ["COMMANDS", "Command"]

COMPRESS = (*bases.COMPRESS, "--hidden-size", "0.75", "--calibration", "text.txt",
            "--evaluation", "other.txt", "--evaluation-windows", "1")  # fmt: skip
BENCH = (*bases.MEASURE, "--resume")


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is killed.

    Attributes:
        arguments: Of `dotresize`.
        models: Copied from the bases into the working directory.
        output: Where it writes.
        earlier: A base that lies at the output already, for --force.
        share: Of all kills.
        varies: Files whose bytes differ between two undisturbed runs; they must be there.
        shard_bytes: Of one file of the output at most; None for five gigabytes.
    """

    arguments: Sequence[str]
    models: Sequence[str]
    output: str
    share: float
    earlier: str | None = None
    varies: Sequence[str] = ()
    shard_bytes: int | None = None  # of one file of the output; None: as large as ever


COMMANDS = {
    "compress": Command(
        arguments=["compress", "mistral", "-o", "out", *COMPRESS],
        models=["mistral"],
        output="out",
        share=0.25,
    ),
    "force": Command(
        arguments=["compress", "mistral", "-o", "out", *COMPRESS, "--force"],
        models=["mistral"],
        output="out",
        earlier="narrow",
        share=0.15,
    ),
    "shards": Command(
        arguments=["compress", "sharded", "-o", "out", *COMPRESS, "--stream-memory", "0"],
        models=["sharded"],
        output="out",
        share=0.2,
        shard_bytes=60_000,
    ),
    "gguf": Command(
        arguments=["export", "gguf", "narrow", "-o", "out.gguf", "--dtype", "f16"],
        models=["narrow"],
        output="out.gguf",
        share=0.25,
    ),
    "onnx": Command(
        arguments=["export", "onnx", "narrow", "-o", "out", "--dtype", "fp32"],
        models=["narrow"],
        output="out",
        share=0.1,
    ),
    "bench": Command(
        arguments=["bench", "mistral", "narrow", "-o", "out", *BENCH],
        models=["mistral", "narrow"],
        output="out",
        share=0.03,
        varies=["out"],
    ),
}
