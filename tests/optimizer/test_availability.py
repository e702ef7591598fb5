"""Years of failures: as the exact law has them, and as a plain count has them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.availability import (
    YEAR,
    Outages,
    PartClass,
    Timeline,
    draw_outages,
    timeline,
    timeline_of,
    with_spare_gpus,
)

HOUR = 3600.0


def singles(gpus: int, per_year: float, hours: float) -> PartClass:
    return PartClass(
        tuple(range(gpu, gpu + 1) for gpu in range(gpus)), per_year / YEAR, hours * HOUR
    )


def up(line: Timeline) -> list[float]:
    """Share of time in which each worker is up."""
    share: list[float] = ((~line.away) @ line.seconds / line.seconds.sum()).tolist()
    return share


@pytest.mark.parametrize(("per_year", "hours"), [(0.5, 24.0), (4.0, 100.0), (20.0, 2.0)])
def test_workers_are_up_as_often_as_the_law_says(per_year: float, hours: float) -> None:
    parts = [
        singles(16, per_year, hours),
        PartClass((range(8), range(8, 16)), 3.0 * per_year / YEAR, 0.5 * hours * HOUR),
    ]
    seconds = 4000.0 * YEAR / per_year
    outages = draw_outages(parts, seconds, np.random.default_rng(1))
    found = up(timeline(outages, [tuple(range(4)), tuple(range(6, 10))], seconds))
    one = per_year * hours * HOUR / YEAR  # failures of a GPU that are away at any time, in the mean
    # 4 GPUs in one server; 4 in two, each of which has 1.5 such failures.
    expected = [math.exp(-(4.0 + 1.5) * one), math.exp(-(4.0 + 3.0) * one)]
    assert found == pytest.approx(expected, rel=0.02)


spans = st.lists(
    st.tuples(st.floats(-5.0, 12.0), st.floats(0.0, 6.0), st.integers(0, 7), st.integers(1, 4)),
    max_size=12,
)


def outages_of(drawn: list[tuple[float, float, int, int]]) -> Outages:
    drawn = sorted(drawn)
    start = np.array([each[0] for each in drawn])
    first = np.array([each[2] for each in drawn], dtype=np.int64)
    return Outages(
        start,
        start + np.array([each[1] for each in drawn]),
        first,
        np.minimum(first + np.array([each[3] for each in drawn], dtype=np.int64), 8),
    )


WORKERS = [(0, 1), (2, 3, 4), (7,)]


@settings(max_examples=200, deadline=None)
@given(drawn=spans, restart=st.floats(0.0, 2.0))
def test_a_worker_is_away_while_one_of_its_gpus_is(
    drawn: list[tuple[float, float, int, int]], restart: float
) -> None:
    outages = outages_of(drawn)
    line = timeline(outages, WORKERS, 10.0, restart)
    assert line.seconds.sum() == pytest.approx(10.0)
    for place in np.flatnonzero(line.seconds > 1e-9).tolist():
        middle = line.start[place] + 0.5 * line.seconds[place]
        for number, gpus in enumerate(WORKERS):
            away = any(
                start < middle < end + restart and set(range(first, last)) & set(gpus)
                for start, end, first, last in zip(*outages, strict=True)
            )
            assert line.away[number, place] == away


@settings(max_examples=200, deadline=None)
@given(drawn=spans, restart=st.floats(0.0, 0.5))
def test_spare_gpus_take_over_and_no_gpu_has_two_workers(
    drawn: list[tuple[float, float, int, int]], restart: float
) -> None:
    outages, domains = outages_of(drawn), [range(4), range(4, 8), range(8, 12)]
    none = with_spare_gpus(
        outages, WORKERS, domains, frozenset(g for w in WORKERS for g in w), 10.0, restart
    )
    many = with_spare_gpus(
        outages, WORKERS, [*domains, range(12, 60)], frozenset(range(60)), 10.0, restart
    )
    alone = timeline(outages, WORKERS, 10.0, restart)
    # GPUs 8 and up never fail: a worker is away for a restart after each failure, and no longer.
    away = (many.away @ many.seconds).tolist()
    for number in range(len(WORKERS)):
        assert away[number] <= restart * len(drawn) + 1e-9
        assert none.seconds.sum() == pytest.approx(10.0)
        if not any(outages.first < 8):
            assert away[number] == 0.0
    assert np.all(alone.away @ alone.seconds <= 10.0 + 1e-9)


def test_same_seed_same_failures() -> None:
    first, second, other = (
        draw_outages([singles(100, 2.0, 5.0)], 10.0 * YEAR, np.random.default_rng(seed))
        for seed in (3, 3, 4)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first.start, other.start)


def test_nothing_that_fails_is_never_away() -> None:
    outages = draw_outages([singles(8, 0.0, 5.0)], YEAR, np.random.default_rng(0))
    line = timeline(outages, WORKERS, YEAR)
    assert up(line) == [1.0] * 3
    assert timeline_of([], 2, 5.0).seconds.tolist() == [5.0]


def test_too_many_failures_are_refused() -> None:
    with pytest.raises(ValueError, match="failures are to be expected, more than 2,000,000"):
        draw_outages([singles(1000, 1e5, 5.0)], YEAR, np.random.default_rng(0))
