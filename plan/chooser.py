"""Ranks the candidates of a budget and picks one: by proxy alone, or by a search that measures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from ..bench.judge.pareto import Better, pareto_front
from ..compress.families.family import Axis
from ..compress.record.config import CompressConfig
from ..compress.record.progress import Progress
from ..compress.run import choose_device
from ..compress.text.calibration_windows import calibration_windows
from ..compress.weights.dense import Dense
from .axes import Axes, Candidate, labelled
from .candidates import holds, probes
from .measure import Fidelity, Measurer, few_windows
from .observe import observe_model
from .prediction import Need, Predictor
from .proxy import proxy_loss, proxy_terms
from .quality_floor import BEHIND, out_of_reach
from .record import Point, Quality
from .search import AMOUNTS, Effort, Ranked, search, start_of, work_units

__all__ = ["Chooser"]

LARGEST_FRONT = 12  # points of the front that are kept


class Chooser:
    """One dense model that has been looked at once, and what is known of its candidates."""

    def __init__(
        self,
        dense: Dense,
        axes: Axes,
        predictor: Predictor,
        base: CompressConfig,
        fidelity: Fidelity,
        progress: Progress,
    ) -> None:
        """Look at the model.

        Args:
            dense: the model; it is not kept.
            axes: of the model.
            predictor: of sizes and speed.
            base: the compression that is planned; its widths do not count.
            fidelity: how little the proxy and the lowest rung of a search see.
            progress: told about every step.
        """
        self._axes, self._predictor, self._base = axes, predictor, base
        self._fidelity, self._progress = fidelity, progress
        device = choose_device(base.device)
        windows = calibration_windows(few_windows(base, fidelity, 0), dense, device, progress)
        with torch.no_grad():
            self._observed = observe_model(dense, windows.token_ids, device, progress)
        self._measured: dict[Candidate, Quality] = {}
        self._weights: dict[Axis, float] = {}
        self._measure: Measurer | None = None
        self._floor: float | None = None
        self.evaluations = 0

    def ranked(self, pool: Sequence[Candidate]) -> list[Ranked]:
        """All candidates by the loss that the proxy expects, the best first."""
        found = [Ranked(candidate=one, proxy=self._proxy(one)) for one in pool]
        return sorted(found, key=lambda one: (one.proxy, one.candidate))

    def choose(
        self,
        pool: Sequence[Candidate],
        singles: Mapping[Axis, Candidate],
        needs: Sequence[Need],
        effort: Effort,
        measure: Measurer | None,
        floor: float | None = None,
    ) -> Candidate:
        """The best candidate.

        Args:
            pool: candidates that meet the budget.
            singles: those of them that move one axis.
            needs: the budget.
            effort: how much is measured.
            measure: measures candidates; None trusts the proxy.
            floor: perplexity ratio to the original at most, as measured here.

        Raises:
            WidthError: nothing within the budget meets the floor.
        """
        if measure is None:
            return self.ranked(pool)[0].candidate
        amount = AMOUNTS[effort]
        self._measure, self._floor = measure, floor
        alone = probes(self._axes, singles)
        beyond = len(set(alone.values()) - set(singles.values()))
        self._progress.begin("measure candidates", work_units(amount) + beyond)
        losses = self._losses(list(alone.values()), 0)
        self._weights = self._weighed(alone, dict(zip(alone, losses, strict=True)))
        start = start_of(self.ranked(pool), self._axes.dense, amount.start)
        predict = self._predictor.predict
        chosen = search(start, self._axes, predict, needs, self._behind_floor, amount, self._base.seed)
        if floor is not None and not self._is_good(chosen):
            tried = [one for one in self._measured if holds(predict(one), needs)]
            best = min(self._ratio(one) for one in tried)
            raise out_of_reach(floor, best, self._axes, predict, needs, self._most_promising)
        self.evaluations = self._measure.count
        return chosen

    def _losses(self, candidates: Sequence[Candidate], rung: int) -> list[float]:
        """KL on a rung; everything that was measured is kept."""
        assert self._measure is not None
        found = self._measure(candidates, rung)
        for candidate, measured in zip(candidates, found, strict=True):
            self._measured[candidate] = replace(
                self._quality(candidate),
                kl_nats_per_token=measured.kl_nats_per_token,
                perplexity_ratio=measured.perplexity_ratio,
                windows=self._fidelity.evaluation_windows << rung,
            )
        return [measured.kl_nats_per_token for measured in found]

    def _behind_floor(self, candidates: Sequence[Candidate], rung: int) -> list[float]:
        """Losses, in which what is above the floor comes last."""
        losses = zip(candidates, self._losses(candidates, rung), strict=True)
        return [loss if self._is_good(one) else BEHIND + loss for one, loss in losses]

    def _ratio(self, candidate: Candidate) -> float:
        return self._measured[candidate].perplexity_ratio or math.inf

    def _is_good(self, candidate: Candidate) -> bool:
        return self._floor is None or self._ratio(candidate) <= self._floor

    def _most_promising(self, pool: Sequence[Candidate]) -> tuple[Candidate, float]:
        """The proxy's best, and its perplexity ratio."""
        first = self.ranked(pool)[0].candidate
        self._losses([first], 0)
        return first, self._ratio(first)

    def _weighed(self, alone: Mapping[Axis, Candidate], losses: Mapping[Axis, float]) -> dict[Axis, float]:
        """What a unit of each axis' term costs, by the candidate that moves it alone."""
        terms = {axis: proxy_terms(self._observed, one)[axis] for axis, one in alone.items()}
        return {axis: losses[axis] / term for axis, term in terms.items() if term > 0.0}

    def point(self, candidate: Candidate) -> Point:
        """Everything that is known of a candidate."""
        return Point(
            widths=labelled(candidate),
            predicted=self._predictor.predict(candidate),
            quality=self._measured.get(candidate) or self._quality(candidate),
        )

    def front(self, pool: Sequence[Candidate], needs: Sequence[Need]) -> list[Point]:
        """What no other point beats in size, speed and loss; of measured ones where there are any."""
        points = [self.point(one) for one in self._measured if self._is_good(one)]
        points = [point for point in points if holds(point.predicted, needs)]
        points = points or [self.point(one.candidate) for one in self.ranked(pool)[: 10 * LARGEST_FRONT]]
        coordinates = [
            (
                float(point.predicted.layer_parameters),
                point.predicted.decode_speedup or 0.0,
                point.loss,
            )
            for point in points
        ]
        better: tuple[Better, ...] = ("lower", "higher", "lower")
        kept = [points[index] for index in pareto_front(coordinates, better)]
        return sorted(kept, key=lambda point: point.loss)[:LARGEST_FRONT]

    def _quality(self, candidate: Candidate) -> Quality:
        return Quality(proxy=self._proxy(candidate))

    def _proxy(self, candidate: Candidate) -> float:
        return proxy_loss(self._observed, candidate, self._weights)
