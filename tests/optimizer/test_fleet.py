"""Plans of fleets: as good as trying all, monotone, and checked by a second opinion."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from costmodel.predictions import predict
from optimizer.audit import audit
from optimizer.fleet import FleetProblem
from optimizer.fleet_rounds import Plan
from optimizer.fleet_search import plan_fleet
from presets import InputError
from presets.pools import SERVINGS
from tests.optimizer.fleets import CALIBRATION, SCENARIO, planned, problem_of, tier, weight
from tests.optimizer.test_fleet_program import ONE_POOL


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
