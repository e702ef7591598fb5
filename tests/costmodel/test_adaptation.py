import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import costmodel.adaptation as module
from costmodel.adaptation import (
    LEAVE_ONE_OUT,
    MOVED,
    STEP_SCATTER,
    WAIT_SCATTER,
    Adaptation,
    adapt,
    fit_to,
)
from costmodel.calibration import Anchor, Calibration, CalibrationFile, calibration_of, constants_of
from costmodel.calibration_file import read_calibration, write_calibration
from costmodel.coverage import coverage_of, joined_coverage
from costmodel.deployments import case_of, deployments_of
from costmodel.deviations import base_name
from costmodel.drift import DRIFT
from costmodel.fit import Fit, Residuals, softened
from costmodel.inputs import FloatArray
from costmodel.observations import (
    clustered_observations,
    configuration_key,
    step_residuals,
    wait_residuals,
)
from costmodel.stages import (
    ALL_REDUCE,
    ALL_TO_ALL,
    ENGINE,
    FOLDS,
    INFORMED,
    INTERVALS,
    MIXED,
    MIXED_WAIT,
    NOT_FITTED,
    PREFILL,
    SPLIT,
    fitted_names,
    step_names,
)
from costmodel.validation import validate
from presets import ServingRow
from tests.costmodel.shipped import FLAT, GB200, ROWS, SHIPPED, distinct

Making = Callable[[Sequence[ServingRow], Calibration], list[ServingRow]]


# A user's rows: 12 configurations of GB200 as the model makes them, but with longer layers.

SLOWER = 1.5


def made(as_made: Making, rows: Sequence[ServingRow], **constants: float) -> list[ServingRow]:
    return as_made(rows, calibration_of(FLAT | constants, SHIPPED.coverage))


@pytest.fixture(scope="module")
def adapted(as_made: Making) -> Adaptation:
    rows = made(as_made, GB200[::2][:12], layer_time=SLOWER * FLAT["layer_time"])
    assert len(rows) == 12
    return adapt(rows, SHIPPED)


def moved(file: CalibrationFile, name: str) -> float:
    """How far a constant moved, in deviations of what was known before."""
    before, after = SHIPPED.constants[name], file.constants[name]
    spread = math.hypot(before.standard_error, DRIFT) if before.standard_error else before.spread
    return math.log(after.value / before.value) / spread


def mean_error(rows: Sequence[ServingRow], calibration: Calibration, figure: str = "tpot") -> float:
    return float(validate(rows, calibration).statistics()[figure]["mape"] or 0.0)


def test_rows_of_slower_layers_move_their_constant(adapted: Adaptation) -> None:
    name = "layer_time"
    assert adapted.drifts == {"step": "shared", "wait": "none"}
    ratio = adapted.fit.file.constants[name].value / SHIPPED.constants[name].value
    release = adapted.fit.file.constants["engine_factor"].value
    assert 1.2 < release * ratio < SLOWER  # some of it may as well be a slower release
    assert ratio > 1.1
    assert adapted.fit.informed[name] > 0.2
    others = set(adapted.fit.informed) - {name}
    assert max(abs(moved(adapted.fit.file, other)) for other in others) < 1
    assert moved(adapted.fit.file, name) > 1


def test_another_engine_release_is_one_factor(as_made: Making) -> None:
    assert FLAT["engine_factor"] == 1.0
    fit, drifts = fit_to(made(as_made, GB200[::3][:8], engine_factor=0.85), SHIPPED)
    assert drifts == {"step": "shared", "wait": "none"}
    assert fit.file.constants["engine_factor"].value == pytest.approx(0.87, abs=0.005)
    assert abs(moved(fit.file, "engine_factor")) > 2 * max(
        abs(moved(fit.file, name)) for name in fit.informed if name != "engine_factor"
    )


def slowed(row: ServingRow, factor: float) -> ServingRow:
    """The row as a cluster with longer steps would have measured it, with all its scatter."""
    scale = dict.fromkeys(("tpot_ms", "tpot_median_ms", "iteration_ms"), factor)
    scale |= {"total_tok_s_per_gpu": 1 / factor}
    known = {name: by for name, by in scale.items() if getattr(row, name) is not None}
    return row.model_copy(update={name: getattr(row, name) * by for name, by in known.items()})


def test_a_slower_cluster_is_found_through_the_scatter_of_real_rows() -> None:
    rows = [slowed(row, 1.15) for row in GB200]
    seen, left = rows[::3][:12], [row for place, row in enumerate(rows) if place % 3]
    fit, _ = fit_to(seen, SHIPPED)
    assert mean_error(left, SHIPPED.calibration) > 0.11
    # As well as the shipped fit predicts the rows as they were measured.
    as_measured = mean_error([row for i, row in enumerate(GB200) if i % 3], SHIPPED.calibration)
    assert mean_error(left, fit.file.calibration) < as_measured + 0.005
    for figure in ("tpot", "throughput"):
        assert mean_error(left, fit.file.calibration, figure) < 0.5 * mean_error(
            left, SHIPPED.calibration, figure
        )


@pytest.mark.parametrize("sku", sorted({row.sku for row in ROWS}))
def test_shipped_rows_ask_for_no_change_of_the_shipped_fit(sku: str) -> None:
    fit, drifts = fit_to([row for row in ROWS if row.sku == sku][::3], SHIPPED)
    assert drifts == {"step": "none", "wait": "none"}
    assert fit.file == SHIPPED
    assert fit.informed == {}


def test_rows_that_agree_change_no_constant_and_no_error() -> None:
    found = adapt(GB200[:4], SHIPPED)
    assert found.verdict == "unchanged"
    assert not found.worse
    assert found.moves == ()
    assert found.change == 0
    constants = {n: c for n, c in found.fit.file.constants.items() if n not in INTERVALS}
    assert constants == {n: c for n, c in SHIPPED.constants.items() if n not in INTERVALS}
    np.testing.assert_array_equal(
        found.before.figures["tpot"].predicted, found.after.figures["tpot"].predicted
    )
    assert found.fit.file.coverage == joined_coverage(SHIPPED.coverage, coverage_of(GB200[:4]))


def test_what_rows_do_not_inform_moves_only_with_what_it_was_fitted_with(
    adapted: Adaptation,
) -> None:
    constants = adapted.fit.file.constants
    for name in SHIPPED.constants:
        others = base_name(name) in (*ALL_TO_ALL, *ALL_REDUCE, *NOT_FITTED, *PREFILL)
        if others and name not in (*INTERVALS, *ENGINE):
            assert constants[name] == SHIPPED.constants[name], name
            assert name not in adapted.fit.informed
    for name in INTERVALS:
        if not name.endswith("fp4"):
            assert constants[name] == SHIPPED.constants[name], name
    for name in step_names(SHIPPED):
        if "hopper" in name or name == "crossing_factor":
            before, after = SHIPPED.constants[name], constants[name]
            assert before.standard_error is not None
            change = abs(math.log(after.value / before.value))
            # A deviation was fitted with its constant, which these rows do inform.
            assert 0 < change < 0.15 * before.standard_error, name
            assert 0 < adapted.fit.informed[name] < 0.05, name


def test_priors_stay_those_of_the_file_before(adapted: Adaptation) -> None:
    for name, constant in adapted.fit.file.constants.items():
        before = SHIPPED.constants[name]
        assert (constant.prior, constant.spread) == (before.prior, before.spread)


def test_an_adaptation_names_the_rows_that_set_a_constant(adapted: Adaptation) -> None:
    for name, share in adapted.fit.informed.items():
        by = adapted.fit.file.constants[name].informed_by
        assert by.endswith(", then 12 rows of gb200") is (share > INFORMED), name
        assert by.startswith(SHIPPED.constants[name].informed_by)


def test_moves_are_told_with_the_rows_that_pulled(adapted: Adaptation) -> None:
    moves = {move.name: move for move in adapted.moves}
    assert next(iter(moves)) == max(
        moves, key=lambda name: abs(math.log(moves[name].after / moves[name].before))
    )
    for name, constant in adapted.fit.file.constants.items():
        change = math.log(constant.value / SHIPPED.constants[name].value)
        assert (name in moves) is (abs(change) >= MOVED), name
        if name in moves:
            assert moves[name].pulls.shape == (12,)
            assert moves[name].pulls.sum() == pytest.approx(change, abs=2e-3)
            assert moves[name].stage == "step"
            assert (moves[name].before, moves[name].after) == (
                SHIPPED.constants[name].value,
                constant.value,
            )


def test_an_adaptation_tells_the_errors_before_and_after(adapted: Adaptation) -> None:
    before, after = adapted.before.statistics()["tpot"], adapted.after.statistics()["tpot"]
    assert before["known"] == after["known"] == 12
    assert before["mape"] is not None
    assert after["mape"] is not None
    assert before["mape"] > 0.1
    assert after["mape"] < 0.03
    assert adapted.verdict == "better"
    assert adapted.shipped_before.rows == ROWS
    assert mean_error(ROWS, SHIPPED.calibration) == pytest.approx(
        adapted.shipped_before.statistics()["tpot"]["mape"]
    )
    assert mean_error(ROWS, adapted.fit.file.calibration) == pytest.approx(
        adapted.shipped_after.statistics()["tpot"]["mape"]
    )


def test_an_adapted_calibration_can_be_written_and_read(
    adapted: Adaptation, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    write_calibration(adapted.fit.file, path)
    again = read_calibration(path)
    assert again.coverage == joined_coverage(SHIPPED.coverage, coverage_of(adapted.before.rows))
    assert again.coverage.rows == SHIPPED.coverage.rows + 12
    # Collectives and waiting keep how their errors go together; what was fitted has it anew.
    assert again.correlations == adapted.fit.file.correlations
    kept = set(again.correlations) & set(SHIPPED.correlations)
    stages = (ALL_TO_ALL, ALL_REDUCE, PREFILL, SPLIT, MIXED, MIXED_WAIT)
    assert {frozenset(one.constants) for one in kept} == {
        frozenset(fitted_names(SHIPPED, stage)) for stage in stages
    }
    fitted = {name for one in again.correlations for name in one.constants}
    assert fitted == {name for one in SHIPPED.correlations for name in one.constants} | set(ENGINE)
    assert constants_of(again.calibration) == pytest.approx(
        constants_of(adapted.fit.file.calibration), rel=1e-5
    )


@pytest.mark.parametrize("count", [5, LEAVE_ONE_OUT, LEAVE_ONE_OUT + 4])
def test_no_adaptation_sees_the_configuration_that_it_is_checked_on(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    rows = distinct(ROWS)[:count]
    fits: list[Sequence[ServingRow]] = []

    def fit(
        kept: Sequence[ServingRow], start: CalibrationFile, progress: object
    ) -> tuple[Fit, dict[str, str]]:
        """Leave a mark: the fixed time of a step is the number of the fit in ms."""
        fits.append(kept)
        mark = start.constants["step_time"].model_copy(update={"value": 1e-3 * len(fits)})
        file = CalibrationFile(start.constants | {"step_time": mark}, start.coverage)
        return Fit(file, {}, 0), {"step": "shared", "wait": "none"}

    told: list[Sequence[ServingRow]] = []

    def no_anchors(kept: Sequence[ServingRow], _: Calibration) -> dict[str, Anchor]:
        """Leave the mark as it is: anchors scale all of a step."""
        told.append(kept)
        return {}

    monkeypatch.setattr(module, "fit_to", fit)
    monkeypatch.setattr(module, "anchors_of_rows", no_anchors)
    found = adapt(rows, SHIPPED)
    assert list(fits[0]) == rows
    assert told == [*fits[1:], rows]  # anchors see what the fit of a fold does
    assert len(fits) - 1 == (count if count <= LEAVE_ONE_OUT else FOLDS)
    assert list(found.before.rows) == list(found.after.rows) == rows
    assert found.before.breakdown_ms == validate(rows, SHIPPED.calibration).breakdown_ms
    step = SHIPPED.calibration.step_time * 1e3
    for row, before, after in zip(
        rows, found.before.breakdown_ms, found.after.breakdown_ms, strict=True
    ):
        number = round(after["launch"] - before["launch"] + step)
        assert 2 <= number <= len(fits)
        assert configuration_key(row) not in {configuration_key(r) for r in fits[number - 1]}


def test_residuals_are_in_units_of_the_scatter_of_the_shipped_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[FloatArray] = []

    def linear(
        start: CalibrationFile, names: Sequence[str], residuals: Residuals
    ) -> tuple[FloatArray, FloatArray]:
        seen.append(residuals(start.calibration))
        return seen[-1], np.zeros((len(seen[-1]), len(names)))

    monkeypatch.setattr(module, "linearised", linear)
    rows = ROWS[:6]
    assert fit_to(rows, SHIPPED)[1] == {"step": "none", "wait": "none"}
    deployments = deployments_of([case_of(row) for row in rows])
    clustered = clustered_observations(rows)
    step = step_residuals(deployments, clustered, SHIPPED.calibration)
    wait = wait_residuals(deployments, clustered, SHIPPED.calibration)
    np.testing.assert_allclose(seen[0] * STEP_SCATTER, step)
    np.testing.assert_allclose(seen[1] * WAIT_SCATTER, wait)


def test_scatter_is_that_of_the_shipped_rows() -> None:
    # Squares of a row's clocks add up to one row's; of TTFT both mean and median count.
    errors = validate(ROWS, SHIPPED.calibration).figures["tpot"].error
    kept = [row for row, error in zip(ROWS, errors, strict=True) if not abs(error) > 1 / 3]
    assert len(ROWS) - len(kept) < 0.03 * len(ROWS)
    deployments = deployments_of([case_of(row) for row in kept])
    seen = clustered_observations(kept)

    def squares(residuals: FloatArray, parts: int) -> FloatArray:
        return np.asarray((softened(residuals).reshape(parts, -1) ** 2).sum(axis=1))

    def weight(*columns: FloatArray) -> float:
        return float(seen.weight[~np.isnan(np.array(columns)).all(axis=0)].sum())

    step = squares(step_residuals(deployments, seen, SHIPPED.calibration), 5)
    rows = weight(seen.tpot_mean, seen.tpot_median, seen.iteration)
    assert pytest.approx(step[:3].sum() / rows, rel=0.02) == STEP_SCATTER**2
    wait = squares(wait_residuals(deployments, seen, SHIPPED.calibration), 3)
    ttft = wait[:2].sum() / weight(seen.ttft_mean, seen.ttft_median)
    assert (
        pytest.approx((ttft + wait[2] / weight(seen.tok_s_per_gpu)) / 2, rel=0.1) == WAIT_SCATTER**2
    )
