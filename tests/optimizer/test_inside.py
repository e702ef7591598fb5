"""Searches that keep to what lies inside the data of the calibration."""

import pytest

from costmodel.calibration import Calibration
from costmodel.results import Scenario
from optimizer import Limits, Problem, best, curve
from optimizer.sensitivity import wider_problems
from presets import InputError, default_cluster


@pytest.mark.parametrize("sku", ["gb200", "b200"])
def test_within_the_data_nothing_is_extrapolated(
    sku: str, scenario: Scenario, calibration: Calibration
) -> None:
    cluster, targets = default_cluster(sku, 72), [30.0, 75.0, 125.0, 250.0]
    inside = curve(Problem(scenario, cluster, Limits(1.0, within_data=True), calibration), targets)
    whole = curve(Problem(scenario, cluster, Limits(1.0), calibration), targets)
    for few, all_of in zip(inside, whole, strict=True):
        assert few.prediction is not None
        assert all_of.prediction is not None
        assert few.prediction.origin == "modelled"
        assert {each.prediction.origin for each in few.runners_up} == {"modelled"}
        assert few.search.candidates < all_of.search.candidates
        best_of_all = all_of.prediction.usd_per_m_total_tokens
        assert few.prediction.usd_per_m_total_tokens >= best_of_all * (1 - 1e-9)
    assert "extrapolated" in {each.prediction.origin for each in whole if each.prediction}


@pytest.mark.parametrize(
    ("sku", "changes", "reason"),
    [
        ("gb300", {}, "machine gb300"),
        ("b200", {"isl": 20_000, "osl": 9_000}, "input length 20000, output length 9000"),
    ],
)
def test_what_lies_outside_the_data_is_told(
    sku: str, changes: dict[str, int], reason: str, scenario: Scenario, calibration: Calibration
) -> None:
    asked, cluster = scenario.model_copy(update=changes), default_cluster(sku, 72)
    with pytest.raises(InputError, match=f"within_data: no decode worker .*: {reason}; leave"):
        best(Problem(asked, cluster, Limits(60.0, within_data=True), calibration))


def test_within_the_data_the_machine_has_no_shadow_price(
    scenario: Scenario, calibration: Calibration
) -> None:
    limits = Limits(60.0, within_data=True)
    problem = Problem(scenario, default_cluster("b200", 72), limits, calibration)
    found = {each.limit for each in wider_problems(problem)}
    assert found == {"max_gpus", "target"}
