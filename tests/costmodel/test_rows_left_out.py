from collections.abc import Sequence

import numpy as np
import pytest

from costmodel.adaptation import (
    Adaptation,
    supported_intervals,
)
from costmodel.fit import Fit
from costmodel.stages import (
    INTERVALS,
)
from costmodel.validation import Compared, Validation
from presets import ServingRow
from tests.costmodel.shipped import GB200, ROWS, SHIPPED


def validation(rows: Sequence[ServingRow], errors: Sequence[float]) -> Validation:
    """Make up relative errors of TPOT; nothing else was measured."""
    count = len(rows)
    known = Compared(1.0 + np.array(errors), np.ones(count), np.ones(count))
    unknown = Compared(np.ones(count), np.full(count, np.nan), np.ones(count))
    figures = {"tpot": known, "ttft": unknown, "throughput": unknown}
    return Validation(tuple(rows), figures, {}, np.ones(count), ())


def compared(before: Sequence[float], after: Sequence[float]) -> Adaptation:
    """An adaptation that moved a constant, with made-up errors before and after."""
    rows = GB200[: len(before)]
    value = SHIPPED.constants["step_time"].model_copy(update={"value": 1e-3})
    file = SHIPPED._replace(constants=SHIPPED.constants | {"step_time": value})
    fit = Fit(file, {"step_time": 0.5}, 1, {"step_time": np.ones(len(rows))})
    first, second = validation(rows, before), validation(rows, after)
    drifts = {"step": "shared", "wait": "none"}
    return Adaptation(SHIPPED, fit, drifts, first, second, first, second)


def test_a_verdict_is_of_the_rows_left_out() -> None:
    assert compared([0.10, -0.10], [0.05, -0.05]).verdict == "better"
    assert compared([0.05, -0.05], [0.10, -0.10]).verdict == "worse"
    # By hand: from 5 to 10 percent is one spread of TPOT, 5 percent.
    assert compared([0.05, -0.05], [0.10, -0.10]).change == pytest.approx(1.0)
    # What no table shows is no change, but what one shows is.
    assert compared([0.05, -0.05], [0.0504, -0.0504]).verdict == "better"
    assert compared([0.05, -0.05], [0.0506, -0.0506]).verdict == "worse"


def both(tpot: float, throughput: float, ttft: float) -> Validation:
    """Two rows with the same relative error of each figure."""
    one = {"tpot": tpot, "throughput": throughput, "ttft": ttft}
    figures = {n: Compared(np.full(2, 1 + e), np.ones(2), np.ones(2)) for n, e in one.items()}
    return Validation(tuple(GB200[:2]), figures, {}, np.ones(2), ())


@pytest.mark.parametrize(
    ("after", "worse"),
    [
        ((0.05, 0.05, 0.30), False),
        ((0.05, 0.05, 0.50), False),  # (-1 + 0 + 0.67) / 3 spreads
        ((0.05, 0.20, 0.30), True),  # (-1 + 2.1) / 3: a gain of one figure pays for no such loss
        ((0.1006, 0.01, 0.01), True),  # TPOT must not get worse, whatever the others do
    ],
)
def test_a_verdict_weighs_figures_by_the_error_of_a_good_row(
    after: tuple[float, float, float], worse: bool
) -> None:
    found = compared([0.1, 0.1], [0.1, 0.1])
    before, end = both(0.10, 0.05, 0.30), both(*after)
    found = Adaptation(SHIPPED, found.fit, found.drifts, before, end, before, end)
    assert found.worse is worse


def test_a_change_is_the_mean_over_figures_in_spreads() -> None:
    found = compared([0.1, 0.1], [0.1, 0.1])
    before, end = both(0.10, 0.05, 0.30), both(0.05, 0.05, 0.45)
    found = Adaptation(SHIPPED, found.fit, found.drifts, before, end, before, end)
    # By hand: a spread of TPOT less, half of one of TTFT more, throughput the same.
    assert found.change == pytest.approx((-1.0 + 0.0 + 0.5) / 3)


def inside(errors: Sequence[float], sku: str = "gb200") -> dict[str, float]:
    """Half-widths after rows left out with these log errors of TPOT, in FP8."""
    rows = [row for row in ROWS if row.sku == sku and row.precision == "fp8"][: len(errors)]
    found = supported_intervals(SHIPPED, validation(rows, np.expm1(errors).tolist()))
    return {name: constant.value for name, constant in found.items()}


def test_rows_left_out_widen_an_interval_to_hold_nine_of_ten() -> None:
    name = "tpot_half_width.fp8"
    shipped = SHIPPED.constants[name].value
    assert 0.10 < shipped < 0.12
    # Ten rows: nine are inside the ninth largest, one may be outside.
    ten = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.2, 0.9]
    assert inside(ten)[name] == pytest.approx(0.2)
    assert inside([-error for error in ten])[name] == pytest.approx(0.2)
    # Nine rows: all must be inside to be nine of ten, and so of fewer.
    assert inside(ten[1:])[name] == pytest.approx(0.9)
    assert inside([0.02, 0.3])[name] == pytest.approx(0.3)
    assert inside([0.4])[name] == pytest.approx(0.4)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 12])
def test_no_rows_left_out_narrow_an_interval(count: int) -> None:
    shipped = {name: SHIPPED.constants[name].value for name in INTERVALS}
    assert inside([0.001] * count) == shipped
    assert inside([0.0] * count) == shipped


def test_intervals_widen_by_class_of_row_and_figure_alone() -> None:
    shipped = {name: SHIPPED.constants[name].value for name in INTERVALS}
    assert inside([0.5] * 4) == shipped | {"tpot_half_width.fp8": pytest.approx(0.5)}
    assert inside([0.5] * 4, "h100") == shipped | {"tpot_half_width.crossing": pytest.approx(0.5)}


def test_intervals_stay_inside_their_bounds() -> None:
    assert inside([9.0] * 3)["tpot_half_width.fp8"] == SHIPPED.constants["tpot_half_width.fp8"].high


def test_what_lies_outside_the_data_is_wider_already() -> None:
    rows = [row for row in ROWS if row.sku == "gb200" and row.precision == "fp8"][:4]
    narrower = SHIPPED.coverage.model_copy(
        update={"skus": tuple(set(SHIPPED.coverage.skus) - {"gb200"}), "corpus": None}
    )
    errors = validation(rows, np.expm1([0.3] * 4).tolist())
    found = supported_intervals(SHIPPED._replace(coverage=narrower), errors)
    # One thing outside widens by 1.6: an error of 0.3 there is one of 0.1875 inside.
    assert SHIPPED.calibration.extrapolation_widening == 1.6
    assert found["tpot_half_width.fp8"].value == pytest.approx(0.3 / 1.6)
