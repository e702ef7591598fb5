import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import costmodel.stages as module
from costmodel.calibration import (
    Calibration,
    CalibrationFile,
    calibration_of,
    constants_of,
    read_calibration,
    shipped_calibration,
)
from costmodel.calibration_file import write_calibration
from costmodel.coverage import ENOUGH, coverage_of, joined_coverage
from costmodel.fit import Fit
from costmodel.latencies import exchange_residuals
from costmodel.observations import configuration_key
from costmodel.stages import (
    ALL_REDUCE,
    ALL_TO_ALL,
    DRIFT,
    ENGINE,
    FOLDS,
    INFORMED,
    INTERVALS,
    LEAVE_ONE_OUT,
    NOT_FITTED,
    PREFILL,
    Adaptation,
    _at_priors,
    adapt,
    calibrate,
    calibrate_collectives,
    check_rows,
    interval_constants,
    step_names,
)
from costmodel.validation import Compared, Validation, serving_row_of, validate
from presets import InputError, ServingRow, alltoall_rows, published_rows, serving_rows

Making = Callable[[Sequence[ServingRow], Calibration], list[ServingRow]]
SHIPPED = shipped_calibration()
ROWS = serving_rows()


def test_every_constant_is_set_by_one_data_set_or_none() -> None:
    parts = [step_names(SHIPPED), PREFILL, ALL_REDUCE, ALL_TO_ALL, NOT_FITTED]
    names = [name for part in parts for name in part]
    assert len(names) == len(set(names))
    assert set(names) == set(SHIPPED.constants)


def test_constants_that_are_not_fitted_say_so() -> None:
    for name in NOT_FITTED:
        assert SHIPPED.constants[name].standard_error is None, name
    for name in (*step_names(SHIPPED), *PREFILL, *ALL_REDUCE, *ALL_TO_ALL):
        assert SHIPPED.constants[name].standard_error is not None, name


def test_collectives_fit_their_latencies() -> None:
    fit = calibrate_collectives(SHIPPED)
    assert fit.evaluations > 0
    residuals = exchange_residuals(alltoall_rows())(fit.file.calibration)
    # In units of a tenth of a log: half of the latencies lie within a fifth.
    assert np.median(np.abs(residuals)) < 2
    assert fit.informed["dispatch.latency"] > 0.8
    untouched = set(SHIPPED.constants) - {*ALL_TO_ALL, *ALL_REDUCE}
    assert all(fit.file.constants[name] == SHIPPED.constants[name] for name in untouched)


def test_coverage_is_what_the_rows_span() -> None:
    coverage = coverage_of(ROWS)
    assert coverage.rows == len(ROWS)
    assert coverage.skus == tuple(sorted({row.sku for row in ROWS}))
    # Only H100 rows have a worker that leaves an NVLink domain of 8.
    wide = {r.sku for r in ROWS if r.decode_gpus_per_worker > 8 and not r.sku.startswith("gb")}
    assert coverage.crossing_skus == tuple(sorted(wide)) == ("h100",)
    assert coverage.precisions == ("fp4", "fp8")
    assert coverage.isl == (1024, 8192)
    assert coverage.decode_gpus[0] <= 4
    assert coverage.decode_gpus[1] >= 32
    # H100 rows with attention tp over 16 GPUs leave the domain, and do not count here.
    assert coverage.tp_gpus == (4, 8)
    dp = [row for row in ROWS if row.decode_attention == "dp"]
    assert coverage_of(dp).tp_gpus == (0, 0)
    published = [serving_row_of(row) for row in published_rows()]
    assert coverage_of([*ROWS, *published]) == SHIPPED.coverage
    one = coverage_of(ROWS[:1])
    assert (one.rows, one.skus, one.models) == (1, (), ())  # one configuration says little
    first = (ROWS[0].max_batch, ROWS[0].max_batch)
    both = {"dp": one.max_batch_dp, "tp": one.max_batch_tp}
    other = {"dp": "tp", "tp": "dp"}[ROWS[0].decode_attention]
    assert both == {ROWS[0].decode_attention: first, other: (0, 0)}
    assert coverage.max_batch_dp == (
        min(row.max_batch for row in dp),
        max(row.max_batch for row in dp),
    )


def test_a_name_counts_as_measured_from_eight_configurations() -> None:
    rows = distinct([row for row in ROWS if row.sku == "b200"])
    repeated = [*rows[: ENOUGH - 1], *rows[: ENOUGH - 1]]
    for some, skus in ((repeated, ()), (rows[:ENOUGH], ("b200",))):
        assert coverage_of(some).skus == skus
        assert coverage_of(some).models == (("deepseek-r1-0528",) if skus else ())


def validation(sku: str, errors: list[float]) -> Validation:
    """Make up log errors of TPOT in FP8 rows of a machine; nothing else was measured."""
    count = len(errors)
    rows = [row for row in ROWS if row.sku == sku and row.precision == "fp8"][:count]
    known = Compared(np.exp(np.array(errors)), np.ones(count), np.ones(count))
    unknown = Compared(np.ones(count), np.full(count, np.nan), np.ones(count))
    figures = {"tpot": known, "ttft": unknown, "throughput": unknown}
    return Validation(tuple(rows), figures, {}, np.ones(count), ())


def test_intervals_hold_nine_of_ten_errors_of_their_class() -> None:
    errors = [0.01 * sign * size for size, sign in zip(range(11), [1, -1] * 6, strict=False)]
    inside = interval_constants(SHIPPED, validation("gb200", errors))
    assert set(inside) == set(INTERVALS)
    assert inside["tpot_half_width.fp8"].value == pytest.approx(0.09)
    across = interval_constants(SHIPPED, validation("h100", errors))
    assert across["tpot_half_width.crossing"].value == pytest.approx(0.09)
    for found, name in ((inside, "tpot_half_width.fp8"), (across, "tpot_half_width.crossing")):
        assert all(found[n] == SHIPPED.constants[n] for n in INTERVALS if n != name)


def test_a_few_rows_leave_the_intervals_as_they_are() -> None:
    found = interval_constants(SHIPPED, validation("gb200", [0.01] * (ENOUGH - 1)))
    assert all(found[name] == SHIPPED.constants[name] for name in INTERVALS)


def test_intervals_stay_inside_their_bounds() -> None:
    name = "tpot_half_width.fp8"
    constant = SHIPPED.constants[name]
    none = interval_constants(SHIPPED, validation("gb200", [0.0] * ENOUGH))
    assert none[name].value == constant.low
    wild = interval_constants(SHIPPED, validation("gb200", [9.0] * ENOUGH))
    assert wild[name].value == constant.high


def test_a_whole_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    # The whole course of it on few rows and constants.
    monkeypatch.setattr(module, "step_names", lambda _: ("layer_time", "acceptance_1"))
    monkeypatch.setattr(module, "PREFILL", ("first_token_time",))
    monkeypatch.setattr(module, "FOLDS", 2)
    rows = [row for row in ROWS if row.sku == "gb200" and row.mtp_depth == 1][:4]
    calls: list[int] = []
    fit = calibrate(rows, SHIPPED, progress=lambda: calls.append(1))
    assert len(calls) >= fit.evaluations > 0
    assert fit.file.coverage == coverage_of(rows)
    fitted = {"layer_time", "acceptance_1", "first_token_time", *ALL_TO_ALL, *ALL_REDUCE}
    assert set(fit.informed) == fitted
    for name, constant in fit.file.constants.items():
        if name not in fitted | set(INTERVALS):
            assert constant == _at_priors(SHIPPED).constants[name], name
        assert constant.low <= constant.value <= constant.high


def test_rows_without_measurements_set_nothing() -> None:
    names = ("tpot_ms", "tpot_median_ms", "iteration_ms", "tok_s_per_user")
    blank = [row.model_copy(update=dict.fromkeys(names)) for row in ROWS[:20]]
    for rows in ([], blank):
        with pytest.raises(InputError, match="none holds a measurement"):
            adapt(rows, SHIPPED)


def test_rows_that_say_interactivity_alone_can_be_fitted() -> None:
    blank = dict.fromkeys(("tpot_ms", "tpot_median_ms", "iteration_ms"))
    rows = [
        row.model_copy(update=blank | {"tok_s_per_user": 1e3 / row.tpot_median_ms})
        for row in ROWS
        if row.tpot_median_ms is not None
    ][:3]
    check_rows(rows)
    with pytest.raises(InputError, match=r"fill one of .*, tok_s_per_user$"):
        check_rows([row.model_copy(update={"tok_s_per_user": None}) for row in rows])


@pytest.mark.parametrize("rows", [ROWS[:1], ROWS[:1] * 2])
@pytest.mark.parametrize("fit", [calibrate, adapt])
def test_one_configuration_cannot_be_checked(
    fit: Callable[[Sequence[ServingRow], CalibrationFile], object], rows: Sequence[ServingRow]
) -> None:
    with pytest.raises(InputError, match="not enough to calibrate; give 2 or more") as caught:
        fit(rows, SHIPPED)
    assert "\n" not in str(caught.value)


# A user's rows: 12 configurations of GB200 as the model makes them, but with longer layers.

SLOWER = 1.5
STAY = (*(name for name in step_names(SHIPPED) if "hopper" in name), "crossing_factor")


def distinct(rows: Sequence[ServingRow]) -> list[ServingRow]:
    """One row of each configuration."""
    return list({configuration_key(row): row for row in rows}.values())


@pytest.fixture(scope="module")
def adapted(as_made: Making) -> Adaptation:
    flat = constants_of(SHIPPED.calibration)
    truth = flat | {"layer_time": SLOWER * flat["layer_time"]}
    rows = distinct([row for row in ROWS if row.sku == "gb200" and row.precision == "fp4"])
    rows = as_made(rows[::2][:12], calibration_of(truth, SHIPPED.coverage))
    assert len(rows) == 12
    return adapt(rows, SHIPPED)


def moved(adapted: Adaptation, name: str) -> float:
    """How far a constant moved, in deviations of what was known before."""
    before, after = SHIPPED.constants[name], adapted.fit.file.constants[name]
    spread = math.hypot(before.standard_error, DRIFT) if before.standard_error else before.spread
    return math.log(after.value / before.value) / spread


def test_rows_of_slower_layers_move_their_constant(adapted: Adaptation) -> None:
    name = "layer_time"
    ratio = adapted.fit.file.constants[name].value / SHIPPED.constants[name].value
    release = adapted.fit.file.constants["engine_factor"].value
    assert 1.2 < release * ratio < SLOWER  # some of it may as well be a slower release
    assert ratio > 1.1
    assert adapted.fit.informed[name] > 0.3
    others = set(adapted.fit.informed) - {name}
    assert max(abs(moved(adapted, other)) for other in others) < 1 < moved(adapted, name)


def test_another_engine_release_is_one_factor(as_made: Making) -> None:
    flat = constants_of(SHIPPED.calibration)
    assert flat["engine_factor"] == 1.0
    truth = calibration_of(flat | {"engine_factor": 0.85}, SHIPPED.coverage)
    rows = distinct([row for row in ROWS if row.sku == "gb200" and row.precision == "fp4"])
    found = adapt(as_made(rows[::3][:8], truth), SHIPPED)
    assert found.fit.file.constants["engine_factor"].value == pytest.approx(0.85, rel=0.05)
    assert abs(moved(found, "engine_factor")) > 2 * max(
        abs(moved(found, name)) for name in found.fit.informed if name != "engine_factor"
    )


def test_what_a_user_s_rows_do_not_inform_stays(adapted: Adaptation) -> None:
    constants = adapted.fit.file.constants
    assert len(STAY) >= 3
    for name in STAY:
        assert constants[name].value == pytest.approx(SHIPPED.constants[name].value, rel=1e-6), name
        assert adapted.fit.informed[name] == pytest.approx(0, abs=1e-6), name
    for name in (*ALL_TO_ALL, *ALL_REDUCE, *NOT_FITTED):
        if name not in (*INTERVALS, *ENGINE):
            before, after = SHIPPED.constants[name], constants[name]
            assert (after.value, after.standard_error) == (before.value, before.standard_error)
            assert name not in adapted.fit.informed
    for name in INTERVALS:
        if not name.endswith("fp4"):
            assert constants[name] == SHIPPED.constants[name], name


def test_an_adaptation_names_the_rows_that_set_a_constant(adapted: Adaptation) -> None:
    for name, share in adapted.fit.informed.items():
        by = adapted.fit.file.constants[name].informed_by
        assert by.endswith(", then 12 rows of gb200") is (share > INFORMED), name
        assert by.startswith(SHIPPED.constants[name].informed_by)


def test_an_adaptation_tells_the_errors_before_and_after(adapted: Adaptation) -> None:
    before, after = adapted.before.statistics()["tpot"], adapted.after.statistics()["tpot"]
    assert before["known"] == after["known"] == 12
    assert before["mape"] is not None
    assert after["mape"] is not None
    assert before["mape"] > 0.1
    assert after["mape"] < 0.03


def test_an_adapted_calibration_can_be_written_and_read(
    adapted: Adaptation, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    write_calibration(adapted.fit.file, path)
    again = read_calibration(path)
    assert again.coverage == joined_coverage(SHIPPED.coverage, coverage_of(adapted.before.rows))
    assert again.coverage.rows == SHIPPED.coverage.rows + 12
    # Collectives keep how their errors go together; what was fitted again has it anew.
    assert again.correlations == adapted.fit.file.correlations
    kept = set(again.correlations) & set(SHIPPED.correlations)
    assert {one.constants for one in kept} == {ALL_TO_ALL, ALL_REDUCE}
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
        kept: Sequence[ServingRow],
        start: CalibrationFile,
        progress: object,
        rounds: int,
        also: tuple[str, ...],
    ) -> Fit:
        """Leave a mark: the fixed time of a step is the number of the fit in ms."""
        fits.append(kept)
        assert (rounds, also) == (1, ENGINE)
        mark = start.constants["step_time"].model_copy(update={"value": 1e-3 * len(fits)})
        return Fit(CalibrationFile(start.constants | {"step_time": mark}, start.coverage), {}, 0)

    monkeypatch.setattr(module, "calibrate_serving", fit)
    found = adapt(rows, SHIPPED)
    assert list(fits[0]) == rows
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


def test_joined_coverage_spans_both() -> None:
    h100 = coverage_of([row for row in ROWS if row.sku == "h100"])
    dp = coverage_of([r for r in ROWS if r.sku == "b200" and r.decode_attention == "dp"])
    joined = joined_coverage(h100, dp)
    assert joined == joined_coverage(dp, h100)
    assert joined.rows == h100.rows + dp.rows
    assert joined.skus == ("b200", "h100")
    assert (joined.crossing_skus, joined.crossing_gpus) == (("h100",), 16)
    assert joined.precisions == ("fp4", "fp8")
    assert dp.tp_gpus == dp.max_batch_tp == (0, 0)
    # Where one has no such row, the other's span stands.
    assert (joined.tp_gpus, joined.max_batch_tp) == (h100.tp_gpus, h100.max_batch_tp)
    for name in ("isl", "osl", "decode_gpus", "max_batch_dp"):
        a, b = getattr(h100, name), getattr(dp, name)
        assert getattr(joined, name) == (min(a[0], b[0]), max(a[1], b[1])), name
    assert joined_coverage(dp, dp).tp_gpus == (0, 0)


def test_joining_all_machines_gives_the_whole() -> None:
    rows = [*ROWS, *(serving_row_of(row) for row in published_rows())]  # what the shipped fit saw
    parts = [coverage_of([row for row in rows if row.sku == sku]) for sku in SHIPPED.coverage.skus]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined_coverage(joined, part)
    assert joined == SHIPPED.coverage


def test_coverage_knows_how_prefill_ran() -> None:
    shared = ROWS[0].model_copy(update={"prefill_attention": "tp"})
    alone = shared.model_copy(update={"prefill_gpus_per_worker": 1})
    assert SHIPPED.coverage.prefill_attentions == ("dp",)
    assert coverage_of([shared]).prefill_attentions == ("tp",)
    assert coverage_of([alone]).prefill_attentions == ("dp",)
    joined = joined_coverage(SHIPPED.coverage, coverage_of([shared]))
    assert joined.prefill_attentions == ("dp", "tp")
