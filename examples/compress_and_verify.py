"""Narrow a model, write it as a stock checkpoint, and have stock transformers prove it.

python examples/compress_and_verify.py demo:smollm2-135m narrow
"""

import sys
from pathlib import Path

import dotresize


def main(model: str, output: Path, *texts: str) -> None:
    """Keep three quarters of every MLP."""
    config = dotresize.CompressConfig(
        intermediate_size=0.75,
        calibration=texts or ("builtin",),
        calibration_windows=16,
        window_tokens=128,
    )
    result = dotresize.compress(model, config)
    dotresize.save(result, output)
    counts = result.report.dense_counts, result.report.narrow_counts
    print(f"{counts[0].total_parameters:,} -> {counts[1].total_parameters:,} parameters in {output}")
    record = dotresize.verify(output, runtime="transformers")  # "all" takes vLLM, too
    for check in record.verification:
        print("ok" if check.passed else "MISSED", check.name, check.runtime)
    if not record.verified:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
