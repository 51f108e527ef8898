"""vLLM with a draft model, in this process: `speculative_config` with the method draft_model."""

from typing import Any

from ...serve.engine.draft import speculative_flags
from ..record.draft_records import DraftCounts
from .request import Decoded, SpeculativeRequest

__all__ = ["VllmDecoder"]

PREFIX = "vllm:spec_decode_num_"


class VllmDecoder:
    """Decodes one request at a time."""

    def __init__(self, request: SpeculativeRequest) -> None:
        from vllm import LLM, EngineArgs, SamplingParams
        from vllm.utils.argparse_utils import FlexibleArgumentParser

        flags = ["--model", request.directory, "--dtype", request.settings.dtype]
        flags += ["--max-model-len", str(request.context_tokens), "--no-enable-prefix-caching"]
        if request.draft_directory is not None:
            flags += speculative_flags(request.draft_directory, request.draft_tokens)
        parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
        arguments = parser.parse_args([*flags, *request.settings.engine_flags])
        self._engine = LLM.from_engine_args(EngineArgs.from_cli_args(arguments))
        self._sampling = SamplingParams(
            temperature=0, max_tokens=request.settings.output_tokens, ignore_eos=True, detokenize=False
        )
        self._positions = request.draft_tokens if request.draft_directory is not None else 0

    def decode(self, prompt: list[int]) -> Decoded:
        """The greedy answer to a prompt."""
        (output,) = self._engine.generate(
            {"prompt_token_ids": prompt}, sampling_params=self._sampling, use_tqdm=False
        )
        times: Any = output.metrics
        return Decoded(list(output.outputs[0].token_ids), times.last_token_ts - times.first_token_ts)

    def counts(self) -> DraftCounts | None:
        """From vLLM's own counters."""
        if not self._positions:
            return None
        found: dict[str, Any] = {metric.name: metric for metric in self._engine.get_metrics()}
        positions = found.get(f"{PREFIX}accepted_tokens_per_pos")
        return DraftCounts(
            drafts=_value(found, "drafts"),
            drafted_tokens=_value(found, "draft_tokens"),
            accepted_per_position=[0] * self._positions if positions is None else list(positions.values),
        )


def _value(found: dict[str, Any], name: str) -> int:
    metric = found.get(PREFIX + name)
    return 0 if metric is None else int(metric.value)
