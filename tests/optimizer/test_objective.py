"""Objectives, billing, confidence, concurrency and machines of two kinds."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.predictions import predict
from costmodel.results import Predicted, Scenario
from optimizer import Answer, Limits, Objective, Problem, Space, best, curve
from optimizer.billing import whole_domains
from optimizer.confidence import chance_to_meet
from presets import InputError, default_cluster
from tests.optimizer.enumeration import every_configuration
from tests.samples import losses

RACK = default_cluster("gb200", 72)
ISLANDS = default_cluster("b200", 72)

SMALL = Space(
    prefill_workers=(1, 2),
    prefill_gpus=(4,),
    decode_workers=(1, 2),
    decode_gpus=(8, 16, 32),
    mtp_depths=(0, 2),
    largest_batch=64,
    batch_ratio=1.6,
)


def enumerated(
    scenario: Scenario, calibration: Calibration, users: int, target: float
) -> list[Predicted]:
    """Predict every configuration of the space with given users, and keep the fast ones."""
    configurations = every_configuration(SMALL, scenario, RACK, users)
    predicted = predict(configurations, scenario, RACK, calibration)
    return [each for each in predicted if each.prediction.tok_s_per_user >= target]


def answer_of(scenario: Scenario, calibration: Calibration, target: float, **asked: Any) -> Answer:
    space, goal = asked.pop("space", SMALL), asked.pop("goal", Objective())
    prefill, cluster = asked.pop("prefill_cluster", None), asked.pop("cluster", RACK)
    limits = Limits(target, **asked)
    return best(
        Problem(
            scenario, cluster, limits, calibration, space, objective=goal, prefill_cluster=prefill
        )
    )


@pytest.mark.parametrize(("users", "target"), [(7, 60.0), (300, 60.0), (2000, 30.0), (300, 120.0)])
def test_given_users_equal_enumeration(
    scenario: Scenario, calibration: Calibration, users: int, target: float
) -> None:
    answer = answer_of(scenario, calibration, target, concurrency=users)
    every = enumerated(scenario, calibration, users, target)
    assert answer.configuration is not None
    assert answer.configuration.concurrency == users
    cheapest = min(each.prediction.usd_per_m_total_tokens for each in every)
    assert answer.prediction is not None
    assert answer.prediction.usd_per_m_total_tokens == pytest.approx(cheapest, rel=1e-6)


@settings(max_examples=10, deadline=None)
@given(limit=st.floats(0.25, 2.0), target=st.floats(20.0, 150.0))
def test_a_shorter_ttft_never_makes_it_cheaper(
    scenario: Scenario, calibration: Calibration, limit: float, target: float
) -> None:
    tight = answer_of(scenario, calibration, target, max_ttft=limit).prediction
    loose = answer_of(scenario, calibration, target, max_ttft=limit * 1.2).prediction
    if tight is not None:
        assert loose is not None
        assert tight.ttft_ms <= 1e3 * limit * (1 + 1e-9)
        # Users are whole: a bound on their wait moves by one of them.
        assert tight.total_tok_s_per_gpu <= loose.total_tok_s_per_gpu * 1.01


def test_throughput_and_output_cost_on_one_machine_choose_as_cost_does(
    scenario: Scenario, calibration: Calibration
) -> None:
    cost, throughput, output, power = (
        answer_of(scenario, calibration, 80.0, goal=Objective(objective))
        for objective in ("cost", "throughput", "output-cost", "power")
    )
    assert cost.configuration == throughput.configuration == output.configuration
    assert power.configuration == cost.configuration
    assert cost.value is not None
    assert cost.prediction is not None
    assert cost.value.amount == cost.prediction.usd_per_m_total_tokens
    assert output.value is not None
    assert output.value.amount == pytest.approx(2 * cost.value.amount)  # as many out as in
    assert throughput.value is not None
    assert throughput.value.amount == pytest.approx(cost.prediction.total_tok_s_per_gpu)
    assert power.value is not None
    watts = RACK.hardware().power_watts.value
    assert power.value.amount == pytest.approx(cost.prediction.total_tok_s_per_gpu / watts)


@pytest.mark.parametrize("rate", [5.0, 40.0, 90.0])
def test_fewest_gpus_for_a_rate(scenario: Scenario, calibration: Calibration, rate: float) -> None:
    answer = answer_of(scenario, calibration, 60.0, goal=Objective("gpus", rate=rate))
    assert answer.value is not None
    assert answer.prediction is not None
    assert answer.configuration is not None
    gpus = answer.configuration.gpus
    served = answer.prediction.total_tok_s_per_gpu * gpus / (2 * 0.9 * 1024)
    assert answer.value.replicas == math.ceil(rate / served)
    assert answer.value.amount == answer.value.replicas * gpus <= 72
    # No deployment of the throughput front does with fewer.
    for target in (60.0, 70.0, 90.0, 120.0):
        other = answer_of(scenario, calibration, target).prediction
        assert other is not None
        assert answer.value.amount >= rate * 2 * 0.9 * 1024 / other.total_tok_s_per_gpu * 0.5


@pytest.mark.parametrize("rate", [20.0, 40.0, 75.0])
def test_of_equally_many_gpus_those_that_serve_most_win(
    scenario: Scenario, calibration: Calibration, rate: float
) -> None:
    """By enumeration: fewest GPUs first, then the most requests per second."""
    goal = Objective("gpus", rate=rate)
    answer = answer_of(scenario, calibration, 60.0, concurrency=300, goal=goal)
    sums = []
    for each in enumerated(scenario, calibration, users=300, target=60.0):
        gpus = each.configuration.gpus
        one = each.prediction.total_tok_s_per_gpu * gpus / (2 * 0.9 * 1024)
        replicas = math.ceil(rate / one)
        sums.append((replicas * gpus, -replicas * one))
    fewest, most = min(sums)
    assert answer.value is not None
    assert answer.value.served is not None
    assert answer.value.amount == fewest
    assert answer.value.served == pytest.approx(-most, rel=1e-6)
    assert len([gpus for gpus, _ in sums if gpus == fewest]) > 1
    assert all("as many GPUs" in each or "more: " in each for each in losses(answer))
    assert not any(" -" in each for each in losses(answer))


def test_whole_domains_are_charged(scenario: Scenario, calibration: Calibration) -> None:
    """40 GPUs win where GPUs are paid; in a rack that is paid whole they strand 32."""
    free = answer_of(scenario, calibration, 125.0, space=Space())
    owned = answer_of(scenario, calibration, 125.0, space=Space(), goal=Objective(billing="domain"))
    assert free.configuration is not None
    assert owned.configuration is not None
    assert free.configuration != owned.configuration
    assert owned.winner is not None
    bill = owned.winner.bill
    assert bill is not None
    assert bill.charged == 72
    assert free.prediction is not None
    assert owned.prediction is not None
    charged = 72 / bill.replicas * 1.86
    throughput = owned.prediction.total_tok_s_per_gpu * owned.configuration.gpus
    assert owned.prediction.usd_per_m_total_tokens == pytest.approx(
        charged / (3600 * throughput / 1e6)
    )
    # The winner of the cloud, in the rack: one replica pays all 72 GPUs.
    bill = whole_domains(
        (free.configuration.decode_gpus_per_worker, free.configuration.decode_workers),
        (free.configuration.prefill_gpus_per_worker, free.configuration.prefill_workers),
        RACK,
        None,
        (1, 1),
        72,
    )
    assert bill is not None
    dearer = free.prediction.usd_per_m_total_tokens * bill.charged / bill.used
    assert owned.prediction.usd_per_m_total_tokens <= dearer


@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from([4, 8, 16, 32]),
    count=st.integers(1, 3),
    prefill=st.sampled_from([1, 2, 4, 8]),
    prefill_count=st.integers(1, 4),
    sku=st.sampled_from(["gb200", "b200"]),
)
def test_no_number_of_replicas_is_cheaper(
    size: int, count: int, prefill: int, prefill_count: int, sku: str
) -> None:
    cluster = default_cluster(sku, 72)
    domain = 72 if sku == "gb200" else 8
    gpus = size * count + prefill * prefill_count
    bill = whole_domains((size, count), (prefill, prefill_count), cluster, None, (1, 1), 72)
    if bill is None:
        assert gpus > 72 or sku == "gb200"
        return
    assert bill.charged % domain == 0
    assert bill.used == bill.replicas * gpus <= bill.charged
    assert bill.stranded < gpus + domain
    # Powers of two fill islands of 8 without a gap; a rack of 72 takes what fits side by side.
    for replicas in range(1, 72 // gpus + 1):
        least = math.ceil(replicas * gpus / domain) * domain / replicas
        if sku == "b200" or replicas == 1:
            assert bill.charged / bill.replicas <= least + 1e-9


def test_confidence_asks_more_of_the_median(scenario: Scenario, calibration: Calibration) -> None:
    usual = answer_of(scenario, calibration, 80.0).prediction
    assert usual is not None
    target = usual.tok_s_per_user * (1 - 1e-9)
    median = answer_of(scenario, calibration, target)
    sure = answer_of(scenario, calibration, target, min_confidence=0.95)
    even = answer_of(scenario, calibration, target, min_confidence=0.5)
    assert even.configuration == median.configuration
    assert sure.prediction is not None
    assert median.prediction is not None
    assert sure.prediction.interval_90["tok_s_per_user"][0] >= target
    assert median.prediction.interval_90["tok_s_per_user"][0] < target
    assert sure.prediction.usd_per_m_total_tokens > median.prediction.usd_per_m_total_tokens


def test_the_chance_to_meet_a_target_is_the_confidence_it_was_asked_with(
    scenario: Scenario, calibration: Calibration
) -> None:
    """A promise with a confidence, and the chance that is printed, are one and the same law."""
    usual = answer_of(scenario, calibration, 80.0).prediction
    assert usual is not None
    just = chance_to_meet(usual, Limits(usual.tok_s_per_user, max_ttft=usual.ttft_ms / 1e3))
    assert just == pytest.approx({"target": 0.5, "max_ttft": 0.5})
    low, ttft = usual.interval_90["tok_s_per_user"][0], usual.interval_90["ttft_ms"][1] / 1e3
    ends = chance_to_meet(usual, Limits(low, max_ttft=ttft))
    assert ends == pytest.approx({"target": 0.95, "max_ttft": 0.95})
    assert list(chance_to_meet(usual, Limits(80.0))) == ["target"]
    for confidence in (0.6, 0.9, 0.99):
        sure = answer_of(scenario, calibration, 80.0, min_confidence=confidence)
        assert sure.prediction is not None
        assert chance_to_meet(sure.prediction, sure.problem.limits)["target"] >= confidence - 1e-9


def test_a_lattice_batch_outside_the_data_promises_less(
    scenario: Scenario, calibration: Calibration
) -> None:
    """What the lattice promises is the low end that the prediction prints."""
    answers = curve(
        Problem(
            scenario,
            default_cluster("gb300", 72),
            Limits(1.0, min_confidence=0.95),
            calibration,
            SMALL,
        ),
        [30.0, 60.0, 120.0],
    )
    for answer in answers:
        assert answer.prediction is not None
        assert answer.prediction.interval_90["tok_s_per_user"][0] >= answer.problem.limits.target


def test_prefill_on_cheaper_machines(scenario: Scenario, calibration: Calibration) -> None:
    alone = answer_of(scenario, calibration, 80.0)
    mixed = answer_of(scenario, calibration, 80.0, prefill_cluster=ISLANDS)
    assert mixed.prediction is not None
    assert mixed.configuration is not None
    (again,) = predict([mixed.configuration], scenario, RACK, calibration, ISLANDS)
    assert again.prediction == mixed.prediction
    assert alone.prediction is not None
    assert mixed.prediction.usd_per_m_total_tokens != alone.prediction.usd_per_m_total_tokens
    free = ISLANDS.model_copy(update={"price_usd_per_hour": 0.01})
    gift = answer_of(scenario, calibration, 80.0, prefill_cluster=free).prediction
    assert gift is not None
    assert gift.usd_per_m_total_tokens < mixed.prediction.usd_per_m_total_tokens
    owned = answer_of(
        scenario, calibration, 80.0, prefill_cluster=ISLANDS, goal=Objective(billing="domain")
    )
    assert owned.winner is not None
    bill = owned.winner.bill
    assert bill is not None
    assert bill.prefill_gpus % 8 == 0
    assert bill.decode_gpus == 72


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "speed"}, "objective 'speed' is not valid; give cost, throughput"),
        ({"billing": "rack"}, "billing 'rack' is not valid; give gpu, domain"),
        ({"name": "gpus"}, "rate: none is given"),
        ({"rate": 5.0}, "rate 5 is not valid with the objective 'cost'"),
        ({"name": "gpus", "rate": -1.0}, "rate -1.0 is not valid"),
    ],
)
def test_no_goal(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Objective(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"concurrency": 0}, "concurrency 0 is not valid; give 1 to 1,000,000"),
        ({"concurrency": 2.5}, "concurrency 2.5 is not valid; give a whole number"),
        ({"min_confidence": 0.4}, "min_confidence 0.4 is not valid; give 0.5 to 0.999"),
        ({"min_confidence": math.nan}, "min_confidence nan is not valid"),
    ],
)
def test_no_limits(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Limits(1.0, **values)


def test_a_domain_that_the_cluster_ends_in_is_charged_whole() -> None:
    bill = whole_domains((64, 1), (4, 4), default_cluster("gb200", 80), None, (1, 1), 80)
    assert bill is not None
    assert (bill.charged, bill.used, bill.stranded) == (144, 80, 64)


def test_a_rate_beyond_all_machines_is_refused() -> None:
    with pytest.raises(InputError, match="rate 1e\\+20 is not valid; give at most 1e\\+09"):
        Objective("gpus", rate=1e20)
