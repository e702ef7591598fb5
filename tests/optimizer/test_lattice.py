import numpy as np
import pytest

from costmodel.calibration import Calibration
from costmodel.predictions import predict
from costmodel.results import Scenario
from costmodel.serving import MOST_LOAD
from optimizer import Limits, Problem, Space
from optimizer.entries import joined
from optimizer.evaluation import evaluate
from optimizer.lattice import configuration_of
from presets import InputError, default_cluster
from topology import group_table


@pytest.mark.parametrize("sku", ["gb200", "b200"])
def test_lattice_and_prediction_agree(
    sku: str, scenario: Scenario, calibration: Calibration
) -> None:
    cluster = default_cluster(sku, 72)
    lattice = evaluate(Problem(scenario, cluster, Limits(1.0), calibration, Space(batch_ratio=1.1)))
    full = lattice.front.take(np.arange(0, len(lattice.front), 97))
    throttled = lattice.throttled.take(np.arange(0, len(lattice.throttled), 23))
    assert len(full) > 20 < len(throttled)
    front = joined([full, throttled])
    configurations = [
        configuration_of(lattice, state, column, int(users))
        for state, column, users in zip(
            front.state.tolist(), front.column.tolist(), front.users.tolist(), strict=True
        )
    ]
    predicted = predict(configurations, scenario, cluster, calibration)
    throughput = [
        each.prediction.total_tok_s_per_gpu * each.configuration.gpus for each in predicted
    ]
    speed = [each.prediction.tok_s_per_user for each in predicted]
    assert throughput == pytest.approx(front.throughput.tolist(), rel=1e-6)
    assert speed == pytest.approx(front.speed.tolist(), rel=1e-6)
    assert [each.configuration.gpus for each in predicted] == front.gpus.tolist()
    loads = np.array([each.prefill_load for each in predicted])
    assert loads[: len(full)].max() <= MOST_LOAD
    assert loads[len(full) :].max() <= MOST_LOAD
    assert loads[len(full) :] == pytest.approx(MOST_LOAD)
    # Fewer in flight than slots: faster than with all slots full.
    assert np.all(throttled.speed >= lattice.states.tok_s_per_user[throttled.state])


def test_every_wide_b200_worker_is_there_and_crosses_the_nic(
    scenario: Scenario, calibration: Calibration
) -> None:
    cluster = default_cluster("b200", 72)
    lattice = evaluate(Problem(scenario, cluster, Limits(1.0), calibration, Space(batch_ratio=1.2)))
    kinds = {(shape.gpus, shape.attention) for shape in lattice.states.shapes}
    assert {(gpus, mode) for gpus in (16, 32, 64) for mode in ("tp", "dp")} <= kinds
    for gpus, path in group_table(cluster, (16, 32, 64)).items():
        assert path.bottleneck == "nic"
        assert path.domains == gpus // 8
        assert len(lattice.columns[gpus]) > 0
        assert lattice.feasible[lattice.states.workers.gpus == gpus].sum() > 0


def test_a_slower_cut_changes_nothing_among_the_fast(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    cluster = default_cluster("gb200", 72)
    problem = Problem(scenario, cluster, Limits(1.0), calibration, small_space)
    whole, fast = evaluate(problem), evaluate(problem, slowest=100.0)
    assert whole.candidates == fast.candidates
    assert fast.evaluated < whole.evaluated
    kept = whole.front.take(whole.states.tok_s_per_user[whole.front.state] >= 100.0)
    assert kept.state.tolist() == fast.front.state.tolist()
    assert kept.column.tolist() == fast.front.column.tolist()


def test_a_ttft_limit_is_kept(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    cluster = default_cluster("gb200", 72)
    problem = Problem(scenario, cluster, Limits(1.0, max_ttft=1e6), calibration, small_space)
    free, tight = evaluate(problem), evaluate(problem.within(Limits(1.0, max_ttft=0.5)))
    assert 0 < tight.feasible.sum() < free.feasible.sum()
    configurations = [
        configuration_of(tight, int(state), int(column), int(users))
        for each in (tight.front, tight.throttled)
        for state, column, users in zip(each.state, each.column, each.users, strict=True)
    ]
    predicted = predict(configurations, scenario, cluster, calibration)
    assert max(each.prediction.ttft_ms for each in predicted) <= 500.0 * (1 + 1e-6)


def test_a_budget_too_small_for_any_deployment(
    scenario: Scenario, calibration: Calibration
) -> None:
    cluster = default_cluster("gb200", 72)
    with pytest.raises(InputError, match=r"max_gpus 7 is too few .* takes 8"):
        evaluate(Problem(scenario, cluster, Limits(1.0, 7), calibration))
    few = default_cluster("gb200", 4)
    with pytest.raises(InputError, match=r"^gpus 4 is too few on gb200; .* takes 8"):
        evaluate(Problem(scenario, few, Limits(1.0), calibration, Space()))


def test_72_gpus_decode_only_beside_a_second_rack(
    scenario: Scenario, calibration: Calibration
) -> None:
    space = Space(decode_gpus=(72,), batch_ratio=1.5)
    racks = default_cluster("gb200", 144)
    lattice = evaluate(Problem(scenario, racks, Limits(1.0, 144), calibration, space))
    assert lattice.feasible.sum() > 0
    assert {shape.eplb_slots for shape in lattice.states.shapes} == {288}
    with pytest.raises(InputError, match="max_gpus 72"):
        evaluate(Problem(scenario, racks, Limits(1.0), calibration, space))
