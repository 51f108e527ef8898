"""transformers with a draft model: what it calls `assistant_model`."""

from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from ...compress.weights.strict_load import load_strictly
from ..record.draft_records import DraftCounts
from .request import Decoded, SpeculativeRequest

__all__ = ["TransformersDecoder"]


class _Steps:
    """A streamer that keeps how many tokens every step of the original gave, and when."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        """The prompt first, then the tokens of each step."""
        self.lengths.append(value.numel())
        self.times.append(perf_counter())

    def end(self) -> None:
        """All tokens came."""


class TransformersDecoder:
    """Decodes one request at a time."""

    def __init__(self, request: SpeculativeRequest) -> None:
        settings = request.settings
        device = torch.device("cuda" if settings.device == "cuda" else "cpu")
        dtype = getattr(torch, settings.dtype)

        def load(directory: str) -> Any:
            return load_strictly(Path(directory), dtype=dtype, local_files_only=True).to(device)  # type: ignore[arg-type]

        self._model: Any = load(request.directory)
        self._device, self._tokens = device, settings.output_tokens
        self._draft: Any = None
        self._k = request.draft_tokens
        if request.draft_directory is not None:
            self._draft = load(request.draft_directory)
            self._draft.generation_config.num_assistant_tokens = self._k
            self._draft.generation_config.num_assistant_tokens_schedule = "constant"
            self._draft.generation_config.assistant_confidence_threshold = 0.0  # never stop drafting early
        self._drafts = self._drafted = 0
        self._accepted = [0] * self._k

    @torch.no_grad()
    def decode(self, prompt: list[int]) -> Decoded:
        """The greedy answer to a prompt."""
        steps = _Steps()
        ids = torch.tensor([prompt], device=self._device)  # (1, t)
        drafting = {} if self._draft is None else {"assistant_model": self._draft}
        output = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=self._tokens,
            min_new_tokens=self._tokens,
            do_sample=False,
            streamer=steps,
            **drafting,
        )
        if self._draft is not None:
            self._count(steps.lengths[1:])
        after = self._tokens - steps.lengths[1]  # a draft is asked before the first too
        seconds = steps.times[-1] - steps.times[1]
        whole = seconds * (self._tokens - 1) / after if after else seconds
        return Decoded(output[0, len(prompt) :].tolist(), whole)

    def _count(self, lengths: list[int]) -> None:
        left = self._tokens
        for length in lengths:
            drafted = min(self._k, left - 1)  # what the original adds itself need not be drafted
            left -= length
            self._drafts += drafted > 0
            self._drafted += drafted
            for place in range(min(length - 1, self._k)):
                self._accepted[place] += 1

    def counts(self) -> DraftCounts | None:
        """From the lengths of the steps."""
        if self._draft is None:
            return None
        return DraftCounts(
            drafts=self._drafts,
            drafted_tokens=self._drafted,
            accepted_per_position=list(self._accepted),
        )
