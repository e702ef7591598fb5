"""Fewer users than slots, where full slots are too slow."""

from typing import Literal

import numpy as np
import pytest

import optimizer.evaluation
from costmodel.calibration import Calibration
from costmodel.predictions import predict
from costmodel.results import Scenario
from costmodel.serving import MOST_LOAD
from optimizer import Limits, Objective, Problem, Space, best, curve
from presets import default_cluster

TARGETS = (20.0, 60.0, 90.0, 125.0, 180.0)


pytestmark = pytest.mark.many_cases


WITH_FEWER_USERS: list[tuple[str, Literal["fp4", "fp8"], float]] = [
    ("h200", "fp8", 125.0),
    ("b200", "fp4", 300.0),
]


@pytest.mark.parametrize(("sku", "precision", "target"), WITH_FEWER_USERS)
def test_fewer_users_than_slots_win_where_full_slots_are_too_slow(
    sku: str,
    precision: Literal["fp4", "fp8"],
    target: float,
    scenario: Scenario,
    calibration: Calibration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = scenario.model_copy(update={"precision": precision})
    cluster = default_cluster(sku, 72)
    answer = best(Problem(served, cluster, Limits(target), calibration))
    assert answer.configuration is not None
    assert answer.prediction is not None
    users = answer.configuration.concurrency
    more = answer.configuration.model_copy(update={"concurrency": users + 1})
    now, then = predict([answer.configuration, more], served, cluster, calibration)
    assert now.prediction == answer.prediction
    assert now.prediction.tok_s_per_user >= target > then.prediction.tok_s_per_user
    # Slots stay free, on every worker.
    assert now.batch_in_flight < answer.configuration.max_batch
    assert now.prefill_load < MOST_LOAD
    # As it says, nothing with full slots is as cheap.
    monkeypatch.setattr(optimizer.evaluation.Evaluation, "keep_fewer", lambda *_: None)
    full = best(Problem(served, cluster, Limits(target), calibration))
    assert full.prediction is not None
    assert answer.prediction.usd_per_m_total_tokens < full.prediction.usd_per_m_total_tokens
    assert answer.configuration != full.configuration


def refuse(*_: object) -> None:
    """Solve for the users of no deployment."""
    raise AssertionError


@pytest.mark.parametrize(("sku", "precision"), [("h200", "fp8"), ("gb200", "fp4")])
def test_solving_for_users_makes_no_answer_worse(
    sku: str,
    precision: Literal["fp4", "fp8"],
    scenario: Scenario,
    calibration: Calibration,
    small_space: Space,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = scenario.model_copy(update={"precision": precision})
    cluster = default_cluster(sku, 72)
    targets = np.geomspace(15.0, 320.0, 25).tolist()
    asked = [
        (limits, goal)
        for limits in (Limits(1.0), Limits(1.0, max_ttft=1.5), Limits(1.0, min_confidence=0.9))
        for goal in (Objective(), Objective(billing="domain"))
    ]

    def amounts() -> list[float | None]:
        return [
            answer.value.amount if answer.value else None
            for limits, goal in asked
            for answer in curve(
                Problem(served, cluster, limits, calibration, small_space, objective=goal),
                targets,
                explained=False,
            )
        ]

    fewer = amounts()
    monkeypatch.setattr(optimizer.evaluation.Evaluation, "keep_fewer", lambda *_: None)
    full = amounts()
    pairs = [(one, two) for one, two in zip(fewer, full, strict=True) if two is not None]
    assert all(one is not None and one <= two * (1 + 1e-9) for one, two in pairs)
    assert any(one is not None and one < two * (1 - 1e-3) for one, two in pairs)


def test_given_users_are_not_solved_for(
    scenario: Scenario,
    calibration: Calibration,
    small_space: Space,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = default_cluster("gb200", 72)
    limits = Limits(1.0, concurrency=40)
    answers = curve(Problem(scenario, cluster, limits, calibration, small_space), TARGETS)
    monkeypatch.setattr(optimizer.evaluation, "serve_fed", refuse)
    again = curve(Problem(scenario, cluster, limits, calibration, small_space), TARGETS)
    assert [each.predicted for each in answers] == [each.predicted for each in again]


def test_curve_equals_best_where_users_are_solved_for(
    scenario: Scenario, calibration: Calibration
) -> None:
    """Together with other targets, in whatever order, users come out as they do alone."""
    cluster = default_cluster("b200", 72)
    targets = (300.0, 60.0, 125.0, 250.0)
    answers = curve(Problem(scenario, cluster, Limits(1.0), calibration), targets)
    for target, answer in zip(targets, answers, strict=True):
        alone = best(Problem(scenario, cluster, Limits(target), calibration))
        assert answer.predicted == alone.predicted
        assert answer.runners_up == alone.runners_up
        assert answer.value == alone.value
    fewer = [
        answer.predicted.batch_in_flight < answer.predicted.configuration.max_batch * (1 - 1e-6)
        for answer in answers
        if answer.predicted
    ]
    assert any(fewer)


@pytest.mark.parametrize(("sku", "precision", "target"), WITH_FEWER_USERS)
def test_what_an_answer_reaches_may_be_asked_for(
    sku: str,
    precision: Literal["fp4", "fp8"],
    target: float,
    scenario: Scenario,
    calibration: Calibration,
) -> None:
    served = scenario.model_copy(update={"precision": precision})
    cluster = default_cluster(sku, 72)
    answer = best(Problem(served, cluster, Limits(target), calibration))
    assert answer.prediction is not None
    reached = Limits(answer.prediction.tok_s_per_user)
    assert (
        best(Problem(served, cluster, reached, calibration)).configuration == answer.configuration
    )


def test_fewer_users_may_be_the_only_way(scenario: Scenario, calibration: Calibration) -> None:
    """Ranks of attention dp that are not all in use are faster than one request on each."""
    cluster, space = default_cluster("gb200", 72), Space(attention=("dp",))
    failed = best(Problem(scenario, cluster, Limits(1000.0), calibration, space)).infeasibility
    assert failed is not None
    assert failed.highest_target is not None
    full = 1e3 * failed.tokens_per_step / failed.step_ms
    assert failed.highest_target > 1.05 * full
    for factor, status in ((1 - 1e-6, "optimal"), (1.001, "infeasible")):
        limits = Limits(failed.highest_target * factor)
        assert best(Problem(scenario, cluster, limits, calibration, space)).status == status
