"""Open a checkpoint or a GGUF file with stock transformers and run the prompts in float32. See `__init__`."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.numpy import save_file


def main(artefact: str, prompts_json: str, out: str, resident_bytes: str | None = None) -> None:
    """Load, run every prompt, write logits and greedy tokens.

    With `resident_bytes`, each layer is read when it runs, and only so many bytes of them stay in memory.
    """
    prompts = json.loads(Path(prompts_json).read_text(encoding="utf-8"))["prompts"]
    where: dict[str, Any] = {"pretrained_model_name_or_path": artefact, "local_files_only": True}
    how: dict[str, Any] = {}
    if Path(artefact).is_file():
        where |= {
            "pretrained_model_name_or_path": str(Path(artefact).parent),
            "gguf_file": Path(artefact).name,
        }
        how["quantization_config"] = transformers.GgufConfig(dequantize=True)
    config = transformers.AutoConfig.from_pretrained(**where)
    if getattr(config, "attn_logit_softcapping", None):
        how["attn_implementation"] = "eager"  # the default would leave the cap out
    loaded: Any = (
        transformers.AutoModelForCausalLM.from_pretrained(
            **where, **how, dtype=torch.float32, output_loading_info=True
        )
        if resident_bytes is None
        else open_in_pages(Path(artefact), int(resident_bytes))
    )
    model, loading = loaded
    model.eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    logits, greedy, token_ids = {}, [], []
    for index, prompt in enumerate(prompts):
        count = len(prompt["token_ids"])
        token_ids.append(tokenizer(prompt["text"])["input_ids"][:count])
        ids = torch.tensor([prompt["token_ids"]])
        with torch.inference_mode():
            output = model(input_ids=ids, use_cache=True)
            logits[str(index)] = output.logits[0].float().contiguous().numpy()
            steps = len(prompt["greedy_token_ids"])
            greedy.append(continue_greedily(model, output, steps))
    save_file(logits, Path(out) / "logits.safetensors")
    assert "dotresize" not in sys.modules, "the check must not depend on dotresize"
    result = {
        "runtime": f"transformers {transformers.__version__}" + ("" if resident_bytes is None else ", paged"),
        "greedy_token_ids": greedy,
        "token_ids": token_ids,
        "missing_keys": sorted(loading["missing_keys"]),
        "unexpected_keys": sorted(loading["unexpected_keys"]),
    }
    (Path(out) / "result.json").write_text(json.dumps(result), encoding="utf-8")


def open_in_pages(directory: Path, resident_bytes: int) -> tuple[Any, dict[str, list[str]]]:
    """The model and its loading info; a parameter that no file holds is a KeyError."""
    file = Path(__file__).parents[2] / "checkpoint" / "paged.py"
    found = importlib.util.spec_from_file_location("paged", file)
    assert found is not None
    assert found.loader is not None
    paged = importlib.util.module_from_spec(found)
    found.loader.exec_module(paged)
    model = paged.open_paged(directory, resident_bytes=resident_bytes)
    unexpected = sorted(set(paged.places_of(directory)) - set(model.state_dict()))
    return model, {"missing_keys": [], "unexpected_keys": unexpected}


def continue_greedily(model: Any, output: Any, steps: int) -> list[int]:
    """The best token, `steps` times, past any end of text."""
    tokens: list[int] = []
    for _ in range(steps):
        best = output.logits[:, -1].argmax(dim=-1)
        tokens.append(int(best))
        output = model(input_ids=best[:, None], past_key_values=output.past_key_values, use_cache=True)
    return tokens


if __name__ == "__main__":
    main(*sys.argv[1:])
