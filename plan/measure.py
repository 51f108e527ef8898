"""How much one candidate really loses: narrowed by closed forms on few windows, scored on others."""

import gc
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter

import torch

from ..bench.quality.kept_states import KeptStates
from ..bench.quality.text_quality import measure_texts, windows_of_texts
from ..compress.first_look import Looks
from ..compress.identity import versions
from ..compress.record.config import CompressConfig
from ..compress.record.progress import Progress, Silent
from ..compress.run import choose_device, compress
from ..compress.text.calibration import Windows
from ..compress.text.mixture import SELF, mixture_of
from ..compress.weights.source import DenseModel
from .axes import Candidate, config_of
from .search_state import Measured, SearchState

__all__ = [
    "Fidelity",
    "Measurer",
    "Recipe",
    "Score",
    "Scorer",
    "few_windows",
    "lowest_fidelity",
    "ready_texts",
    "search_identity",
]

WINDOW_TOKENS = 512  # at most; in shorter windows what drops layers looks better than it is
SHARE = 32  # one part in so many of the full run's tokens is what the lowest rung sees
LEAST_TOKENS = 4096  # fewer say little of what a fit will gain
READY_TEXTS = ("builtin:documentation", "builtin:code", "builtin:chat")  # where all is self text
EVALUATION_WINDOWS = 1  # of each text, on the lowest rung

# Candidates and their rung -> place among them and result, in the order in which they end.
Score = Callable[[Sequence[Candidate], int], Iterator[tuple[int, Measured]]]


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """What the lowest rung sees; each rung above sees twice as much, but no more than the run will."""

    window_tokens: int
    windows: int
    most_windows: int
    evaluation_windows: int


def lowest_fidelity(full_tokens: int, base: CompressConfig) -> Fidelity:
    """A small part of the tokens of the run that is planned, and a window at least of each of its texts.

    A fit's gain grows with its tokens: with too few of them a search prefers what needs no fit, such as fewer
    layers (docs/LOG.md).
    """
    shares = [part.share for part in mixture_of(ready_texts(base.calibration))]
    length = min(WINDOW_TOKENS, base.window_tokens)
    run = max(1, full_tokens // length)
    windows = min(max(run // SHARE, math.ceil(LEAST_TOKENS / length)), run)
    windows = max(windows, math.ceil(1 / min(shares) - 1e-6))
    return Fidelity(
        window_tokens=length,
        windows=windows,
        most_windows=max(run, windows),
        evaluation_windows=EVALUATION_WINDOWS,
    )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How candidates of one model are measured, wherever that happens.

    Attributes:
        model: what the user named.
        own: its place among the candidates.
        base: calibration, device and seed of the run that is planned.
        evaluation: texts to score on; never those that are calibrated on.
        fidelity: of the lowest rung.
    """

    model: str
    own: Candidate
    base: CompressConfig
    evaluation: tuple[str, ...]
    fidelity: Fidelity

    def evaluation_windows(self, rung: int) -> int:
        """Of each text at most."""
        return self.fidelity.evaluation_windows << rung


def few_windows(base: CompressConfig, fidelity: Fidelity, rung: int) -> CompressConfig:
    """The compression as a rung makes it: few windows, and no more work in the fits than closed forms."""
    full = base.compensate == "full"
    return CompressConfig(
        **{
            **vars(base),
            "calibration": ready_texts(base.calibration),
            "effort": "quick" if base.compensate != "none" else None,
            "neuron_steps": 0 if full else None,
            "calibration_windows": min(fidelity.windows * 2**rung, fidelity.most_windows),
            "window_tokens": fidelity.window_tokens,
        }
    )


def ready_texts(calibration: str | Sequence[str]) -> tuple[str, ...]:
    """The texts that need no writing: a search is over before the model has written much text itself."""
    parts = mixture_of([calibration] if isinstance(calibration, str) else list(calibration))
    ready = [part for part in parts if part.spec != SELF]
    whole = sum(part.share for part in ready)
    return tuple(f"{part.spec}={part.share / whole!r}" for part in ready) or READY_TEXTS


class Scorer:
    """Measures candidates of one model that is in memory; what it shows and answers is computed once."""

    def __init__(self, dense: DenseModel, recipe: Recipe) -> None:
        """Nothing is measured yet.

        Args:
            dense: the original.
            recipe: how candidates are measured.
        """
        self._dense, self._recipe = dense, recipe
        self._original, self._looks = KeptStates(dense.model), Looks()
        self._texts: dict[int, list[Windows]] = {}

    @torch.no_grad()
    def __call__(self, candidate: Candidate, rung: int) -> Measured:
        """How far from the original a candidate is.

        Raises:
            DotresizeError: it cannot be made or scored.
        """
        started, recipe = perf_counter(), self._recipe
        device = choose_device(recipe.base.device)
        self._dense.model.to(device)  # type: ignore[arg-type]
        texts = self._texts_of(rung)
        config = config_of(candidate, recipe.own, few_windows(recipe.base, recipe.fidelity, rung))
        result = compress(self._dense, config, looks=self._looks)
        quality = measure_texts(
            {"dense": self._original, "narrow": result.model},
            texts,
            device=device,
            progress=Silent(),
        )
        del result
        gc.collect()
        narrow = [text["models"][1] for text in quality["texts"]]
        divergences = [model["kl_nats_per_token"]["value"] for model in narrow]
        ratios = [model["perplexity_ratio"]["value"] for model in narrow]
        return Measured(
            kl_nats_per_token=math.fsum(divergences) / len(divergences),
            perplexity_ratio=math.exp(math.fsum(map(math.log, ratios)) / len(ratios)),
            windows=max(len(text.token_ids) for text in texts),
            seconds=perf_counter() - started,
        )

    def _texts_of(self, rung: int) -> list[Windows]:
        if rung not in self._texts:
            self._texts[rung] = windows_of_texts(
                list(self._recipe.evaluation),
                self._dense.tokenizer,
                at_most=self._recipe.evaluation_windows(rung),
                window_tokens=self._recipe.fidelity.window_tokens,
            )
        return self._texts[rung]


class Measurer:
    """Measures candidates, each at most once per rung, and keeps what was measured."""

    def __init__(self, score: Score, state: SearchState, progress: Progress) -> None:
        """Nothing is measured yet.

        Args:
            score: measures, one after the other or side by side.
            state: results of earlier runs.
            progress: told about every measurement, in windows.
        """
        self._score, self._state, self._progress = score, state, progress
        self._asked: set[tuple[Candidate, int]] = set()

    @property
    def count(self) -> int:
        """How many results were asked for, kept ones of earlier runs included."""
        return len(self._asked)

    def __call__(self, candidates: Sequence[Candidate], rung: int) -> list[Measured]:
        """How far from the original each is; every result is kept as soon as it is there.

        Raises:
            DotresizeError: one cannot be made or scored.
        """
        known = {one: self._state.get(one, rung) for one in candidates}
        missing = [one for one, measured in known.items() if measured is None]
        for one in known.keys() - set(missing):
            self._count(one, rung)
        for place, measured in self._score(missing, rung):
            self._state.put(missing[place], rung, measured)
            self._count(missing[place], rung)
        found = [self._state.get(one, rung) for one in candidates]
        return [measured for measured in found if measured is not None]

    def _count(self, candidate: Candidate, rung: int) -> None:
        if (candidate, rung) not in self._asked:
            self._asked.add((candidate, rung))
            self._progress.advance(2**rung)


def search_identity(sha256: str, base: CompressConfig, evaluation: Sequence[str], fidelity: Fidelity) -> str:
    """A hash of everything that decides a measurement but candidate and rung.

    Args:
        sha256: of the original's files.
        base: the compression that is planned.
        evaluation: texts that candidates are scored on.
        fidelity: of the lowest rung.
    """
    decides = [
        sha256,
        {name: value for name, value in vars(base).items() if name != "device"},
        list(evaluation),
        asdict(fidelity),
        versions(),
    ]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
