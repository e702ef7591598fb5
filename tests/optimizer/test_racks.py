"""How many racks: the fewest whole NVLink domains in which copies of a deployment serve a rate."""

import math
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.predictions import predict
from costmodel.results import Configuration, Scenario
from optimizer import Answer, Limits, Objective, Problem, Shape, Space, best
from optimizer.objective import Billing
from optimizer.robustness.retune import fleet_of
from optimizer.space import shape_of
from presets import ClusterSpec, InputError, default_cluster
from tests.optimizer.enumeration import every_configuration
from tests.optimizer.evaluated import everything
from topology import pack_workers

pytestmark = pytest.mark.many_cases

TOKENS = 2 * 0.9 * 1024
"""Of a request, in and out. [1]"""

SMALL = Space(
    prefill_workers=(1, 2, 3),
    prefill_gpus=(4, 8),
    prefill_attention=("tp", "dp"),
    decode_workers=(1, 2, 3),
    decode_gpus=(8, 16, 32),
    mtp_depths=(0, 2),
    largest_batch=64,
    batch_ratio=2.0,
)


def racks(name: str, gpus: int) -> ClusterSpec:
    """Racks of 72, islands of 8, or trays of 4 by three: there 8 and 8 leave gaps, 8 and 4 none."""
    if name != "trays":
        return default_cluster(name, gpus)
    content = default_cluster("gb200", gpus).model_dump() | {"gpus_per_domain": 12}
    return ClusterSpec.model_validate(content)


@cache
def domains(sku: str, configuration: Configuration, copies: int) -> float:
    """Domains in which copies stand, placed one by one; infinite without room."""
    sizes = [configuration.decode_gpus_per_worker] * configuration.decode_workers * copies
    sizes += [configuration.prefill_gpus_per_worker] * configuration.prefill_workers * copies
    try:
        placed = pack_workers(racks(sku, 216), sizes)
    except InputError:
        return math.inf
    return len({domain for worker in placed for domain in worker.domains})


@cache
def enumerated(
    scenario: Scenario, calibration: Calibration, sku: str, users: int
) -> list[tuple[Configuration, float, float]]:
    """Every configuration of the space with its speed [token/s] and requests [1/s]."""
    cluster = racks(sku, 216)
    configurations = every_configuration(SMALL, scenario, cluster, users)
    found = predict(configurations, scenario, cluster, calibration)
    return [
        (
            each.configuration,
            each.prediction.tok_s_per_user,
            each.prediction.total_tok_s_per_gpu * each.configuration.gpus / TOKENS,
        )
        for each in found
    ]


def answer_of(
    scenario: Scenario,
    calibration: Calibration,
    rate: float,
    billing: Billing = "domain",
    *,
    limits: Limits,
    sku: str = "gb200",
) -> Answer:
    goal = Objective("gpus", billing, rate)
    cluster = racks(sku, max(216, limits.max_gpus))
    return best(Problem(scenario, cluster, limits, calibration, SMALL, goal))


@pytest.mark.parametrize("sku", ["trays", "b200"])
@pytest.mark.parametrize("rate", [9.0, 33.0])
def test_nothing_is_dropped_for_its_weight(
    scenario: Scenario, calibration: Calibration, sku: str, rate: float
) -> None:
    """Of each decode worker the search has what fills the fewest domains, then GPUs."""
    cluster = racks(sku, 216)
    least: dict[Shape, tuple[float, int]] = {}
    for configuration, _, served in enumerated(scenario, calibration, sku, 300):
        copies = math.ceil(rate / served * (1 - 1e-6))
        cost = domains(sku, fleet_of(configuration), copies), copies * configuration.gpus
        if math.isfinite(cost[0]):
            shape = shape_of(configuration)
            least[shape] = min(cost, least.get(shape, cost))
    goal, limits = Objective("gpus", "domain", rate), Limits(1.0, 216, concurrency=300)
    every = everything(Problem(scenario, cluster, limits, calibration, SMALL, goal))
    kept: dict[Shape, tuple[float, int]] = {}
    given = every.evaluated.throughput
    for found, served in zip(every.configurations, given[given > 0.0].tolist(), strict=True):
        copies = math.ceil(rate / (served / TOKENS) * (1 - 1e-6))
        cost = domains(sku, fleet_of(found), copies), copies * found.gpus
        kept[shape_of(found)] = min(cost, kept.get(shape_of(found), cost))
    assert len(least) > 3
    assert kept == least


@pytest.mark.parametrize("sku", ["gb200", "b200"])
@pytest.mark.parametrize("target", [40.0, 75.0])
@pytest.mark.parametrize("rate", [3.0, 9.0, 20.0, 33.0, 48.0, 70.0])
def test_racks_equal_enumeration(
    scenario: Scenario, calibration: Calibration, sku: str, target: float, rate: float
) -> None:
    """Fewest domains first, then the fewest GPUs that serve, then the most requests per second."""
    cluster, sums = racks(sku, 216), []
    domain = int(cluster.hardware().gpus_per_domain.value)
    for configuration, speed, served in enumerated(scenario, calibration, sku, 300):
        if speed < target:
            continue
        copies = math.ceil(rate / served * (1 - 1e-6))
        if copies * configuration.gpus > 216:
            continue
        bill = domain * domains(sku, fleet_of(configuration), copies)
        sums.append((bill, copies * configuration.gpus, -copies * served))
    answer = answer_of(
        scenario, calibration, rate, limits=Limits(target, 216, concurrency=300), sku=sku
    )
    if not sums or math.isinf(min(sums)[0]):
        assert answer.winner is None
        return
    bill, serving, most = min(sums)
    assert answer.value is not None
    assert answer.winner is not None
    assert answer.value.amount == bill
    assert answer.winner.bill is not None
    assert (answer.winner.bill.charged, answer.winner.bill.used) == (bill, serving)
    assert answer.value.served == pytest.approx(-most, rel=1e-6)


@settings(max_examples=8, deadline=None)
@given(
    rate=st.floats(1.0, 60.0),
    target=st.floats(20.0, 130.0),
    sku=st.sampled_from(["gb200", "b200"]),
    fewer=st.sampled_from([72, 144]),
)
def test_whole_domains_are_never_fewer_and_more_budget_never_worse(
    scenario: Scenario,
    calibration: Calibration,
    rate: float,
    target: float,
    sku: str,
    fewer: int,
) -> None:
    billings: tuple[Billing, ...] = ("gpu", "domain")
    amounts = {
        (billing, most): found.winner.amount if found.winner else math.inf
        for billing in billings
        for most in (fewer, 216)
        for found in [
            answer_of(scenario, calibration, rate, billing, limits=Limits(target, most), sku=sku)
        ]
    }
    for billing in billings:
        assert amounts[billing, 216] <= amounts[billing, fewer]
    for most in (fewer, 216):
        assert amounts["domain", most] >= amounts["gpu", most]
        assert amounts["domain", most] == math.inf or amounts["domain", most] <= most
