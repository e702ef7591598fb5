"""Attention of the prefill workers as a choice: tp where its shorter TTFT counts, else dp."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optimizer.evaluation
import optimizer.prefill
from costmodel.calibration import Calibration
from costmodel.inputs import BoolArray, IntArray
from costmodel.predictions import predict
from costmodel.results import Configuration, Predicted, Scenario
from optimizer import Answer, Limits, Problem, Space, best, curve
from optimizer.robustness.next_rows import row_of
from optimizer.robustness.retune import fleet_of, retuning_of, with_settings
from presets import default_cluster
from tests.optimizer.enumeration import every_configuration

pytestmark = pytest.mark.many_cases

GB200 = default_cluster("gb200", 72)
SMALL = Space(
    prefill_workers=(1, 2, 4),
    prefill_gpus=(4, 8),
    decode_workers=(1, 2),
    decode_gpus=(8, 16),
    mtp_depths=(2,),
    largest_batch=64,
    batch_ratio=1.6,
)
BOTH = replace(SMALL, decode_gpus=(8, 16, 32), mtp_depths=(1, 2, 3), batch_ratio=1.1)
DP_ONLY = replace(BOTH, prefill_attention=("dp",))


@pytest.fixture(scope="module")
def long(scenario: Scenario) -> Scenario:
    """Inputs of 8192 tokens, whose prefill takes its time."""
    return scenario.model_copy(update={"isl": 8192})


def mode(answer: Answer) -> str | None:
    return answer.configuration.prefill_attention if answer.configuration else None


def throughput(answer: Answer) -> float:
    return answer.prediction.total_tok_s_per_gpu if answer.prediction else 0.0


def enumerated(scenario: Scenario, calibration: Calibration, users: int) -> list[Predicted]:
    """Every deployment of the small space under given users, predicted one by one."""
    every = [each for each in every_configuration(SMALL, scenario, GB200, users) if each.gpus <= 72]
    return predict(every, scenario, GB200, calibration)


@pytest.mark.parametrize(
    ("users", "max_ttft", "winner"),
    [(8, None, "tp"), (64, 0.6, "tp"), (64, 3.0, "dp"), (400, None, "dp")],
)
def test_search_equals_enumeration(
    long: Scenario, calibration: Calibration, users: int, max_ttft: float | None, winner: str
) -> None:
    every = enumerated(long, calibration, users)
    longest = np.inf if max_ttft is None else 1e3 * max_ttft
    for target in (40.0, 90.0):
        limits = Limits(target, max_ttft=max_ttft, concurrency=users)
        answer = best(Problem(long, GB200, limits, calibration, SMALL))
        costs = [
            each.prediction.usd_per_m_total_tokens
            for each in every
            if each.prediction.tok_s_per_user >= target and each.prediction.ttft_ms <= longest
        ]
        assert answer.prediction is not None
        assert answer.prediction.usd_per_m_total_tokens == pytest.approx(min(costs), rel=1e-7)
        assert mode(answer) == winner


def test_a_limit_that_only_shared_prefill_meets(long: Scenario, calibration: Calibration) -> None:
    limits = Limits(60.0, max_ttft=0.4)
    assert best(Problem(long, GB200, limits, calibration, DP_ONLY)).status == "infeasible"
    answer = best(Problem(long, GB200, limits, calibration, BOTH))
    assert mode(answer) == "tp"
    assert answer.prediction is not None
    assert answer.configuration is not None
    assert answer.prediction.ttft_ms <= 400.0
    assert answer.prediction.origin == "extrapolated"
    gpus = answer.configuration.prefill_gpus_per_worker
    assert f"prefill attention tp over {gpus} GPUs" in answer.prediction.extrapolated_in


def test_the_shortest_ttft_is_that_of_shared_prefill(
    long: Scenario, calibration: Calibration
) -> None:
    failed = best(Problem(long, GB200, Limits(60.0, max_ttft=0.1), calibration, BOTH)).infeasibility
    assert failed is not None
    conflict = next(each for each in failed.conflicts if each.limit == "max_ttft")
    own = best(Problem(long, GB200, Limits(60.0, max_ttft=0.1), calibration, DP_ONLY)).infeasibility
    assert own is not None
    other = next(each for each in own.conflicts if each.limit == "max_ttft")
    assert conflict.needed is not None
    assert other.needed is not None
    assert conflict.needed < other.needed
    reached = Limits(60.0, max_ttft=conflict.needed * (1 + 1e-6), concurrency=1)
    assert mode(best(Problem(long, GB200, reached, calibration, BOTH))) == "tp"


@settings(max_examples=10, deadline=None)
@given(target=st.floats(20.0, 200.0), max_ttft=st.floats(0.25, 3.0))
def test_a_wider_choice_is_never_worse(
    long: Scenario, calibration: Calibration, target: float, max_ttft: float
) -> None:
    limits = Limits(target, max_ttft=max_ttft)
    own, both = (
        best(Problem(long, GB200, limits, calibration, space)) for space in (DP_ONLY, BOTH)
    )
    assert throughput(both) >= throughput(own)
    if both.prediction is not None:
        assert both.prediction.ttft_ms <= 1e3 * max_ttft * (1 + 1e-9)
    if mode(both) == "dp":
        assert both.configuration == own.configuration


def test_without_a_limit_dp_makes_tp_needless(
    long: Scenario, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With full slots: left out before the search, or found no better, or one that dp meets."""
    monkeypatch.setattr(optimizer.evaluation.Evaluation, "keep_fewer", lambda *_: None)

    def found(space: Space, max_ttft: float | None = None) -> list[Configuration | None]:
        answers = rising(long, calibration, space, max_ttft)
        return [answer.configuration for answer in answers]

    alone, before = found(DP_ONLY), found(BOTH)
    assert alone == before
    monkeypatch.setattr(optimizer.prefill, "_needless", nothing)
    assert found(BOTH) == alone


def test_with_fewer_users_than_slots_tp_gains_less_than_a_user(
    long: Scenario, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users are whole, and with a shorter TTFT another number of them fills the same batch."""
    alone, before = (rising(long, calibration, space) for space in (DP_ONLY, BOTH))
    late = rising(long, calibration, BOTH, 1e6)
    monkeypatch.setattr(optimizer.prefill, "_needless", nothing)
    everything = before, late, rising(long, calibration, BOTH), rising(long, calibration, BOTH, 1e6)
    for answers in everything:
        for own, both in zip(alone, answers, strict=True):
            assert throughput(both) >= throughput(own)
            if own.configuration is None:
                assert both.configuration is None
                continue
            if mode(both) == "dp":
                assert both.configuration == own.configuration
            users = own.configuration.concurrency
            assert throughput(both) <= throughput(own) * (users + 1) / users


def rising(
    scenario: Scenario, calibration: Calibration, space: Space, max_ttft: float | None = None
) -> list[Answer]:
    """Answers from 15 tokens/s up to the fastest."""
    targets = np.geomspace(15.0, 280.0, 12).tolist()
    return curve(
        Problem(scenario, GB200, Limits(1.0, max_ttft=max_ttft), calibration, space), targets
    )


def nothing(gpus: IntArray, *_: object) -> BoolArray:
    """Leave no prefill worker out."""
    return np.zeros(len(gpus), dtype=np.bool_)


def test_only_shared_prefill_may_be_asked_for(long: Scenario, calibration: Calibration) -> None:
    shared = replace(BOTH, prefill_attention=("tp",))
    answer = best(Problem(long, GB200, Limits(60.0), calibration, shared))
    assert mode(answer) == "tp"
    # It costs GPUs that dp does not need.
    assert throughput(answer) < throughput(
        best(Problem(long, GB200, Limits(60.0), calibration, DP_ONLY))
    )


def test_a_shared_fleet_is_retuned_and_measured_as_it_is(
    long: Scenario, calibration: Calibration
) -> None:
    limits = Limits(60.0, max_ttft=0.5)
    answer = best(Problem(long, GB200, limits, calibration, BOTH))
    assert answer.configuration is not None
    assert answer.configuration.prefill_attention == "tp"
    fleet = fleet_of(answer.configuration)
    retuned = retuning_of([fleet], Problem(long, GB200, limits, calibration, BOTH)).under(
        calibration
    )
    (setting,) = with_settings([fleet], retuned)
    assert setting is not None
    assert setting.prefill_attention == "tp"
    (again,) = predict([setting], long, GB200, calibration)
    found = float(retuned.total_tok_s_per_gpu[0])
    assert again.prediction.total_tok_s_per_gpu == pytest.approx(found, rel=1e-6)
    assert found >= throughput(answer) * (1 - 1e-6)
    assert row_of(setting, answer.problem).prefill_attention == "tp"
