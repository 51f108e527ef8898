"""A narrow model as the draft of its own original: the same text, faster where the draft is cheap and right.

vLLM 0.32 calls it `speculative_config` with the method draft_model. What it does not take is refused here,
before an engine starts: another vocabulary (it compares sizes only, late), pipeline stages (the draft exists
on the last one alone), and another number of ranks for the draft than for the original.
"""

import json
from pathlib import Path

from ...errors import ModelError, OptionError
from ...export.contract.vocabulary import tokenizer_sha256
from ...export.disk.model_files import is_onnx_directory, read_config
from .model_facts import ModelFacts, read_facts
from .options import DRAFT_TOKENS, ServeOptions

__all__ = ["check_draft", "draft_facts", "draft_flags", "draft_notes", "draft_warnings", "speculative_flags"]


def draft_facts(options: ServeOptions) -> ModelFacts | None:
    """The facts of the draft, None without one; refuses what is no draft of the original.

    Raises:
        ModelError: Not a checkpoint, or of another vocabulary than the original.
        ManifestError: Its manifest is damaged.
    """
    if options.draft is None:
        return None
    if is_onnx_directory(options.draft):
        raise ModelError(
            f"{options.draft} is an ONNX export; a draft runs in vLLM: give the checkpoint it was made from"
        )
    facts = read_facts(options.draft)
    _check_vocabulary(options.directory, options.draft)
    return facts


def _check_vocabulary(original: Path, draft: Path) -> None:
    sizes = [int(read_config(each, ("vocab_size",))["vocab_size"]) for each in (original, draft)]
    if sizes[0] != sizes[1]:
        raise ModelError(
            f"{draft} has {sizes[1]} tokens and {original} has {sizes[0]}; a draft proposes the original's "
            "tokens: make it with `dotresize compress` from the original itself"
        )
    if tokenizer_sha256(original) != tokenizer_sha256(draft):
        raise ModelError(
            f"{draft} numbers its tokens otherwise than {original}; a draft proposes the original's tokens: "
            "make it with `dotresize compress` from the original itself"
        )


def check_draft(options: ServeOptions, facts: ModelFacts, draft: ModelFacts) -> None:
    """Refuse what vLLM does not take beside a draft.

    Raises:
        ModelError: The draft is an export of another runtime.
        OptionError: Pipeline stages, or a context that the draft cannot follow.
    """
    if draft.manifest is not None and draft.manifest.format not in ("huggingface", "vllm"):
        raise ModelError(
            f"{options.draft} is a {draft.manifest.format} export; a draft is the output of "
            "`dotresize compress` or `dotresize export vllm`"
        )
    if options.pipeline_parallel_size > 1:
        raise OptionError(
            f"--pipeline-parallel-size {options.pipeline_parallel_size} cannot be combined with --draft: "
            "vLLM runs no draft model beside pipeline stages; use --tensor-parallel-size, or no draft"
        )
    context = options.max_model_len or facts.max_position_embeddings
    limit = draft.max_position_embeddings
    if context is not None and limit is not None and limit < context:
        raise OptionError(
            f"{options.draft} has {limit} positions and {context} tokens shall be served; give "
            f"--max-model-len {limit} or less"
        )


def draft_flags(options: ServeOptions) -> tuple[str, ...]:
    """What tells vLLM about the draft."""
    if options.draft is None:
        return ()
    return speculative_flags(
        options.draft.resolve(),
        options.draft_tokens or DRAFT_TOKENS,
        tensor_parallel_size=options.tensor_parallel_size,
    )


def speculative_flags(
    draft: Path | str, draft_tokens: int, *, tensor_parallel_size: int = 1
) -> tuple[str, str]:
    """The flag that tells vLLM about a draft model, the same for every command of ours.

    Args:
        draft: The draft's directory.
        draft_tokens: Proposed before each check, at least 1.
        tensor_parallel_size: GPUs that the original is split over; the draft is split likewise.
    """
    speculation: dict[str, str | int] = {
        "method": "draft_model",
        "model": str(draft),
        "num_speculative_tokens": draft_tokens,
    }
    if tensor_parallel_size > 1:
        speculation["draft_tensor_parallel_size"] = tensor_parallel_size
    return "--speculative-config", json.dumps(speculation)


def draft_notes(options: ServeOptions) -> tuple[str, ...]:
    """What was chosen."""
    if options.draft is None:
        return ()
    count = options.draft_tokens or DRAFT_TOKENS
    return (
        f"draft {options.draft.name}: {count} token{'s' if count > 1 else ''} proposed before each check; "
        f"`dotresize bench {options.directory} {options.draft} --speculative` says what that gains",
    )


def draft_warnings(facts: ModelFacts, draft: ModelFacts) -> tuple[str, ...]:
    """A draft that cannot pay."""
    if draft.weight_bytes < facts.weight_bytes:
        return ()
    return (
        f"the draft's weights are no smaller than the original's ({draft.weight_bytes / 1e6:,.0f} MB and "
        f"{facts.weight_bytes / 1e6:,.0f} MB), so drafting costs as much as it can save",
    )
