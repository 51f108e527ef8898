"""Compare models on the same windows of text: perplexity, paired ratio and KL to the first.

python examples/perplexity.py builtin demo:smollm2-135m narrow recovered
"""

import sys

from dotresize.bench.quality.text_quality import measure_texts, windows_of_texts
from dotresize.compress.weights.source import load_dense


def main(text: str, *models: str) -> None:
    """Print a line per text and model; the first model is what the others are compared to."""
    loaded = {name: load_dense(name, any_family=True) for name in models}
    tokenizer = loaded[models[0]].tokenizer
    windows = windows_of_texts([text], tokenizer, window_tokens=128, at_most=8)
    record = measure_texts({name: each.model for name, each in loaded.items()}, windows)
    for each in record["texts"]:
        for row in each["models"]:
            perplexity, ratio = row["perplexity"], row["perplexity_ratio"]
            line = f"{each['text']}: {row['name']} {perplexity['value']:.2f} ± "
            line += f"{perplexity['standard_error']:.2f}"
            print(line if ratio is None else f"{line}, {ratio['value']:.3f} of the original's")


if __name__ == "__main__":
    main(*sys.argv[1:])
