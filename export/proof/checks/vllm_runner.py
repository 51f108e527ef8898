"""Open a checkpoint with stock vLLM and run the reference prompts. See `__init__.py`.

The engine runs in this process (VLLM_ENABLE_V1_MULTIPROCESSING=0), so ending the process ends all of it.
Log-probabilities are written in place of logits: they differ by one constant per position, and vLLM gives
no row for the first prompt token.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from vllm import LLM, SamplingParams
from vllm import __version__ as vllm_version


def main(artefact: str, prompts_json: str, out: str, dtype: str) -> None:
    """Load, run every prompt, write prompt log-probabilities and greedy tokens."""
    prompts = json.loads(Path(prompts_json).read_text(encoding="utf-8"))["prompts"]
    steps = max(len(prompt["greedy_token_ids"]) for prompt in prompts)
    longest = max(len(prompt["token_ids"]) for prompt in prompts) + steps
    # vLLM 0.32's kernel for 4-bit weights uses AMX tiles and leaves it to oneDNN's first large product to ask
    # Linux for them; a model too small for such a product dies by SIGILL.
    torch.cpu._init_amx()
    engine = LLM(
        model=artefact,
        dtype=dtype,
        enforce_eager=True,
        max_model_len=longest + 1,
        max_num_seqs=len(prompts),
        max_logprobs=-1,
        enable_prefix_caching=False,
        trust_remote_code=False,
        seed=0,
    )
    sampling = SamplingParams(
        temperature=0.0,
        max_tokens=steps,
        ignore_eos=True,
        detokenize=False,
        prompt_logprobs=-1,
        flat_logprobs=True,
    )
    inputs = [{"prompt_token_ids": prompt["token_ids"]} for prompt in prompts]
    outputs = engine.generate(inputs, sampling, use_tqdm=False)
    save_file(
        {str(index): prompt_rows(output.prompt_logprobs) for index, output in enumerate(outputs)},
        Path(out) / "logits.safetensors",
    )
    assert "dotresize" not in sys.modules, "the check must not depend on dotresize"
    result = {
        "runtime": f"vllm {vllm_version}",
        "greedy_token_ids": [
            list(output.outputs[0].token_ids)[: len(prompt["greedy_token_ids"])]
            for output, prompt in zip(outputs, prompts, strict=True)
        ],
    }
    (Path(out) / "result.json").write_text(json.dumps(result), encoding="utf-8")


def prompt_rows(flat) -> np.ndarray:  # type: ignore[no-untyped-def]
    """(T - 1, V) log-probabilities in vocabulary order, from vLLM's flat lists of tokens and values."""
    rows = []
    for start, end in zip(flat.start_indices[1:], flat.end_indices[1:], strict=True):
        tokens = np.asarray(flat.token_ids[start:end])
        row = np.full(int(tokens.max()) + 1, -np.inf, dtype=np.float32)
        row[tokens] = flat.logprobs[start:end]
        rows.append(row)
    return np.stack(rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
