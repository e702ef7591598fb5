import math
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from costmodel.calibration import Calibration
from costmodel.results import Scenario
from costmodel.serving import MOST_LOAD
from moeplan.answers.reasons import explain_infeasibility
from optimizer import Infeasibility, Limits, Objective, Problem, Space, best
from optimizer.answer import rounded
from presets import default_cluster
from tests.samples import reason_of

pytestmark = pytest.mark.many_cases


@pytest.mark.parametrize("sku", ["gb200", "b200"])
def test_a_target_out_of_reach_names_the_step_and_its_largest_part(
    sku: str, scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    cluster = default_cluster(sku, 72)
    answer = best(Problem(scenario, cluster, Limits(1000.0), calibration, small_space))
    found = answer.infeasibility
    assert answer.status == "infeasible"
    assert (answer.configuration, answer.prediction) == (None, None)
    assert answer.breakdown_ms == {}
    assert answer.search.status == "INFEASIBLE"
    assert found is not None
    assert [each.limit for each in found.conflicts] == ["target"]
    reachable = found.highest_target
    assert reachable is not None
    assert found.conflicts[0].needed == reachable
    assert reachable == pytest.approx(1e3 * found.tokens_per_step / found.step_ms)
    assert found.largest_part_ms < found.step_ms
    assert reason_of(answer).startswith("1000 tok/s/user is out of reach: the fastest step")
    assert f"{found.largest_part_ms:.1f} ms" in reason_of(answer)

    nearest = math.floor(10 * reachable) / 10
    assert (
        best(Problem(scenario, cluster, Limits(nearest), calibration, small_space)).status
        == "optimal"
    )
    beyond = Limits(reachable * 1.001)
    assert best(Problem(scenario, cluster, beyond, calibration, small_space)).status == "infeasible"


def test_a_ttft_out_of_reach_names_the_shortest(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    cluster = default_cluster("gb200", 72)
    answer = best(
        Problem(scenario, cluster, Limits(50.0, max_ttft=0.001), calibration, small_space)
    )
    found = answer.infeasibility
    assert found is not None
    (conflict,) = found.conflicts
    assert (conflict.limit, conflict.asked) == ("max_ttft", 0.001)
    assert conflict.needed is not None
    assert found.highest_target is None
    assert reason_of(answer).startswith(
        "TTFT 0.001 s is out of reach: the TTFT would have to be 0.18"
    )
    assert reason_of(answer).endswith("no target works with the other limits")
    works = Limits(50.0, max_ttft=conflict.needed * (1 + 1e-9))
    assert best(Problem(scenario, cluster, works, calibration, small_space)).status == "optimal"
    never = Limits(50.0, max_ttft=conflict.needed * 0.999)
    assert best(Problem(scenario, cluster, never, calibration, small_space)).status == "infeasible"


ONE_WORKER = Space(
    prefill_workers=(1,),
    prefill_gpus=(4,),
    decode_workers=(2,),
    decode_gpus=(8,),
    mtp_depths=(0,),
    largest_batch=64,
    batch_ratio=2.0,
)
"""One prefill worker, with decode workers too many for it to keep the wait short."""

STRAINED = Limits(60.0, max_ttft=0.6, concurrency=700)


def test_each_limit_of_the_smallest_set_has_a_way_out(
    scenario: Scenario, calibration: Calibration
) -> None:
    """No limit alone is the trouble; each, set to what it would have to be, makes the rest work."""
    cluster = default_cluster("gb200", 72)
    answer = best(Problem(scenario, cluster, STRAINED, calibration, ONE_WORKER))
    found = answer.infeasibility
    assert found is not None
    ways = {each.limit: each.needed for each in found.conflicts}
    assert len(ways) > 1
    assert "cannot be met together" in reason_of(answer)
    free: dict[str, Any] = {"max_ttft": None, "concurrency": None, "target": 1.0}
    for name, needed in ways.items():
        assert needed is not None
        alone = free | {name: getattr(STRAINED, name)}
        others = free | {other: getattr(STRAINED, other) for other in ways}
        eased = {
            "target": needed * (1 - 1e-9),
            "max_ttft": needed * (1 + 1e-9),
            "concurrency": int(needed),
        }
        for limits in (alone, others | {name: eased[name]}):
            asked = replace(STRAINED, **limits)
            assert best(Problem(scenario, cluster, asked, calibration, ONE_WORKER)).predicted


def test_the_nearest_target_is_named(scenario: Scenario, calibration: Calibration) -> None:
    cluster = default_cluster("gb200", 72)
    limits = Limits(10_000.0, max_ttft=30.0, concurrency=100)
    found = best(Problem(scenario, cluster, limits, calibration, ONE_WORKER)).infeasibility
    assert found is not None
    assert found.highest_target is not None
    assert found.conflicts[0].limit == "target"
    nearest = replace(limits, target=found.highest_target * (1 - 1e-9))
    assert best(Problem(scenario, cluster, nearest, calibration, ONE_WORKER)).predicted
    assert explain_infeasibility(found).endswith(
        f"the nearest target that works is {math.floor(10 * found.highest_target) / 10} tok/s/user"
    )


def test_where_no_limit_alone_would_do_the_rest_is_explained_without_one(
    scenario: Scenario, calibration: Calibration
) -> None:
    """Two conflicts at once: mending one leaves the other."""
    cluster = default_cluster("gb200", 72)
    limits = Limits(10_000.0, max_ttft=0.001)
    found = best(Problem(scenario, cluster, limits, calibration, ONE_WORKER)).infeasibility
    assert found is not None
    assert found.highest_target is None
    first, second = found.conflicts
    assert (first.limit, first.needed, first.without) == ("target", None, ())
    assert (second.limit, second.without) == ("max_ttft", ("target",))
    assert second.needed is not None
    said = explain_infeasibility(found)
    assert "; no target works with the other limits; at any target, TTFT 0.001 s is out" in said
    eased = Limits(0.1, max_ttft=rounded("max_ttft", second.needed))
    assert best(Problem(scenario, cluster, eased, calibration, ONE_WORKER)).predicted


def test_every_remedy_works(scenario: Scenario, calibration: Calibration) -> None:
    """As printed, with all else kept as asked; and no target much above the nearest one works."""
    rng, tried = random.Random(7), Counter[str]()
    space = replace(ONE_WORKER, prefill_workers=(1, 2, 4), decode_workers=(1, 2), mtp_depths=(0, 2))
    while tried.total() < 24:
        asked = Limits(
            round(math.exp(rng.uniform(3.0, 6.0)), 1),
            max_gpus=rng.choice((16, 24, 72)),
            max_ttft=rng.choice((None, round(math.exp(rng.uniform(-2.0, 1.0)), 3))),
            concurrency=rng.choice((None, rng.randint(4, 4000))),
        )
        rate = rng.choice((None, round(math.exp(rng.uniform(1.0, 5.5)), 1)))

        def found(limits: Limits, rate: float | None, racks: int = 72) -> Infeasibility | None:
            goal = Objective() if rate is None else Objective("gpus", rate=rate)
            cluster = default_cluster("gb200", racks)
            return best(
                Problem(scenario, cluster, limits, calibration, space, objective=goal)
            ).infeasibility

        if (failed := found(asked, rate)) is None:
            continue
        said = explain_infeasibility(failed)
        ways = {each.limit: each.needed for each in failed.conflicts if not each.without}
        for name, needed in (ways | {"target": failed.highest_target}).items():
            if needed is None:
                continue
            value = rounded(name, needed)
            assert f"{value:g}" in said or f"{value:.1f}" in said
            tried[name] += 1
            if name == "rate":
                assert found(asked, value) is None
            elif name == "max_gpus":
                gpus = int(value)
                assert found(replace(asked, max_gpus=gpus), rate, max(72, gpus)) is None
            else:
                eased: dict[str, Any] = {name: type(getattr(asked, name))(value)}
                assert found(replace(asked, **eased), rate) is None
            if name == "target":
                assert found(replace(asked, target=1.01 * value), rate) is not None
    assert set(tried) == {"target", "max_ttft", "concurrency", "rate", "max_gpus"}


def test_a_rate_beyond_all_gpus(scenario: Scenario, calibration: Calibration) -> None:
    cluster = default_cluster("gb200", 72)
    goal = Objective("gpus", rate=3000.0)
    limits = Limits(50.0, 64)
    answer = best(Problem(scenario, cluster, limits, calibration, ONE_WORKER, objective=goal))
    assert answer.infeasibility is not None
    rate, budget = answer.infeasibility.conflicts
    assert (rate.limit, rate.asked) == ("rate", 3000.0)
    assert (budget.limit, budget.asked) == ("max_gpus", 64.0)
    assert rate.needed is not None
    assert budget.needed is not None
    assert reason_of(answer).startswith(
        "3000 requests/s and a budget of 64 GPUs cannot be met together: with all other limits "
        "kept the rate would have to be "
    )
    assert f"; or the budget would have to be {budget.needed:.0f} GPUs" in reason_of(answer)

    def found(rate: float, gpus: int) -> bool:
        racks = default_cluster("gb200", max(72, gpus))
        asked, wanted = replace(limits, max_gpus=gpus), Objective("gpus", rate=rate)
        return (
            best(
                Problem(scenario, racks, asked, calibration, ONE_WORKER, objective=wanted)
            ).predicted
            is not None
        )

    assert found(rate.needed, 64)
    assert not found(rate.needed * 1.001, 64)
    assert found(3000.0, int(budget.needed))
    assert not found(3000.0, int(budget.needed) - 1)


def test_a_rate_beyond_the_cluster_names_its_gpus(
    scenario: Scenario, calibration: Calibration
) -> None:
    prefill = default_cluster("b200", 16)
    answer = best(
        Problem(
            scenario,
            default_cluster("gb200", 40),
            Limits(50.0, 72),
            calibration,
            ONE_WORKER,
            objective=Objective("gpus", rate=1000.0),
            prefill_cluster=prefill,
        )
    )
    assert "1000 requests/s and the 56 GPUs of the cluster cannot be met" in reason_of(answer)
    vast = best(
        Problem(
            scenario,
            default_cluster("gb200", 72),
            Limits(50.0),
            calibration,
            ONE_WORKER,
            objective=Objective("gpus", rate=1e6),
        )
    )
    assert "the budget would have to be more than 131,072 GPUs" in reason_of(vast)


def test_a_rate_and_a_ttft(scenario: Scenario, calibration: Calibration) -> None:
    """What each limit would have to be works with all others kept."""
    cluster, goal = default_cluster("b200", 72), Objective("gpus", rate=110.0)
    space = Space(
        prefill_workers=(1, 2, 4), decode_workers=(1, 2, 4, 8), decode_gpus=(8,), batch_ratio=1.1
    )
    limits = Limits(100.0, max_ttft=0.3)
    found = best(
        Problem(scenario, cluster, limits, calibration, space, objective=goal)
    ).infeasibility
    assert found is not None
    needed = {each.limit: each.needed for each in found.conflicts}
    assert set(needed) == {"target", "max_ttft", "rate", "max_gpus"}
    target, ttft = needed["target"], needed["max_ttft"]
    assert target is not None
    assert ttft is not None
    for changed, works in (
        (replace(limits, target=target), True),
        (replace(limits, max_ttft=ttft), True),
        (replace(limits, max_ttft=ttft / 1.006), False),
    ):
        answer = best(Problem(scenario, cluster, changed, calibration, space, objective=goal))
        assert (answer.status == "optimal") is works


def test_prefill_that_cannot_keep_one_slot_full_throttles_its_users(
    scenario: Scenario, calibration: Calibration
) -> None:
    space = Space(prefill_workers=(1,), prefill_gpus=(4,), decode_workers=(16,), decode_gpus=(4,))
    long = scenario.model_copy(update={"isl": 100_000, "osl": 2})
    answer = best(Problem(long, default_cluster("gb200", 72), Limits(1.0), calibration, space))
    assert answer.predicted is not None
    assert answer.predicted.batch_in_flight < 1.0
    assert answer.predicted.prefill_load == pytest.approx(MOST_LOAD)
