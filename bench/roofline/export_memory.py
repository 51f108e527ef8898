"""Peak memory of each export beside its prediction: `python -m dotresize.bench.roofline.export_memory DIR`.

Each export runs in a fresh process; the peak is the largest resident size of that process and of the
children that it waited for (the ONNX builder is one), as the kernel counted it.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from ...export.checkpoint.source import open_source
from ...export.process.child import guarded

__all__ = ["ExportMemory", "measure"]

BASE_BYTES = 420_000_000  # Python with torch, transformers and the ONNX packages imported
# Checkpoint sizes (float32) that an export holds at its peak. fp32 ONNX: the model, and the graph that
# shares most of it. int4 ONNX: the model, its graph as a protobuf, and quantised parts. GGUF: the pages of
# the checkpoint that the kernel keeps, one tensor of ours. vLLM: those pages and the model at half its size.
COPIES = {"onnx fp32": 1.6, "onnx int4": 2.9, "gguf f16": 0.5, "vllm bfloat16": 1.6}
LIMITS = {"onnx fp32": 3.0, "onnx int4": 4.0}  # times the bytes of the checkpoint


@dataclass(frozen=True, kw_only=True)
class ExportMemory:
    """One measured export."""

    export: str
    checkpoint_bytes: int
    predicted_bytes: int
    peak_bytes: int
    seconds: float
    limit: float | None  # times the bytes of the checkpoint

    @property
    def ratio(self) -> float:
        """Peak over checkpoint bytes."""
        return self.peak_bytes / self.checkpoint_bytes

    @property
    def within(self) -> bool:
        """Whether the limit is kept; true where there is none."""
        return self.limit is None or self.ratio <= self.limit


def measure(directory: Path, export: str) -> ExportMemory:
    """Run one export of a checkpoint and read what it took.

    Args:
        directory: A checkpoint that `dotresize compress` wrote.
        export: A key of `COPIES`.
    """
    import time

    checkpoint_bytes = open_source(directory).weight_bytes
    kind, precision = export.split()
    with tempfile.TemporaryDirectory(prefix="dotresize-bench-", dir=directory.resolve().parent) as folder:
        output = Path(folder) / ("m.gguf" if kind == "gguf" else "out")
        program = "from dotresize.cli import main; main()"
        arguments = ["export", kind, str(directory), "-o", str(output), "--dtype", precision]
        started = time.perf_counter()
        with guarded([sys.executable, "-c", f"{_REPORT}\n{program}", *arguments]) as (command, lifeline):
            done = subprocess.run(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, pass_fds=(lifeline,)
            )
        log = done.stderr
        seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(log.decode(errors="replace")[-2000:])
    return ExportMemory(
        export=export,
        checkpoint_bytes=checkpoint_bytes,
        predicted_bytes=int(BASE_BYTES + COPIES[export] * checkpoint_bytes),
        peak_bytes=int(log.decode().splitlines()[-1].removeprefix("peak-bytes ")),
        seconds=seconds,
        limit=LIMITS.get(export),
    )


# At exit the process reports the larger of its own peak and that of its children; Linux counts kilobytes.
_REPORT = """
import atexit, resource, sys
def report():
    both = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    own, child = (resource.getrusage(who).ru_maxrss for who in both)
    sys.stderr.write(f"\\npeak-bytes {max(own, child) * 1024}\\n")
atexit.register(report)
"""


def main() -> None:
    """Measure every export of the directory that was named; exit 1 past a limit."""
    from rich.console import Console
    from rich.table import Table

    directory = Path(sys.argv[1])
    rows = [measure(directory, export) for export in COPIES]
    table = Table("export", "predicted MB", "peak MB", "times the checkpoint", "limit", "seconds")
    for row in rows:
        table.add_row(
            row.export,
            f"{row.predicted_bytes / 1e6:,.0f}",
            f"{row.peak_bytes / 1e6:,.0f}",
            f"{row.ratio:.2f}",
            f"{row.limit:g}" if row.limit else "",
            f"{row.seconds:.1f}",
        )
    Console(stderr=True).print(table)
    sys.stdout.write(json.dumps([asdict(row) for row in rows]) + "\n")
    sys.stdout.flush()
    sys.exit(0 if all(row.within for row in rows) else 1)


if __name__ == "__main__":
    main()
