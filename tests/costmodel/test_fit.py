import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.calibration import Calibration, CalibrationFile, calibration_of, constants_of
from costmodel.calibration_file import shipped_calibration
from costmodel.deployments import case_of, deployments_of
from costmodel.fit import ROBUST_SCALE, Residuals, fit_constants, linearised, softened
from costmodel.inputs import FloatArray
from costmodel.latencies import exchange_residuals, reduce_residuals
from costmodel.observations import observations_of, step_residuals, wait_residuals
from costmodel.stages import ALL_REDUCE, ALL_TO_ALL, PREFILL, fitted_names, step_names
from presets import ServingRow, allreduce_rows, alltoall_rows, serving_rows

Making = Callable[[Sequence[ServingRow], Calibration], list[ServingRow]]
SHIPPED = shipped_calibration()


def wide(file: CalibrationFile, names: tuple[str, ...]) -> CalibrationFile:
    """Give some constants a prior that says almost nothing."""
    loose = {name: file.constants[name].model_copy(update={"spread": 5.0}) for name in names}
    return file._replace(constants=file.constants | loose)


def test_constants_behind_made_up_rows_are_found_again(as_made: Making) -> None:
    names = ("layer_time", "acceptance", "attention_efficiency")
    flat = constants_of(SHIPPED.calibration)
    truth = flat | {"layer_time": 50e-6, "acceptance": 0.9, "attention_efficiency": 0.3}
    rows = [row for row in serving_rows() if row.sku == "gb200" and row.mtp_depth == 1][:8]
    rows = as_made(rows, calibration_of(truth, SHIPPED.coverage))
    deployments, seen = deployments_of([case_of(row) for row in rows]), observations_of(rows)
    fit = fit_constants(wide(SHIPPED, names), names, lambda c: step_residuals(deployments, seen, c))
    for name in names:
        constant = fit.file.constants[name]
        assert constant.value == pytest.approx(truth[name], rel=0.02), name
        assert constant.standard_error is not None
        assert 0 < constant.standard_error < 1
        assert fit.informed[name] > 0.95


def test_residuals_of_many_calibrations_are_those_of_each() -> None:
    # A fit asks for all its differences in one evaluation: constants of shape (p, 1).
    rows = serving_rows()[::9]
    deployments, seen = deployments_of([case_of(row) for row in rows]), observations_of(rows)
    flat = constants_of(SHIPPED.calibration)
    others = fitted_names(SHIPPED, (*PREFILL, *ALL_REDUCE, *ALL_TO_ALL))
    names = (*step_names(SHIPPED), *others)
    points = [flat | {name: flat[name] * 1.02} for name in names]
    columns = {name: np.array([[point[name]] for point in points]) for name in flat}
    kinds: tuple[Residuals, ...] = (
        lambda c: step_residuals(deployments, seen, c),
        lambda c: wait_residuals(deployments, seen, c),
        exchange_residuals(alltoall_rows()),
        reduce_residuals(allreduce_rows()),
    )
    for residuals in kinds:
        many = residuals(calibration_of(columns, SHIPPED.coverage))
        alone = [residuals(calibration_of(point, SHIPPED.coverage)) for point in points]
        np.testing.assert_allclose(many, np.stack(alone), rtol=1e-6, atol=1e-6)


def test_a_constant_without_data_stays_at_its_prior() -> None:
    hopper = "attention_efficiency[kernel_profile=hopper]"
    moved = SHIPPED.constants[hopper].model_copy(update={"prior": 0.6, "value": 0.9})
    start = SHIPPED._replace(constants=SHIPPED.constants | {hopper: moved})
    rows = [row for row in serving_rows() if row.sku == "b200"][:4]
    deployments, seen = deployments_of([case_of(row) for row in rows]), observations_of(rows)
    names = ("layer_time", hopper)
    fit = fit_constants(start, names, lambda c: step_residuals(deployments, seen, c))
    assert fit.file.constants[hopper].value == pytest.approx(0.6, rel=1e-3)
    assert fit.file.constants[hopper].standard_error == pytest.approx(moved.spread, rel=1e-3)
    assert fit.informed[hopper] == pytest.approx(0, abs=1e-3)
    assert fit.informed["layer_time"] > 0.3


def test_data_and_prior_meet_by_their_weights() -> None:
    # The data say log 2 more than the prior; both are equally sure, so the fit lies midway.
    constant = SHIPPED.constants["rounds"].model_copy(
        update={"value": 10.0, "prior": 10.0, "spread": 1.0, "low": 1.0, "high": 100.0}
    )
    start = SHIPPED._replace(constants=SHIPPED.constants | {"rounds": constant})

    def residuals(calibration: Calibration) -> FloatArray:
        # One deviation in all, as ten thousand small ones: none counts as an outlier.
        return np.asarray(np.ones(10_000) * np.log(calibration.rounds / 20) / 100)

    fit = fit_constants(start, ("rounds",), residuals)
    assert fit.file.constants["rounds"].value == pytest.approx(10 * np.sqrt(2), rel=1e-3)
    assert fit.file.constants["rounds"].standard_error == pytest.approx(np.sqrt(0.5), rel=1e-2)
    assert fit.informed["rounds"] == pytest.approx(0.5, abs=1e-2)


def test_a_constant_without_data_moves_as_its_prior_goes_with_another() -> None:
    # Logs of two constants are 1 wide and correlate by a half; the data put the first at log 2, as
    # sure as its prior is: it moves half the way, and the second half as far as that.
    pair = ("rounds", "step_time")
    wide = {"low": 1e-6, "high": 1e6}
    constants = {name: SHIPPED.constants[name].model_copy(update=wide) for name in pair}
    start = SHIPPED._replace(constants=SHIPPED.constants | constants)
    prior = np.array([[1.0, 0.5], [0.5, 1.0]])

    def residuals(calibration: Calibration) -> FloatArray:
        return np.asarray(np.ones(10_000) * np.log(calibration.rounds / 20) / 100)

    fit = fit_constants(start, pair, residuals, covariance=prior)
    logs = [
        math.log(fit.file.constants[name].value / SHIPPED.constants[name].prior) for name in pair
    ]
    assert logs == pytest.approx([math.log(2) / 2, math.log(2) / 4], rel=1e-3)
    errors = [fit.file.constants[name].standard_error for name in pair]
    # Of the second a quarter of what the first lost: 1 - 0.5 * 0.25.
    assert errors == pytest.approx([math.sqrt(0.5), math.sqrt(0.875)], rel=1e-2)
    assert fit.file.correlations[-1].constants == pair


def test_pulls_of_the_residuals_add_up_to_the_move() -> None:
    def residuals(calibration: Calibration) -> FloatArray:
        slopes = np.array([2.0, 1.0, 1.0, 0.0]) / 10
        return np.asarray(slopes * np.log(calibration.rounds / 20))

    fit = fit_constants(SHIPPED, ("rounds",), residuals)
    pulls = fit.pulls["rounds"]
    constant = fit.file.constants["rounds"]
    assert pulls.sum() == pytest.approx(math.log(constant.value / constant.prior), rel=1e-6)
    # A residual counts by its slope times its size, so by the square of the slope.
    assert pulls / pulls.sum() == pytest.approx([4 / 6, 1 / 6, 1 / 6, 0], abs=1e-3)


def test_linearised_at_the_values_by_hand() -> None:
    at, slopes = linearised(
        SHIPPED, ("rounds", "step_time"), lambda c: np.ones(2) * np.log(c.rounds / 20) / 100
    )
    value = SHIPPED.constants["rounds"].value
    assert at == pytest.approx([math.log(value / 20) / 100] * 2, rel=1e-3)
    assert slopes == pytest.approx(np.array([[0.01, 0.0], [0.01, 0.0]]), rel=1e-3)


def test_bounds_hold_whatever_the_data_say() -> None:
    high = SHIPPED.constants["rounds"].high
    fit = fit_constants(
        SHIPPED, ("rounds",), lambda c: np.ones(50) * (np.log(c.rounds / high) - 3.0) / 0.01
    )
    assert fit.file.constants["rounds"].value == pytest.approx(high, rel=1e-3)
    assert fit.file.constants["rounds"].value <= high


def test_only_the_named_constants_move_and_progress_is_told() -> None:
    calls = []
    fit = fit_constants(
        SHIPPED,
        ("rounds",),
        lambda c: np.ones(1) * np.log(c.rounds / 12) / 0.1,
        progress=lambda: calls.append(1),
        maximum_evaluations=5,
    )
    moved = {n for n, c in fit.file.constants.items() if c != SHIPPED.constants[n]}
    assert moved == {"rounds"}
    assert len(calls) >= fit.evaluations
    assert fit.evaluations <= 5
    assert fit.file.coverage == SHIPPED.coverage


def test_softened_by_hand() -> None:
    # 2 (sqrt(1 + (2 / 1.5)^2) - 1) = 4/3; times 1.5^2, 3; against a square of 4.
    assert ROBUST_SCALE == 1.5
    assert softened(np.array([2.0, -2.0])) ** 2 == pytest.approx([3.0, 3.0])


@given(st.floats(1e-3, 1e6))
def test_softened_keeps_sign_and_order_and_never_grows(residual: float) -> None:
    soft, opposite, larger = softened(np.array([residual, -residual, 1.1 * residual]))
    assert opposite == -soft
    assert soft < larger
    assert 0 < soft <= residual * (1 + 1e-8)


def test_small_errors_count_squared_and_large_ones_linearly() -> None:
    small, large = softened(np.array([0.01])), softened(np.array([1e4, 2e4])) ** 2
    assert small[0] == pytest.approx(0.01, rel=1e-4)
    assert large[1] / large[0] == pytest.approx(2, rel=1e-3)
