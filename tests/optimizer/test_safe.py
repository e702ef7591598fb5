"""The safe choice: the best inside the data that meets each limit with confidence."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.results import Scenario
from optimizer import Limits, Objective, Problem, Space, best, curve
from optimizer.confidence import chance_to_meet
from optimizer.safe import SAFE, WithSafe, curve_with_safe, is_safe, safe_problem
from presets import default_cluster

pytestmark = pytest.mark.many_cases

SMALL = Space(
    prefill_workers=(1, 2, 3, 5),
    decode_workers=(1, 2, 3),
    decode_gpus=(4, 8, 16, 32, 48),
    mtp_depths=(2,),
    batch_ratio=1.2,
)
TARGETS = (30.0, 75.0, 200.0)
JUST = 1e-6
"""Within which what is solved for meets its limits."""

QUESTIONS = {
    "plain": (Limits(1.0), Objective()),
    "ttft": (Limits(1.0, max_ttft=1.0), Objective()),
    "short ttft": (Limits(1.0, max_ttft=0.35), Objective()),
    "users": (Limits(1.0, concurrency=400, max_ttft=3.0), Objective()),
    "surer": (Limits(1.0, max_ttft=2.0, min_confidence=0.97), Objective("throughput")),
    "less sure": (Limits(1.0, max_ttft=2.0, min_confidence=0.7), Objective("power")),
    "inside": (Limits(1.0, within_data=True), Objective("output-cost")),
    "domain": (Limits(1.0), Objective(billing="domain")),
    "rate": (Limits(1.0), Objective("gpus", rate=5.0)),
}


def problem_of(
    scenario: Scenario, calibration: Calibration, sku: str, limits: Limits, goal: Objective
) -> Problem:
    served = scenario.model_copy(update={"precision": "fp8" if sku == "h200" else "fp4"})
    return Problem(served, default_cluster(sku, 72), limits, calibration, SMALL, goal)


@pytest.mark.parametrize("sku", ["gb200", "b200", "h200"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_safe_choice_is_the_answer_to_its_own_question(
    scenario: Scenario, calibration: Calibration, sku: str, question: str
) -> None:
    """What is found beside an answer is what a search with the limits of a safe choice finds."""
    problem = problem_of(scenario, calibration, sku, *QUESTIONS[question])
    found = curve_with_safe(problem, TARGETS)
    alone = curve(safe_problem(problem), TARGETS)
    for each, expected in zip(found, alone, strict=True):
        assert each.outside is None
        if each.safe is None:
            assert each.answer.winner is None
            assert expected.winner is None
            continue
        assert (each.safe.winner is None) == (expected.winner is None)
        if each.safe.winner is None or expected.winner is None:
            assert each.safe.infeasibility == expected.infeasibility
        elif each.safe is each.answer:  # another may be as good
            assert each.safe.winner.amount == pytest.approx(expected.winner.amount, rel=JUST)
        else:
            assert each.safe.winner == expected.winner


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sku=st.sampled_from(("gb200", "b200", "h200")),
    target=st.floats(5.0, 250.0),
    max_ttft=st.none() | st.floats(0.2, 4.0),
    objective=st.sampled_from(("cost", "throughput", "power")),
    confidence=st.none() | st.floats(0.5, 0.98),
)
def test_a_safe_choice_is_inside_sure_and_never_better(
    scenario: Scenario,
    calibration: Calibration,
    sku: str,
    target: float,
    max_ttft: float | None,
    objective: str,
    confidence: float | None,
) -> None:
    limits = Limits(target, max_ttft=max_ttft, min_confidence=confidence)
    goal = Objective(objective)  # type: ignore[arg-type]
    (found,) = curve_with_safe(problem_of(scenario, calibration, sku, limits, goal), [target])
    if found.safe is None or found.safe.winner is None:
        return
    optimum, safe = found.answer.winner, found.safe.winner
    assert optimum is not None
    better = safe.amount / optimum.amount
    better = 1 / better if safe.value.more_is_better else better
    assert better >= 1 - JUST
    assert safe.prediction.origin == "modelled"
    assert not safe.prediction.extrapolated_in
    chances = chance_to_meet(safe.prediction, limits)
    assert list(chances) == ["target"] + ["max_ttft"] * (max_ttft is not None)
    assert min(chances.values()) >= max(SAFE, confidence or 0.0) - JUST


def test_an_answer_that_is_safe_is_its_own_safe_choice(
    scenario: Scenario, calibration: Calibration
) -> None:
    limits = Limits(1.0, max_ttft=2.0, min_confidence=0.95, within_data=True)
    problem = problem_of(scenario, calibration, "b200", limits, Objective())
    for found in curve_with_safe(problem, TARGETS):
        assert is_safe(found.answer)
        assert found.safe is found.answer
    for found in curve_with_safe(problem.within(Limits(1.0, within_data=True)), [75.0, 125.0]):
        assert not is_safe(found.answer)
        assert found.safe is not found.answer


def test_what_stands_in_the_way_of_a_safe_choice_is_told(
    scenario: Scenario, calibration: Calibration
) -> None:
    unknown = problem_of(scenario, calibration, "gb300", Limits(1.0), Objective())
    (found,) = curve_with_safe(unknown, [60.0])
    assert found.answer.winner is not None
    assert found == WithSafe(
        found.answer,
        outside="no decode worker is inside the data of the calibration; what lies outside it: "
        "machine gb300",
    )
    tight = problem_of(scenario, calibration, "b200", Limits(1.0, max_ttft=0.2), Objective())
    (found,) = curve_with_safe(tight, [60.0])
    assert found.answer.winner is not None
    assert found.safe is not None
    assert found.safe.winner is None
    assert found.safe.infeasibility is not None
    (conflict,) = found.safe.infeasibility.conflicts
    assert conflict.limit == "max_ttft"
    # The longer TTFT that it names works, for the safe choice too.
    assert conflict.needed is not None
    longer = tight.within(Limits(60.0, max_ttft=float(f"{1.01 * conflict.needed:.3g}")))
    (found,) = curve_with_safe(longer, [60.0])
    assert found.safe is not None
    assert found.safe.winner is not None


def test_a_confidence_holds_for_ttft_as_the_interval_says(
    scenario: Scenario, calibration: Calibration
) -> None:
    """At 0.95 the end of the 90 % interval keeps the limit; outside the data it is wider."""
    for sku, longest in (("b200", 1.2), ("gb300", 4.0)):
        for prefill in (1, 8):
            limits = Limits(40.0, max_ttft=longest, min_confidence=0.95)
            problem = problem_of(scenario, calibration, sku, limits, Objective())
            space = Space(
                prefill_gpus=(prefill,), decode_gpus=(8,), mtp_depths=(1,), batch_ratio=1.1
            )
            found = best(Problem(problem.scenario, problem.cluster, limits, calibration, space))
            assert found.prediction is not None
            assert found.prediction.interval_90["ttft_ms"][1] <= 1e3 * longest * (1 + JUST)
            even = best(
                Problem(
                    problem.scenario,
                    problem.cluster,
                    Limits(40.0, max_ttft=longest),
                    calibration,
                    space,
                )
            )
            assert even.prediction is not None
            assert even.prediction.interval_90["ttft_ms"][1] > 1e3 * longest
