import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.optimize import brentq

from costmodel.calibration import Calibration
from costmodel.deployments import deployments_of, network_of
from costmodel.inputs import FloatArray, IntArray
from costmodel.network import Network
from costmodel.predictions import predict
from costmodel.results import Case, Configuration, Predicted, Scenario
from costmodel.serving import MOST_LOAD, steady_state
from optimizer import Limits, Objective, Problem, Space, best, curve
from presets import ClusterSpec, InputError, default_cluster
from tests.optimizer.enumeration import every_configuration
from tests.samples import losses, reason_of

pytestmark = pytest.mark.many_cases

TARGETS = (20.0, 60.0, 90.0, 125.0, 180.0)


def enumerated(
    space: Space, scenario: Scenario, cluster: ClusterSpec, calibration: Calibration
) -> list[Predicted]:
    """Every deployment of a space with full slots, built one by one, predicted without the search.

    Where prefill does not keep the slots full, with as many users as it feeds.
    """
    most = min(72, cluster.gpus)
    every = every_configuration(space, scenario, cluster, users=1, frontends=1)
    drafts = [each for each in every if each.gpus <= most]
    cases = [Case(each, scenario, cluster) for each in drafts]
    network = network_of(deployments_of(cases), calibration)
    slots = np.array([float(each.max_batch) for each in drafts])
    configurations = []
    overloaded: set[Configuration] = set()
    for draft, case, n, load in zip(
        drafts, cases, *users_and_load(network, slots, slots), strict=True
    ):
        fleet = fleet_of(draft)
        if load > MOST_LOAD and fleet in overloaded:
            continue  # more slots, and still as many requests in flight
        users = n if load <= MOST_LOAD else users_that_prefill_feeds(case, calibration)
        if load > MOST_LOAD:
            overloaded.add(fleet)
        configurations.append(draft.model_copy(update={"concurrency": math.ceil(users)}))
    return predict(configurations, scenario, cluster, calibration)


def slowed(
    every: list[Predicted],
    targets: Sequence[float],
    scenario: Scenario,
    cluster: ClusterSpec,
    calibration: Calibration,
    all_batches: bool = False,
) -> list[list[Predicted]]:
    """Deployments with as many users as leave the interactivity at each target, by bisection.

    Of the first batch of each fleet that is too slow with full slots, or of all of those; where one
    user alone is too slow there is none.
    """
    drafts, places = [], []
    for place, target in enumerate(targets):
        seen: set[Configuration] = set()
        for each in every:  # by rising batch
            fleet = fleet_of(each.configuration)
            if each.prediction.tok_s_per_user < target and (all_batches or fleet not in seen):
                seen.add(fleet)
                drafts.append(each.configuration)
                places.append(place)
    asked = np.array([targets[place] for place in places])

    def predicted(users: IntArray) -> list[Predicted]:
        configurations = [
            draft.model_copy(update={"concurrency": n})
            for draft, n in zip(drafts, users.tolist(), strict=True)
        ]
        return predict(configurations, scenario, cluster, calibration)

    low = np.zeros(len(drafts), dtype=np.int64)  # fast enough
    high = np.array([draft.concurrency for draft in drafts])  # too slow
    while np.any(high - low > 1):
        middle = np.maximum((low + high) // 2, 1)
        speed = np.array([each.prediction.tok_s_per_user for each in predicted(middle)])
        fast = (high - low > 1) & (speed >= asked)
        low, high = np.where(fast, middle, low), np.where(fast | (high - low <= 1), high, middle)
    found: list[list[Predicted]] = [[] for _ in targets]
    for place, users, each in zip(places, low, predicted(np.maximum(low, 1)), strict=True):
        if users:
            found[place].append(each)
    return found


def fleet_of(configuration: Configuration) -> Configuration:
    """One deployment whatever its batch and users."""
    return configuration.model_copy(update={"max_batch": 1, "concurrency": 1})


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
        batch_ratio=2.0,
    )
    cluster = default_cluster(sku, 72)
    every = enumerated(space, scenario, cluster, calibration)
    answers = curve(Problem(scenario, cluster, Limits(1.0), calibration, space), TARGETS)
    fewer = slowed(every, TARGETS, scenario, cluster, calibration)
    for target, answer, others in zip(TARGETS, answers, fewer, strict=True):
        full = [each for each in every if each.prediction.tok_s_per_user >= target]
        # Prefill tp that dp makes needless does not count.
        fleets = {fleet_of(each.configuration) for each in full + others}
        of_dp = sum(each.prefill_attention == "dp" for each in fleets)
        assert of_dp <= answer.search.feasible
        assert answer.search.feasible <= answer.search.candidates
        first = min(full + others, key=dearness)
        assert answer.prediction is not None
        assert answer.prediction.usd_per_m_total_tokens == pytest.approx(
            first.prediction.usd_per_m_total_tokens, rel=1e-8
        )
        assert answer.configuration == first.configuration
    fast = [each for each in every if each.prediction.tok_s_per_user >= 60.0]
    for rate in (20.0, 100.0):
        answer = best(
            Problem(
                scenario,
                cluster,
                Limits(60.0),
                calibration,
                space,
                objective=Objective("gpus", rate=rate),
            )
        )
        taken, less_taken = (
            [
                copies * each.configuration.gpus
                for each in some
                for copies in [math.ceil(rate / request_rate(each, scenario))]
                if copies * each.configuration.gpus <= 72
            ]
            for some in (fast, fewer[TARGETS.index(60.0)])
        )
        assert 0 < answer.search.feasible <= len(taken) + len(less_taken)
        assert answer.value is not None
        assert answer.value.amount == min(taken + less_taken)


@pytest.mark.parametrize(("sku", "target"), [("gb200", 93.0), ("b200", 61.0), ("b200", 170.0)])
def test_no_larger_batch_with_fewer_users_is_better(
    sku: str, target: float, scenario: Scenario, calibration: Calibration
) -> None:
    """Of all batches that are too slow with full slots the first does."""
    space = Space(
        prefill_workers=(1, 2),
        prefill_gpus=(4,),
        decode_workers=(1, 2),
        decode_gpus=(8, 16),
        mtp_depths=(2,),
        largest_batch=64,
        batch_ratio=2.0,
    )
    cluster = default_cluster(sku, 72)
    every = enumerated(space, scenario, cluster, calibration)
    (others,) = slowed(every, [target], scenario, cluster, calibration, all_batches=True)
    answer = best(Problem(scenario, cluster, Limits(target), calibration, space))
    full = [each for each in every if each.prediction.tok_s_per_user >= target]
    cheapest = min(each.prediction.usd_per_m_total_tokens for each in full + others)
    assert answer.prediction is not None
    assert answer.prediction.usd_per_m_total_tokens == pytest.approx(cheapest, rel=1e-6)


@pytest.mark.parametrize("sku", ["gb200", "b200"])
def test_an_answer_is_proven_and_explained(
    sku: str, scenario: Scenario, calibration: Calibration
) -> None:
    cluster = default_cluster(sku, 72)
    answer = best(Problem(scenario, cluster, Limits(100.0), calibration))
    assert answer.status == "optimal"
    assert reason_of(answer) == ""
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
            each.decode_gpus_per_worker,
            each.decode_ep,
            each.decode_attention,
            each.mtp_depth,
        )
        for each in (answer.configuration, *(one.configuration for one in answer.runners_up))
        if each is not None
    }
    assert len(structures) == 5
    assert all(" % dearer: " in each for each in losses(answer))


def test_same_call_same_answer(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    cluster = default_cluster("gb200", 72)
    one, two = (
        best(Problem(scenario, cluster, Limits(80.0), calibration, small_space)) for _ in range(2)
    )
    assert one.predicted == two.predicted
    assert one.runners_up == two.runners_up


def test_curve_equals_best_target_by_target(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    cluster, limits = default_cluster("gb200", 72), Limits(1.0, max_gpus=40, max_ttft=2.0)
    targets = (150.0, 30.0, 1000.0)
    for target, answer in zip(
        targets,
        curve(Problem(scenario, cluster, limits, calibration, small_space), targets),
        strict=True,
    ):
        alone = best(
            Problem(
                scenario,
                cluster,
                Limits(target, max_gpus=40, max_ttft=2.0),
                calibration,
                small_space,
            )
        )
        assert answer.predicted == alone.predicted
        assert answer.runners_up == alone.runners_up
        assert answer.infeasibility == alone.infeasibility
        assert answer.problem.limits.target == target


def test_a_curve_needs_targets(scenario: Scenario, calibration: Calibration) -> None:
    with pytest.raises(InputError, match="targets is empty"):
        curve(Problem(scenario, default_cluster("b200", 72), Limits(1.0), calibration), [])


def test_limits_hold(scenario: Scenario, calibration: Calibration, small_space: Space) -> None:
    limits = Limits(60.0, max_gpus=24, max_ttft=0.6)
    answer = best(Problem(scenario, default_cluster("gb200", 72), limits, calibration, small_space))
    assert answer.configuration is not None
    assert answer.prediction is not None
    assert answer.configuration.gpus <= 24
    assert answer.prediction.ttft_ms <= 600.0 * (1 + 1e-6)


@pytest.mark.parametrize(("sku", "target"), [("b200", 300.0), ("gb200", 250.0)])
def test_a_ttft_that_the_answer_keeps_changes_nothing(
    sku: str, target: float, scenario: Scenario, calibration: Calibration
) -> None:
    cluster = default_cluster(sku, 72)
    free = best(Problem(scenario, cluster, Limits(target), calibration)).prediction
    assert free is not None
    limits = Limits(target, max_ttft=free.ttft_ms / 1e3 * 1.5)
    kept = best(Problem(scenario, cluster, limits, calibration)).prediction
    assert kept is not None
    assert kept.usd_per_m_total_tokens <= free.usd_per_m_total_tokens * (1 + 1e-9)
