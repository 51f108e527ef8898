"""Open a GGUF file with llama.cpp, through llama-cpp-python, and run the prompts. See `__init__.py`."""

import json
import sys
from pathlib import Path

import llama_cpp
import numpy as np
from safetensors.numpy import save_file


def main(artefact: str, prompts_json: str, out: str) -> None:
    """Load, tokenize, evaluate every prompt, continue by the best token past any end of text."""
    prompts = json.loads(Path(prompts_json).read_text(encoding="utf-8"))["prompts"]
    longest = max(len(prompt["token_ids"]) + len(prompt["greedy_token_ids"]) for prompt in prompts)
    model = llama_cpp.Llama(artefact, n_ctx=longest + 8, logits_all=True, verbose=False)
    logits, greedy, token_ids = {}, [], []
    for index, prompt in enumerate(prompts):
        count = len(prompt["token_ids"])
        token_ids.append(model.tokenize(prompt["text"].encode(), add_bos=True, special=True)[:count])
        model.reset()
        model.eval(prompt["token_ids"])
        logits[str(index)] = np.array(model.scores[:count], dtype=np.float32)
        tokens: list[int] = []
        for _ in prompt["greedy_token_ids"]:
            tokens.append(int(np.argmax(model.scores[model.n_tokens - 1])))
            model.eval([tokens[-1]])
        greedy.append(tokens)
    save_file(logits, Path(out) / "logits.safetensors")
    assert "dotresize" not in sys.modules, "the check must not depend on dotresize"
    result = {
        "runtime": f"llama-cpp-python {llama_cpp.__version__}",
        "greedy_token_ids": greedy,
        "token_ids": token_ids,
    }
    (Path(out) / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
