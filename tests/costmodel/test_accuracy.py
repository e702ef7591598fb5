"""How well the published rows are predicted by a fit that never saw them or their twins."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import costmodel.accuracy as module
from costmodel.accuracy import KINDS, count_fits, measure_accuracy
from costmodel.calibration import Calibration, CalibrationFile
from costmodel.calibration_file import shipped_calibration
from costmodel.coverage import coverage_of
from costmodel.fit import Fit
from costmodel.latencies import exchange_kernel
from costmodel.observations import configuration_key
from costmodel.stages import (
    PREFILL,
    calibrate_collectives,
    calibrate_serving,
    step_names,
)
from costmodel.validation import Statistics, serving_row_of, validate, without_twins
from presets import ServingRow, alltoall_rows, published_rows, serving_rows

PUBLISHED = [serving_row_of(row) for row in published_rows()]
UNSEEN = {configuration_key(row) for row in PUBLISHED}


def priors() -> CalibrationFile:
    """Start where no serving row has moved anything."""
    shipped = calibrate_collectives(shipped_calibration()).file
    moved = {
        name: shipped.constants[name].model_copy(
            update={"value": shipped.constants[name].prior, "standard_error": None}
        )
        for name in (*step_names(shipped), *PREFILL)
    }
    return shipped._replace(constants=shipped.constants | moved)


@pytest.fixture(scope="module")
def held_out() -> dict[str, Statistics]:
    rows = without_twins(serving_rows(), PUBLISHED)
    assert not UNSEEN & {configuration_key(row) for row in rows}
    fit = calibrate_serving(rows, priors())
    return validate(PUBLISHED, fit.file.calibration).statistics()


def of(statistics: Statistics, name: str) -> float:
    value = statistics[name]
    assert value is not None
    return float(value)


def test_every_published_row_counts(held_out: dict[str, Statistics]) -> None:
    assert held_out["tpot"]["known"] == held_out["throughput"]["known"] == 20


def test_tpot_of_published_rows(held_out: dict[str, Statistics]) -> None:
    assert of(held_out["tpot"], "mape") <= 0.08
    assert of(held_out["tpot"], "max_ape") <= 0.18


def test_throughput_of_published_rows(held_out: dict[str, Statistics]) -> None:
    assert of(held_out["throughput"], "mape") <= 0.10


def test_no_fit_sees_what_it_predicts(plain: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for sku in ("b200", "gb200", "h100") for row in serving_rows() if row.sku == sku]
    rows = rows[::4]
    fits: list[Sequence[ServingRow]] = []

    def fitted(
        data: Sequence[Sequence[ServingRow]], start: object, progress: object
    ) -> list[Calibration]:
        """Leave a mark on each calibration: the fixed time of its step is its number in ms."""
        fits.extend(data)
        return [plain._replace(step_time=1e-3 * (1 + number)) for number in range(len(data))]

    monkeypatch.setattr(module, "_fit_all", fitted)
    monkeypatch.setattr(module, "_widths", lambda _: {})
    found = measure_accuracy(rows, published_rows(), shipped_calibration())
    kinds = len(KINDS)
    assert len(fits) == count_fits(rows) == 8 + 3 + kinds + 1 + 8

    def fit_behind(launch_ms: float, other_ms: float) -> int:
        return round(launch_ms - other_ms) - 1

    base = plain.step_time * 1e3
    parts = [
        (found.cross_validated, range(8)),
        *(
            (found.machine_left_out[sku], range(8 + number, 9 + number))
            for number, sku in enumerate(("b200", "gb200", "h100"))
        ),
        *(
            (found.kind_left_out[kind], range(11 + number, 12 + number))
            for number, kind in enumerate(KINDS)
        ),
        (found.published, range(11 + kinds, 12 + kinds)),
        (found.published_cross_validated, range(12 + kinds, 20 + kinds)),
    ]
    for part, allowed in parts:
        marks = [line["launch"] for line in part.breakdown_ms]
        plain_marks = [line["launch"] - base for line in validate(part.rows, plain).breakdown_ms]
        for row, launch, other in zip(part.rows, marks, plain_marks, strict=True):
            number = fit_behind(launch, other)
            assert number in allowed
            assert configuration_key(row) not in {configuration_key(r) for r in fits[number]}
    assert list(found.cross_validated.rows) == rows
    for sku, part in found.machine_left_out.items():
        assert {row.sku for row in part.rows} == {sku}
        assert part.rows
    for number, (kind, is_of_kind) in enumerate(KINDS.items()):
        assert list(found.kind_left_out[kind].rows) == [row for row in rows if is_of_kind(row)]
        assert found.kind_left_out[kind].rows
        assert not any(is_of_kind(row) for row in fits[11 + number])
    assert list(found.published.rows) == PUBLISHED
    assert list(found.published_cross_validated.rows) == PUBLISHED
    machines = [{row.sku for row in fit} for fit in fits[8:11]]
    assert machines == [{"gb200", "h100"}, {"b200", "h100"}, {"b200", "gb200"}]


def test_fits_side_by_side_come_back_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shipped = shipped_calibration()

    def fit(rows: Sequence[ServingRow], start: CalibrationFile) -> Fit:
        """Leave the number of rows as a mark."""
        marked = start.constants["rounds"].model_copy(update={"value": float(len(rows))})
        return Fit(start._replace(constants=start.constants | {"rounds": marked}), {}, 0)

    monkeypatch.setattr(module, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(module, "calibrate_serving", fit)
    told: list[int] = []
    data = [serving_rows()[:count] for count in (5, 3, 9)]
    fitted = module._fit_all(data, shipped, lambda: told.append(1))
    assert [calibration.rounds for calibration in fitted] == [5, 3, 9]
    # What lies outside the rows of a fit is outside its intervals too.
    assert [calibration.coverage for calibration in fitted] == [coverage_of(rows) for rows in data]
    assert len(told) == 3


def test_latencies_of_an_unseen_width() -> None:
    errors = module._widths(shipped_calibration())
    assert {width for found in errors.values() for width in found} == {2, 4, 8, 16, 32, 64}
    assert set(errors) == {exchange_kernel(row) for row in alltoall_rows()}
    found = [error for widths in errors.values() for error in widths.values()]
    assert 0 < np.mean(found) <= 0.15
