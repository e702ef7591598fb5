import math
from dataclasses import replace

import pytest

from costmodel.calibration import Calibration
from costmodel.results import Scenario
from costmodel.serving import MOST_LOAD
from optimizer import Limits, Space, best, explain_infeasibility
from presets import default_cluster


@pytest.mark.parametrize("sku", ["gb200", "b200"])
def test_a_target_out_of_reach_names_the_step_and_its_largest_part(
    sku: str, scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    cluster = default_cluster(sku, 72)
    answer = best(scenario, cluster, Limits(1000.0), calibration, small_space)
    found = answer.infeasibility
    assert answer.status == "infeasible"
    assert (answer.configuration, answer.prediction) == (None, None)
    assert answer.breakdown_ms == {}
    assert answer.search.status == "INFEASIBLE"
    assert found is not None
    assert found.limit == "target"
    assert found.reachable == pytest.approx(1e3 * found.tokens_per_step / found.step_ms)
    assert found.largest_part_ms < found.step_ms
    assert answer.reason.startswith("1000 tok/s/user is out of reach: the fastest step")
    assert f"{found.largest_part_ms:.1f} ms" in answer.reason

    nearest = math.floor(10 * found.reachable) / 10
    assert best(scenario, cluster, Limits(nearest), calibration, small_space).status == "optimal"
    beyond = Limits(found.reachable * 1.001)
    assert best(scenario, cluster, beyond, calibration, small_space).status == "infeasible"


def test_a_ttft_out_of_reach_names_the_shortest(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    cluster = default_cluster("gb200", 72)
    answer = best(scenario, cluster, Limits(50.0, max_ttft=0.001), calibration, small_space)
    found = answer.infeasibility
    assert found is not None
    assert found.limit == "max_ttft"
    assert found.highest_target is None
    assert answer.reason.startswith("TTFT 0.001 s is out of reach at 50 tok/s/user")
    assert answer.reason.endswith("no target can be met within a TTFT of 0.001 s")
    works = Limits(50.0, max_ttft=found.reachable * (1 + 1e-9))
    assert best(scenario, cluster, works, calibration, small_space).status == "optimal"


def test_a_ttft_that_only_slower_targets_meet(scenario: Scenario, calibration: Calibration) -> None:
    """One prefill worker, with decode workers too many for it to keep the wait short."""
    space = Space(
        prefill_workers=(1,),
        prefill_gpus=(4,),
        decode_workers=(2,),
        decode_gpus=(8,),
        mtp_depths=(0,),
        largest_batch=64,
        batch_ratio=2.0,
    )
    cluster = default_cluster("gb200", 72)
    free = best(scenario, cluster, Limits(10_000.0), calibration, space).infeasibility
    assert free is not None
    assert free.highest_target == free.reachable
    limited = Limits(10_000.0, max_ttft=30.0)
    found = best(scenario, cluster, limited, calibration, space).infeasibility
    assert found is not None
    shortened = replace(found, highest_target=found.reachable / 2)
    assert "the highest target within a TTFT of 30 s" in explain_infeasibility(shortened)


def test_prefill_that_cannot_keep_one_slot_full_throttles_its_users(
    scenario: Scenario, calibration: Calibration
) -> None:
    space = Space(prefill_workers=(1,), prefill_gpus=(4,), decode_workers=(16,), decode_gpus=(4,))
    long = scenario.model_copy(update={"isl": 100_000, "osl": 2})
    answer = best(long, default_cluster("gb200", 72), Limits(1.0), calibration, space)
    assert answer.predicted is not None
    assert answer.predicted.batch_in_flight < 1.0
    assert answer.predicted.prefill_load == pytest.approx(MOST_LOAD)
