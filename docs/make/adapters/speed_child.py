"""How fast stock vLLM decodes one sequence, without and with an adapter in turn. Run as a script.

    speed_child.py BASE ADAPTER|none RANK DTYPE TOKENS ROUNDS

Prints one line of JSON last: {"without": [tokens per second, ...], "with": [...]}. Without an adapter the
engine has no room for one either.
"""

import json
import sys
import time
from typing import Any

from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

PROMPT_TOKENS = 16


def main(base: str, adapter: str, rank: int, dtype: str, tokens: int, rounds: int) -> None:
    """Start one engine, warm it up, measure in turns."""
    lora = None if adapter == "none" else LoRARequest("adapter", 1, adapter)
    room: dict[str, Any] = {"enable_lora": True, "max_lora_rank": rank, "max_loras": 1} if lora else {}
    engine = LLM(
        model=base,
        dtype=dtype,
        enforce_eager=True,
        max_model_len=PROMPT_TOKENS + tokens + 1,
        max_num_seqs=1,
        enable_prefix_caching=False,
        seed=0,
        **room,
    )
    sampling = SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True, detokenize=False)
    kinds = {"without": None, "with": lora} if lora else {"without": None}
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(rounds + 1):  # the first warms up
        for kind, request in kinds.items():
            started = time.perf_counter()
            engine.generate(
                {"prompt_token_ids": list(range(10, 10 + PROMPT_TOKENS))},
                sampling,
                use_tqdm=False,
                lora_request=request,
            )
            if number:
                found[kind].append(tokens / (time.perf_counter() - started))
    sys.stdout.write("\n" + json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
