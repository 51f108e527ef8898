"""Compare models on the same windows of text: perplexity, paired ratio and KL to the first.

python examples/perplexity.py builtin demo:smollm2-135m narrow recovered
"""

import sys

import dotresize


def main(text: str, *models: str) -> None:
    """Print a line per text and model; the first model is what the others are compared to."""
    record = dotresize.perplexity(models, [text], window_tokens=128, evaluation_windows=8)
    for each in record["texts"]:
        for row in each["models"]:
            perplexity, ratio = row["perplexity"], row["perplexity_ratio"]
            line = f"{each['text']}: {row['name']} {perplexity['value']:.2f} ± "
            line += f"{perplexity['standard_error']:.2f}"
            print(line if ratio is None else f"{line}, {ratio['value']:.3f} of the original's")


if __name__ == "__main__":
    main(*sys.argv[1:])
