"""Oracles: fronts that can be read off by hand, and the definition itself on random points."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotresize.bench.judge.pareto import pareto_front


def test_slower_and_worse_points_are_beaten() -> None:
    #          original      both better   beaten by 1   fastest
    points = [(20.0, 1.00), (21.0, 1.20), (25.0, 1.10), (30.0, 1.50)]  # perplexity, speed-up
    assert pareto_front(points, ("lower", "higher")) == [0, 1, 3]


def test_fewer_bytes_is_better() -> None:
    points = [(20.0, 540.0), (21.0, 430.0), (22.0, 430.0), (30.0, 270.0)]  # perplexity, bytes
    assert pareto_front(points, ("lower", "lower")) == [0, 1, 3]


def test_ties_are_all_kept() -> None:
    assert pareto_front([(20.0, 1.0), (20.0, 1.0)], ("lower", "higher")) == [0, 1]


def test_a_tie_in_one_coordinate_is_decided_by_the_other() -> None:
    assert pareto_front([(20.0, 1.0), (20.0, 1.1), (19.0, 1.1)], ("lower", "higher")) == [2]


def test_a_single_point_is_the_front() -> None:
    assert pareto_front([(20.0, 1.0)], ("lower", "higher")) == [0]


def test_no_points_have_no_front() -> None:
    assert pareto_front([], ("lower", "higher")) == []


@pytest.mark.parametrize("point", [(math.nan, 1.0), (math.inf, 1.0), (1.0,)])
def test_what_is_no_point_is_refused(point: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="no point of 2 finite coordinates"):
        pareto_front([point], ("lower", "higher"))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_every_point_off_the_front_is_beaten_by_one_on_it(points: list[tuple[int, int]]) -> None:
    front = pareto_front(points, ("lower", "higher"))
    for index, (x, y) in enumerate(points):
        beaten_by = [at for at in front if points[at] != (x, y) and points[at][0] <= x and points[at][1] >= y]
        assert (index in front) == (not beaten_by)
