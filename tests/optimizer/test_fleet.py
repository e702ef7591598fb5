"""Plans of fleets: as good as trying all, monotone, and checked by a second opinion."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.calibration_file import load_calibration
from costmodel.predictions import predict
from costmodel.results import Configuration, Scenario
from optimizer import Limits, Problem, Space
from optimizer.audit import audit
from optimizer.check import serve_with_spares
from optimizer.decode_points import decode_points, rate_at
from optimizer.decode_workers import decode_workers
from optimizer.fleet import FleetProblem, Tier
from optimizer.fleet_points import FleetPoints, fleet_points
from optimizer.fleet_rounds import Plan
from optimizer.fleet_search import FleetAnswer, plan_fleet
from optimizer.prefill_points import fewest_workers, meets
from optimizer.space import decode_fields
from optimizer.value import request_tokens
from presets import InputError, default_cluster, load_model
from presets.pools import SERVINGS, Serving

SCENARIO = Scenario(model=load_model("deepseek-r1-0528"))
LONG = SCENARIO.model_copy(update={"isl": 8192})
CALIBRATION = load_calibration()
SMALL = Space(prefill_gpus=(4,), prefill_attention=("dp",), decode_gpus=(8, 16), mtp_depths=(1,))


def tier(
    target: float,
    rate: float,
    max_ttft: float | None = None,
    scenario: Scenario = SCENARIO,
    servings: tuple[Serving, ...] = ("disaggregated",),
) -> Tier:
    return Tier(f"{target:g}", (scenario,), target, rate, max_ttft, servings)


def problem_of(*tiers: Tier, gpus: int = 144, spares: int = 0, sku: str = "gb200") -> FleetProblem:
    machines = (default_cluster(sku, gpus),)
    return FleetProblem(tiers, machines, CALIBRATION, "gpus", SMALL, spares)


def planned(problem: FleetProblem) -> FleetAnswer:
    answer = plan_fleet(problem)
    assert answer.status == "OPTIMAL"
    assert answer.gap == 0.0
    return answer


def weight(problem: FleetProblem) -> int:
    plan = planned(problem).plan
    assert plan is not None
    return plan.weight


def least_by_trying(points: FleetPoints, most: int) -> float:
    """Fewest GPUs of all plans with up to some workers of each kind, each evaluated exactly."""
    tiers = range(len(points.problem.tiers))
    sizes = [list(points.of[number, 0].sizes) for number in tiers]

    @cache
    def served(number: int, pool: int, workers: int, counts: tuple[int, ...]) -> bool:
        decode = dict(zip(sizes[number], counts, strict=True))
        return bool(
            sum(counts) and serve_with_spares(points, number, points.pools[pool], workers, decode)
        )

    @cache
    def least_decode(number: int, pool: int, workers: int) -> float:
        every = product(*(range(most + 1) for _ in sizes[number]))
        ranked = sorted((np.dot(counts, sizes[number]), counts) for counts in every)
        return next(
            (float(gpus) for gpus, counts in ranked if served(number, pool, workers, counts)),
            np.inf,
        )

    def least_of(pool: int) -> float:
        members, kind = points.pools[pool].tiers, points.pools[pool].kind
        return min(
            workers * kind.gpus + sum(least_decode(number, pool, workers) for number in members)
            for workers in range(1, most + 1)
        )

    of_pool = {pool: least_of(pool) for pool in range(len(points.pools))}
    alone = sum(
        min(of_pool[p] for p in of_pool if points.pools[p].tiers == (number,)) for number in tiers
    )
    together = min(of_pool[p] for p in of_pool if points.pools[p].tiers == tuple(tiers))
    return min(alone, together)


@pytest.mark.many_cases
@pytest.mark.parametrize(
    "tiers",
    [
        (tier(40.0, 90.0, 1.0),),
        (tier(60.0, 70.0, 0.5), tier(110.0, 20.0, 0.6)),
        (tier(50.0, 60.0), tier(75.0, 12.0, 2.0, LONG)),
    ],
    ids=["one tier", "two tiers", "two lengths"],
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
    for pool in points.pools:
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
    for pool in points.pools:
        if decode and serve_with_spares(points, 0, pool, 1, decode):
            promised = sum(sizes[size] * n for size, n in decode.items())
            assert promised >= points.steady_rate(0, 0) * (1.0 - 1e-6)


def test_one_pool_is_as_predicted_and_named_where_out_of_reach() -> None:
    problem = problem_of(tier(75.0, 12.0, 0.5, servings=ONE_POOL), sku="b200")
    plan = planned(problem).plan
    assert plan is not None
    assert {each.role for each in plan.workers} == {"both"}
    for each in plan.served[0]:
        assert each.configuration.is_aggregated
        (alone,) = predict([each.configuration], SCENARIO, problem.machines[0], CALIBRATION)
        assert alone.prediction.tpot_ms == pytest.approx(each.prediction.tpot_ms, rel=1e-9)
        assert alone.prediction.ttft_ms == pytest.approx(each.prediction.ttft_ms, rel=1e-9)
        assert alone.prefill_load == pytest.approx(each.prefill_load, rel=1e-9)
    other = plan_fleet(problem_of(tier(75.0, 12.0, 0.001, servings=ONE_POOL)))
    assert other.reason is not None
    assert "in one pool no worker reaches 75 tok/s/user and max_ttft 0.001 s" in other.reason


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
    for pool in points.pools:
        if decode and serve_with_spares(points, 0, pool, workers, decode):
            assert sum(sizes[s] * n for s, n in decode.items()) >= points.steady_rate(0, 0) * (
                1.0 - 1e-6
            )
            assert workers >= pool.fewest


def test_a_shared_pool_takes_less_than_one_for_each_tier() -> None:
    tiers = tier(50.0, 30.0, 2.0), tier(100.0, 10.0, 2.0)
    together = weight(problem_of(*tiers))
    assert together < sum(weight(problem_of(each)) for each in tiers)


def test_a_tier_with_a_pool_of_its_own_is_as_predicted() -> None:
    problem = problem_of(tier(60.0, 50.0, 1.0))
    plan = planned(problem).plan
    assert plan is not None
    for each in plan.served[0]:
        asked = problem.problem(0, 0)
        (alone,) = predict([each.configuration], asked.scenario, asked.cluster, CALIBRATION)
        if len(plan.served[0]) == 1:
            assert alone.prediction.ttft_ms == pytest.approx(each.prediction.ttft_ms, rel=1e-6)
            assert alone.prediction.tpot_ms == pytest.approx(each.prediction.tpot_ms, rel=1e-6)
            per_user = alone.prediction.total_tok_s_per_gpu / each.prediction.total_tok_s_per_gpu
            assert per_user >= 1.0 - 1e-6


def test_spares_serve_the_demand_while_a_worker_is_away() -> None:
    asked = tier(60.0, 50.0, 2.0)
    plan = planned(problem_of(asked, spares=1)).plan
    assert plan is not None
    assert plan.weight > weight(problem_of(asked))
    assert min([*plan.counts.decode.values(), *plan.counts.prefill.values()]) >= 2


def test_a_fleet_that_finds_no_room_says_so() -> None:
    answer = plan_fleet(problem_of(tier(60.0, 500.0), gpus=36))
    assert answer.plan is None
    assert answer.status == "INFEASIBLE"
    assert answer.reason is not None
    found = re.fullmatch(
        r"no plan serves all tiers within the 36 GPUs of the machines; "
        r"gpus would have to be (\d+) GPUs",
        answer.reason,
    )
    assert found, answer.reason
    assert weight(problem_of(tier(60.0, 500.0), gpus=720)) == int(found[1])


def test_limits_that_conflict_are_named_with_what_would_do() -> None:
    asked = replace(problem_of(tier(60.0, 50.0)), objective="cost")
    least = planned(asked).plan
    assert least is not None
    dollars = least.weight * asked.unit
    short = plan_fleet(replace(asked, budget=0.9 * dollars, max_power=1e6))
    assert short.plan is None
    assert short.reason == (
        f"no plan serves all tiers within budget {0.9 * dollars:,.2f} USD/h; budget would have to "
        f"be {dollars:,.2f} USD/h"
    )
    assert planned(replace(asked, budget=dollars + 0.01)).plan is not None
    dark = plan_fleet(replace(asked, max_power=1e3))
    assert dark.reason is not None
    assert dark.reason.startswith("no plan serves all tiers within max_power 1,000 W; max_power")


def test_racks_are_kept_or_named_with_what_would_do() -> None:
    asked = problem_of(tier(60.0, 700.0), gpus=288)
    free = planned(asked).plan
    assert free is not None
    racks = {domain for each in free.workers for domain in each.placement.domains}
    assert len(racks) > 1
    assert planned(replace(asked, max_racks=len(racks))).plan is not None
    crowded = replace(asked, max_racks=1)
    assert any("racks, at most 1" in fault for fault in audit(crowded, free))
    short = plan_fleet(crowded)
    assert short.plan is None
    assert short.reason is not None
    assert short.reason.startswith(
        "no plan serves all tiers within max_racks 1 racks; max_racks would do at "
    )


def test_a_tier_out_of_reach_is_named() -> None:
    answer = plan_fleet(problem_of(tier(50.0, 1.0), tier(5000.0, 1.0)))
    assert answer.plan is None
    assert answer.reason is not None
    assert answer.reason.startswith("tier '5000' cannot be served: on gb200 no decode worker")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tiers": ()}, "tiers: none is given"),
        ({"tiers": (tier(50.0, 1.0), tier(50.0, 2.0))}, "'50' stands twice"),
        ({"machines": ()}, "machines: none is given"),
        ({"spares": -1}, "spares -1 is not valid"),
    ],
)
def test_what_is_no_problem_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(problem_of(tier(50.0, 1.0)), **change)  # type: ignore[arg-type]


def plan_of_two() -> tuple[FleetProblem, Plan]:
    problem = problem_of(tier(50.0, 30.0, 2.0), tier(100.0, 10.0, 2.0))
    plan = planned(problem).plan
    assert plan is not None
    return problem, plan


def test_second_opinion_finds_what_is_wrong() -> None:
    problem, plan = plan_of_two()
    assert audit(problem, plan) == []
    first, second, *others = plan.workers
    moved = second._replace(placement=first.placement)
    doubled = replace(plan, workers=(first, moved, *others))
    assert any("is given 2 times" in fault for fault in audit(problem, doubled))
    missing = replace(plan, workers=plan.workers[:-1])
    assert any("are placed for" in fault for fault in audit(problem, missing))
    gpus = (70, 71, 72, 73, *range(100, 96 + len(first.placement.gpus)))
    across = first._replace(placement=first.placement._replace(gpus=gpus))
    astray = replace(plan, workers=(across, second, *others))
    assert any("stands in 2 NVLink domains" in fault for fault in audit(problem, astray))
    beyond = first._replace(placement=first.placement._replace(gpus=(*gpus[:-1], 144)))
    absent = replace(plan, workers=(beyond, second, *others))
    assert any("has GPU 144" in fault for fault in audit(problem, absent))


def test_second_opinion_asks_for_more_than_was_planned() -> None:
    problem, plan = plan_of_two()
    first, second = problem.tiers
    for change, words in (
        ({"rate": 40.0}, "requests/s are served"),
        ({"target": 200.0}, "tok/s/user of 200"),
        ({"max_ttft": 0.01}, "TTFT is"),
    ):
        harder = replace(problem, tiers=(replace(first, **change), second))  # type: ignore[arg-type]
        assert any(words in fault for fault in audit(harder, plan)), words
    one_pool = replace(problem, tiers=(replace(first, servings=SERVINGS[1:]), second))
    assert any("it is served disaggregated" in fault for fault in audit(one_pool, plan))
    spared = replace(problem, spares=50)
    assert any("no worker of a kind is left" in fault for fault in audit(spared, plan))


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
    pool = next(each for each in points.pools if each.tiers == (0, 1))
    feed = points.feed(pool)
    asked = feed._replace(rate=feed.rate * scale, max_ttft=np.array([max_ttft, np.inf]))
    constants = points.of[0, 0].problem.constants
    (count,) = fewest_workers(asked, constants).tolist()
    if count:
        assert meets(asked, np.array([float(count)]), constants).all()
    if count > 1:
        assert not meets(asked, np.array([count - 1.0]), constants).any()


def test_an_interrupted_search_gives_the_best_so_far_with_its_gap() -> None:
    """The solver stops in its second round, as at Ctrl-C."""
    problem = problem_of(tier(60.0, 70.0, 0.5), tier(110.0, 20.0, 0.6))
    whole = planned(problem)
    assert whole.rounds > 1
    rounds: list[int] = []

    def interrupt() -> None:
        rounds.append(1)
        if len(rounds) == 2:
            raise KeyboardInterrupt

    answer = plan_fleet(problem, progress=interrupt)
    assert answer.status == "FEASIBLE"
    assert answer.plan is not None
    assert whole.plan is not None
    assert answer.plan.weight >= whole.plan.weight
    assert answer.gap is not None
    assert 0.0 <= answer.gap < 1.0
    assert audit(problem, answer.plan) == []


HARD = """
import os, random, signal, threading, time
from optimizer.program import Program
random.seed(1)
program = Program()
places = [program.variable(str(number), 0, 1) for number in range(200)]
for _ in range(100):
    row = {place: random.randint(1, 100) for place in places}
    program.row("sum", row, most=1000)
program.minimise({place: -random.randint(1, 100) for place in places})
started = time.perf_counter()
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGINT)).start()
solved = program.solve(300.0)
print(solved.was_stopped, solved.values is not None, time.perf_counter() - started < 60.0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise")
def test_control_c_stops_the_solver_and_keeps_what_it_found() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HARD],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == ["True", "True", "True"]
    assert done.stderr == ""
