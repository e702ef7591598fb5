"""What the program of a fleet finds is as good as trying all, and what it promises holds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.predictions import predict
from costmodel.results import Configuration, Scenario
from optimizer import Limits, Problem
from optimizer.check import serve_with_spares
from optimizer.decode_points import decode_points, rate_at
from optimizer.decode_workers import decode_workers
from optimizer.fleet import Tier
from optimizer.fleet_points import FleetPoints, Pool, fleet_points
from optimizer.prefill_points import fewest_workers, meets
from optimizer.space import decode_fields
from optimizer.value import request_tokens
from presets import default_cluster
from presets.pools import SERVINGS, Serving
from tests.optimizer.fleets import CALIBRATION, LONG, SCENARIO, SMALL, problem_of, tier, weight


def least_by_trying(points: FleetPoints, most: int) -> float:
    """Fewest GPUs of all plans with up to some workers of each kind, each evaluated exactly."""
    tiers = range(len(points.problem.tiers))
    (kind,) = {option.kind for option in points.pools}
    pools = [
        Pool(0, some, kind) for n in range(1, len(tiers) + 1) for some in combinations(tiers, n)
    ]
    sizes = [list(points.of[number, 0].sizes) for number in tiers]

    @cache
    def served(number: int, pool: int, workers: int, counts: tuple[int, ...]) -> bool:
        decode = dict(zip(sizes[number], counts, strict=True))
        return bool(sum(counts) and serve_with_spares(points, number, pools[pool], workers, decode))

    @cache
    def least_decode(number: int, pool: int, workers: int) -> float:
        every = product(*(range(most + 1) for _ in sizes[number]))
        ranked = sorted((np.dot(counts, sizes[number]), counts) for counts in every)
        return next(
            (float(gpus) for gpus, counts in ranked if served(number, pool, workers, counts)),
            np.inf,
        )

    def least_of(pool: int) -> float:
        return min(
            workers * kind.gpus
            + sum(least_decode(number, pool, workers) for number in pools[pool].tiers)
            for workers in range(1, most + 1)
        )

    of_pool = [least_of(pool) for pool in range(len(pools))]
    return min(sum(of_pool[: len(tiers)]), of_pool[-1])


@pytest.mark.many_cases
@pytest.mark.parametrize(
    "tiers",
    [
        (tier(40.0, 90.0, 1.0),),
        (tier(60.0, 70.0, 0.5), tier(110.0, 20.0, 0.6)),
        (tier(50.0, 60.0), tier(75.0, 12.0, 2.0, LONG)),
        (tier(50.0, 60.0), tier(75.0, 9.0, scenario=LONG)),
    ],
    ids=["one tier", "two tiers", "two lengths", "no limits"],
)
def test_plan_is_as_good_as_trying_all(tiers: tuple[Tier, ...]) -> None:
    problem = problem_of(*tiers)
    assert weight(problem) == least_by_trying(fleet_points(problem), most=4)


ONE_POOL: tuple[Serving, ...] = ("aggregated",)


@pytest.mark.many_cases
@pytest.mark.parametrize(
    ("asked", "spares"),
    [
        (tier(40.0, 60.0, servings=ONE_POOL), 0),
        (tier(75.0, 12.0, 0.35, servings=ONE_POOL), 0),
        (tier(60.0, 12.0, 1.5, LONG, servings=ONE_POOL), 0),
        (tier(75.0, 20.0, servings=ONE_POOL), 1),
        (tier(110.0, 4.0, 0.5, servings=SERVINGS), 0),
    ],
    ids=["no limit", "short TTFT", "long inputs", "a spare", "either"],
)
def test_one_pool_is_as_good_as_trying_all(asked: Tier, spares: int) -> None:
    problem = problem_of(asked, sku="b200", spares=spares)
    points = fleet_points(problem)
    found = [np.inf]
    for option in points.pools:
        pool = option.pool([0])
        sizes = points.of[0, pool.way].sizes
        for counts in product(range(5), repeat=len(sizes)):
            for workers in range(1, 2 if pool.is_own else 4):
                decode = dict(zip(sizes, counts, strict=True))
                gpus = np.dot(counts, list(sizes)) + workers * pool.kind.gpus
                if 0 < gpus < min(found) and sum(counts):
                    served = serve_with_spares(points, 0, pool, workers, decode)
                    found += [gpus] if served else []
    assert weight(problem) == min(found)


@settings(max_examples=12, deadline=None)
@given(
    target=st.floats(30.0, 140.0),
    rate=st.floats(1.0, 60.0),
    max_ttft=st.none() | st.floats(0.2, 2.0),
    counts=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    scenario=st.sampled_from([SCENARIO, LONG]),
)
def test_program_promises_no_less_than_one_pool_serves(
    target: float,
    rate: float,
    max_ttft: float | None,
    counts: tuple[int, int],
    scenario: Scenario,
) -> None:
    asked = tier(target, rate, max_ttft, scenario, ONE_POOL)
    points = fleet_points(problem_of(asked, sku="b200"))
    sizes = points.of[0, 0].sizes if (0, 0) in points.of else {}
    decode = {size: n for size, n in zip(sizes, counts, strict=False) if n}
    for option in points.pools:
        pool = option.pool([0])
        if decode and serve_with_spares(points, 0, pool, 1, decode):
            promised = sum(sizes[size] * n for size, n in decode.items())
            assert promised >= points.steady_rate(0, 0) * (1.0 - 1e-6)


@settings(max_examples=6, deadline=None)
@given(
    target=st.floats(30.0, 120.0),
    rate=st.floats(5.0, 100.0),
    more=st.floats(1.0, 2.0),
    max_ttft=st.floats(0.6, 3.0),
)
def test_asking_for_less_never_costs_more(
    target: float, rate: float, more: float, max_ttft: float
) -> None:
    asked = tier(target, rate, max_ttft)
    other = replace(tier(50.0, 20.0), name="other")  # whatever target is drawn
    least = weight(problem_of(asked, other))
    assert weight(problem_of(replace(asked, target=target / more), other)) <= least
    assert weight(problem_of(replace(asked, rate=rate / more), other)) <= least
    assert weight(problem_of(replace(asked, max_ttft=max_ttft * more), other)) <= least
    assert weight(problem_of(asked)) <= least


@settings(max_examples=12, deadline=None)
@given(
    target=st.floats(30.0, 140.0),
    rate=st.floats(2.0, 100.0),
    max_ttft=st.none() | st.floats(0.4, 3.0),
    counts=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    workers=st.integers(1, 4),
)
def test_program_promises_no_less_than_is_served(
    target: float,
    rate: float,
    max_ttft: float | None,
    counts: tuple[int, int],
    workers: int,
) -> None:
    points = fleet_points(problem_of(tier(target, rate, max_ttft)))
    sizes = points.of[0, 0].sizes if (0, 0) in points.of else {}
    decode = {size: n for size, n in zip(sizes, counts, strict=False) if n}
    for option in points.pools:
        pool = option.pool([0])
        if decode and serve_with_spares(points, 0, pool, workers, decode):
            assert sum(sizes[s] * n for s, n in decode.items()) >= points.steady_rate(0, 0) * (
                1.0 - 1e-6
            )
            assert workers >= option.needs[0].fewest
            assert workers >= option.needs[0].load * (1.0 - 1e-6)


def test_operating_points_are_the_largest_batches_that_meet_the_target() -> None:
    problem = Problem(SCENARIO, default_cluster("gb200", 72), Limits(75.0), CALIBRATION, SMALL)
    points, known = decode_points(problem), decode_workers(problem)
    places = np.array([known.shapes.index(shape) for shape in points.shapes])
    assert np.all(np.diff(points.request_rate) <= 0.0)
    at = rate_at(known, problem, places, points.requests)
    assert np.all(at.tpot * 75.0 <= 1.0 + 1e-8)
    assert np.allclose(points.request_rate, at.request_rate, rtol=1e-12)
    more = rate_at(known, problem, places, points.requests * 1.001)
    full = points.requests >= points.most_slots * (1.0 - 1e-9)
    assert np.all((more.tpot * 75.0 > 1.0) | full)


def test_no_run_yields_more_than_an_operating_point_promises() -> None:
    problem = Problem(SCENARIO, default_cluster("gb200", 144), Limits(75.0), CALIBRATION, SMALL)
    points = decode_points(problem)
    share = 1.0 - 1.0 / (2.0 * problem.constants.rounds)
    tokens = request_tokens(SCENARIO)
    for size in SMALL.decode_gpus:
        place = int(points.of_size(size)[0])
        shape, slots = points.shapes[place], int(points.requests[place])
        ranks = size if shape.attention == "dp" else 1
        crowd = Configuration(
            prefill_workers=16,
            prefill_gpus_per_worker=4,
            decode_workers=2,
            **decode_fields(shape, "mtp"),
            max_batch=slots,
            concurrency=6 * ranks * slots,
            frontends=1,
        )
        (run,) = predict([crowd], SCENARIO, problem.cluster, CALIBRATION)
        rate = run.prediction.total_tok_s_per_gpu * crowd.gpus / tokens / 2
        assert 0.98 * points.request_rate[place] * share < rate
        assert rate <= points.request_rate[place] * share * (1.0 + 1e-9)


@given(scale=st.floats(0.1, 20.0), max_ttft=st.floats(0.3, 5.0))
@settings(max_examples=20, deadline=None)
def test_fewest_prefill_workers_are_just_enough(scale: float, max_ttft: float) -> None:
    points = fleet_points(problem_of(tier(50.0, 30.0), tier(75.0, 5.0, 3.0, LONG)))
    feed = points.feed(points.pools[0].pool([0, 1]))
    asked = feed._replace(rate=feed.rate * scale, max_ttft=np.array([max_ttft, np.inf]))
    constants = points.of[0, 0].problem.constants
    (count,) = fewest_workers(asked, constants).tolist()
    if count:
        assert meets(asked, np.array([float(count)]), constants).all()
    if count > 1:
        assert not meets(asked, np.array([count - 1.0]), constants).any()
