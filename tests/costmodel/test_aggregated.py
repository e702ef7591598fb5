"""What splitting experts costs, on measured workers that prefill and decode."""

import numpy as np
import pytest

from costmodel.aggregated import aggregated_residuals
from costmodel.calibration import Calibration, load_calibration, shipped_calibration
from costmodel.inputs import FloatArray
from costmodel.observations import TIME_SPREAD
from costmodel.stages import fit_split
from presets import AggregatedRow, aggregated_rows

SPLIT = [row for row in aggregated_rows() if row.ep < row.gpus]


def errors(rows: list[AggregatedRow], calibration: Calibration) -> FloatArray:
    """Relative errors of predicted TPOT [1]."""
    return np.expm1(aggregated_residuals(rows)(calibration) * TIME_SPREAD)


def test_split_fp4_experts_cost_more_than_their_share() -> None:
    rows = [row for row in SPLIT if row.precision == "fp4"]
    assert len(rows) == 12
    shipped = load_calibration()
    without = errors(rows, shipped._replace(split_tile_time=1e-30))
    assert np.all(without < 0)
    assert without.mean() == pytest.approx(-0.09, abs=0.01)
    found = errors(rows, shipped)
    assert np.abs(found).mean() < 0.04
    assert abs(found.mean()) < 0.01


def test_the_same_shape_in_fp8_tells_that_the_all_reduce_is_not_too_cheap() -> None:
    rows = [row for row in SPLIT if row.precision == "fp8"]
    assert len(rows) == 18
    found = errors(rows, load_calibration())
    assert np.abs(found).mean() < 0.05
    assert abs(found.mean()) < 0.02


def test_the_shipped_constant_is_what_the_rows_set() -> None:
    shipped = shipped_calibration()
    fit = fit_split(shipped)
    fitted, constant = (file.constants["split_tile_time"] for file in (fit.file, shipped))
    assert fitted.value == pytest.approx(constant.value, rel=0.01)
    assert fitted.standard_error == pytest.approx(constant.standard_error, rel=0.05)
    assert fit.informed["split_tile_time"] > 0.9
    others = {name for name, one in fit.file.constants.items() if one != shipped.constants[name]}
    assert others <= {"split_tile_time"}


def test_a_mean_and_a_median_are_compared_with_their_own() -> None:
    row = next(row for row in SPLIT if row.mtp_depth == 3 and row.tpot_median_ms)
    as_mean = row.model_copy(update={"tpot_ms": row.tpot_median_ms, "tpot_median_ms": None})
    calibration = load_calibration()
    median, mean = errors([row, as_mean], calibration)
    assert (1 + mean) / (1 + median) == pytest.approx(1 - 3 * calibration.mean_to_median)
