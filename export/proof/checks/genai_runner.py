"""Open an ONNX directory with ONNX Runtime GenAI and continue the reference prompts. See `__init__.py`.

It writes no logits of the whole prompt, GenAI hands out those of the last position only.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime_genai


def main(artefact: str, prompts_json: str, out: str) -> None:
    """Load, tokenize and continue every prompt by the best token, past any end of text."""
    prompts = json.loads(Path(prompts_json).read_text(encoding="utf-8"))["prompts"]
    model = onnxruntime_genai.Model(artefact)
    tokenizer = onnxruntime_genai.Tokenizer(model)
    greedy, token_ids = [], []
    for prompt in prompts:
        count, steps = len(prompt["token_ids"]), len(prompt["greedy_token_ids"])
        token_ids.append([int(token) for token in tokenizer.encode(prompt["text"])][:count])
        parameters = onnxruntime_genai.GeneratorParams(model)
        parameters.set_search_options(max_length=count + steps + 1, do_sample=False)
        generator = onnxruntime_genai.Generator(model, parameters)
        generator.append_tokens(np.array([prompt["token_ids"]], dtype=np.int32))
        tokens: list[int] = []
        for _ in range(steps):
            tokens.append(int(np.argmax(generator.get_logits().reshape(-1))))
            generator.append_tokens(np.array([[tokens[-1]]], dtype=np.int32))
        greedy.append(tokens)
    assert "dotresize" not in sys.modules, "the check must not depend on dotresize"
    result = {
        "runtime": f"onnxruntime-genai {onnxruntime_genai.__version__}",
        "greedy_token_ids": greedy,
        "token_ids": token_ids,
    }
    (Path(out) / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
