import math
from itertools import product

import numpy as np
import pytest
from scipy.optimize import brentq

from costmodel.calibration import Calibration
from costmodel.deployments import deployments_of, network_of
from costmodel.inputs import FloatArray
from costmodel.predictions import predict
from costmodel.results import Case, Configuration, Predicted, Scenario
from costmodel.serving import MOST_LOAD, Network, steady_state
from optimizer import Goal, Limits, Space, allowed_shapes, best, curve
from optimizer.space import batch_grid
from presets import ClusterSpec, InputError, default_cluster

TARGETS = (20.0, 60.0, 90.0, 125.0, 180.0)


def enumerated(
    space: Space, scenario: Scenario, cluster: ClusterSpec, calibration: Calibration
) -> list[Predicted]:
    """Every deployment of a space, built one by one and predicted without the lattice."""
    drafts = [
        Configuration(
            prefill_workers=prefill,
            prefill_gpus_per_worker=size,
            decode_workers=decode,
            decode_gpus_per_worker=shape.gpus,
            decode_ep=shape.gpus,
            decode_attention=shape.attention,
            max_batch=int(batch),
            mtp_depth=shape.mtp_depth,
            eplb_slots=shape.eplb_slots,
            concurrency=1,
            frontends=1,
        )
        for shape, batch in product(allowed_shapes(space, scenario, cluster), batch_grid(space))
        for decode, prefill, size in product(
            space.decode_workers, space.prefill_workers, space.prefill_gpus
        )
        if decode * shape.gpus + prefill * size <= min(72, cluster.gpus)
    ]
    cases = [Case(each, scenario, cluster) for each in drafts]
    network = network_of(deployments_of(cases), calibration)
    slots = np.array([float(each.max_batch) for each in drafts])
    configurations, overloaded = [], set()
    for draft, case, n, load in zip(
        drafts, cases, *users_and_load(network, slots, slots), strict=True
    ):
        fleet = repr(draft.model_copy(update={"max_batch": 1}))
        if load > MOST_LOAD and fleet in overloaded:
            continue  # more slots, and still as many requests in flight
        users = n if load <= MOST_LOAD else users_that_prefill_feeds(case, calibration)
        if load > MOST_LOAD:
            overloaded.add(fleet)
        configurations.append(draft.model_copy(update={"concurrency": math.ceil(users)}))
    return predict(configurations, scenario, cluster, calibration)


def users_and_load(
    network: Network, batch: FloatArray, slots: FloatArray
) -> tuple[list[float], list[float]]:
    """Users that keep a batch in flight, and the load of prefill."""
    with np.errstate(invalid="ignore"):  # beyond a load of 1 the wait has no end
        steady = steady_state(network, batch, slots)
    return steady.users.tolist(), steady.prefill_load.tolist()


def users_that_prefill_feeds(case: Case, calibration: Calibration) -> float:
    """Users of one deployment with more slots than prefill keeps full."""
    network = network_of(deployments_of([case]), calibration)
    slots = np.array([float(case.configuration.max_batch)])

    def surplus(batch: float) -> float:
        return users_and_load(network, np.array([batch]), slots)[1][0] - MOST_LOAD

    batch = brentq(surplus, 1e-6, slots[0], xtol=1e-12, rtol=1e-14)
    return users_and_load(network, np.array([batch]), slots)[0][0]


def request_rate(each: Predicted, scenario: Scenario) -> float:
    """Requests that a deployment serves, by its tokens [1/s]."""
    workload = scenario.workload
    tokens = float(workload.input_tokens + workload.output_tokens)
    return each.prediction.total_tok_s_per_gpu * each.configuration.gpus / tokens


def dearness(each: Predicted) -> tuple[float, int]:
    return each.prediction.usd_per_m_total_tokens, each.configuration.gpus


@pytest.mark.parametrize("sku", ["gb200", "b200"])
def test_search_equals_enumeration(sku: str, scenario: Scenario, calibration: Calibration) -> None:
    space = Space(
        prefill_workers=(1, 2, 3),
        prefill_gpus=(4, 8),
        decode_workers=(1, 2, 4),
        decode_gpus=(8, 16, 32),
        mtp_depths=(0, 2),
        largest_batch=64,
        batch_ratio=1.6,
    )
    cluster = default_cluster(sku, 72)
    every = enumerated(space, scenario, cluster, calibration)
    answers = curve(scenario, cluster, TARGETS, Limits(1.0), calibration, space)
    for target, answer in zip(TARGETS, answers, strict=True):
        fitting = [each for each in every if each.prediction.tok_s_per_user >= target]
        assert answer.search.candidates >= answer.search.feasible == len(fitting)
        first = min(fitting, key=dearness)
        assert answer.prediction is not None
        assert answer.prediction.usd_per_m_total_tokens == pytest.approx(
            first.prediction.usd_per_m_total_tokens, rel=1e-8
        )
        assert answer.configuration == first.configuration
    for rate in (20.0, 100.0):
        answer = best(
            scenario, cluster, Limits(60.0), calibration, space, goal=Goal("gpus", rate=rate)
        )
        taken = [
            copies * each.configuration.gpus
            for each in every
            if each.prediction.tok_s_per_user >= 60.0
            for copies in [math.ceil(rate / request_rate(each, scenario))]
            if copies * each.configuration.gpus <= 72
        ]
        assert 0 < answer.search.feasible == len(taken)
        assert answer.value is not None
        assert answer.value.amount == min(taken)


@pytest.mark.parametrize("sku", ["gb200", "b200"])
def test_an_answer_is_proven_and_explained(
    sku: str, scenario: Scenario, calibration: Calibration
) -> None:
    cluster = default_cluster(sku, 72)
    answer = best(scenario, cluster, Limits(100.0), calibration)
    assert answer.status == "optimal"
    assert answer.reason == ""
    assert answer.prediction is not None
    assert answer.prediction.tok_s_per_user >= 100.0
    assert (answer.search.status, answer.search.gap) == ("OPTIMAL", 0.0)
    assert answer.search.bound == pytest.approx(answer.prediction.usd_per_m_total_tokens, rel=1e-7)
    assert answer.search.candidates > 1_000_000
    assert 0 < answer.search.pruned < answer.search.feasible < answer.search.candidates
    assert answer.breakdown_ms["launch"] > 0

    costs = [each.prediction.usd_per_m_total_tokens for each in answer.runners_up]
    assert len(costs) == 4
    assert costs == sorted(costs)
    assert costs[0] >= answer.prediction.usd_per_m_total_tokens
    assert all(each.prediction.tok_s_per_user >= 100.0 for each in answer.runners_up)
    structures = {
        (
            each.prefill_gpus_per_worker,
            each.decode_gpus_per_worker,
            each.decode_attention,
            each.mtp_depth,
        )
        for each in (answer.configuration, *(one.configuration for one in answer.runners_up))
        if each is not None
    }
    assert len(structures) == 5
    assert all(" % dearer: " in each.lost_by for each in answer.runners_up)


def test_same_call_same_answer(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    cluster = default_cluster("gb200", 72)
    one, two = (best(scenario, cluster, Limits(80.0), calibration, small_space) for _ in range(2))
    assert one.predicted == two.predicted
    assert one.runners_up == two.runners_up


def test_curve_equals_best_target_by_target(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    cluster, limits = default_cluster("gb200", 72), Limits(1.0, max_gpus=40, max_ttft=2.0)
    targets = (150.0, 30.0, 1000.0)
    for target, answer in zip(
        targets,
        curve(scenario, cluster, targets, limits, calibration, small_space),
        strict=True,
    ):
        alone = best(
            scenario,
            cluster,
            Limits(target, max_gpus=40, max_ttft=2.0),
            calibration,
            small_space,
        )
        assert answer.predicted == alone.predicted
        assert answer.runners_up == alone.runners_up
        assert answer.infeasibility == alone.infeasibility
        assert answer.limits.target == target


def test_a_curve_needs_targets(scenario: Scenario, calibration: Calibration) -> None:
    with pytest.raises(InputError, match="targets is empty"):
        curve(scenario, default_cluster("b200", 72), [], Limits(1.0), calibration)


def test_limits_hold(scenario: Scenario, calibration: Calibration, small_space: Space) -> None:
    limits = Limits(60.0, max_gpus=24, max_ttft=0.6)
    answer = best(scenario, default_cluster("gb200", 72), limits, calibration, small_space)
    assert answer.configuration is not None
    assert answer.prediction is not None
    assert answer.configuration.gpus <= 24
    assert answer.prediction.ttft_ms <= 600.0 * (1 + 1e-6)
