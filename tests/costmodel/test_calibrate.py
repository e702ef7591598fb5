import importlib
import math

import numpy as np
import pytest

from costmodel.calibrate import (
    ALL_REDUCE,
    ALL_TO_ALL,
    FEWEST,
    INTERVALS,
    KERNEL_FAMILY,
    NOT_FITTED,
    PREFILL,
    calibrate,
    calibrate_collectives,
    coverage_of,
    exchange_residuals,
    interval_constants,
    reduce_residuals,
    step_names,
)
from costmodel.calibration import Calibration, shipped_calibration
from costmodel.validation import Compared, Validation
from presets import allreduce_rows, alltoall_rows, serving_rows

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


def test_exchange_residual_of_one_row_by_hand(plain: Calibration) -> None:
    row = next(
        row
        for row in alltoall_rows()
        if row.kernel == KERNEL_FAMILY and row.op == "dispatch" and row.dtype == "fp8"
        if row.sku == "gb200"
    )
    # Fixed 20 us and 1 us per doubling; 2 B x hidden at 1 ps/B; 1 + 4/128 B per element on the
    # wire to each of EP - 1 peers at half of 900 GB/s.
    hit = 1 - (1 - 1 / row.ep) ** row.top_k
    local = (20 + math.log2(row.ep)) * 1e-6 + row.tokens_per_rank * 2 * row.hidden * 1e-12
    pair = row.tokens_per_rank * hit * row.hidden * (1 + 4 / 128)
    time = local + pair * (row.ep - 1) / 900e9 / 0.5
    found = exchange_residuals([row])(plain)
    assert found == pytest.approx([math.log(time / (row.latency_us * 1e-6)) / 0.1])


def test_reduce_residual_of_one_row_by_hand(plain: Calibration) -> None:
    row = next(row for row in allreduce_rows() if row.gpus == 2)
    rate = {"h100": 450e9, "h200": 450e9}.get(row.sku, 900e9)
    launch = 4e-6 if row.sku.startswith("h") else 5e-6
    one_shot = launch + 2 * row.message_elements_bf16 / (0.5 * rate)
    assert one_shot < 20e-6
    found = reduce_residuals([row])(plain)
    assert found == pytest.approx([math.log(one_shot / (row.latency_us * 1e-6)) / 0.1])


def test_rows_beyond_decode_are_left_out(plain: Calibration) -> None:
    chosen = len(exchange_residuals(alltoall_rows())(plain))
    assert 100 < chosen < len(alltoall_rows())
    large = [row for row in allreduce_rows() if row.message_elements_bf16 > 2**25]
    assert len(reduce_residuals(allreduce_rows())(plain)) == len(allreduce_rows()) - len(large)


def test_collectives_fit_their_latencies() -> None:
    fit = calibrate_collectives(SHIPPED)
    assert fit.evaluations > 0
    residuals = exchange_residuals(alltoall_rows())(fit.file.calibration)
    # In units of a tenth of a log: half of the latencies lie within a fifth.
    assert np.median(np.abs(residuals)) < 2
    assert fit.informed["dispatch_fp4.latency"] > 0.8
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
    assert coverage == SHIPPED.coverage
    one = coverage_of(ROWS[:1])
    assert (one.rows, one.skus) == (1, (ROWS[0].sku,))
    assert one.max_batch == (ROWS[0].max_batch, ROWS[0].max_batch)


def validation(sku: str, errors: list[float]) -> Validation:
    """Make up log errors of TPOT in FP8 rows of a machine; nothing else was measured."""
    count = len(errors)
    rows = [row for row in ROWS if row.sku == sku and row.precision == "fp8"][:count]
    known = Compared(np.exp(np.array(errors)), np.ones(count), np.ones(count))
    unknown = Compared(np.ones(count), np.full(count, np.nan), np.ones(count))
    figures = {"tpot": known, "ttft": unknown, "throughput": unknown}
    return Validation(tuple(rows), figures, np.ones(count), ())


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
    found = interval_constants(SHIPPED, validation("gb200", [0.01] * (FEWEST - 1)))
    assert all(found[name] == SHIPPED.constants[name] for name in INTERVALS)


def test_intervals_stay_inside_their_bounds() -> None:
    name = "tpot_half_width.fp8"
    constant = SHIPPED.constants[name]
    none = interval_constants(SHIPPED, validation("gb200", [0.0] * FEWEST))
    assert none[name].value == constant.low
    wild = interval_constants(SHIPPED, validation("gb200", [9.0] * FEWEST))
    assert wild[name].value == constant.high


def test_a_whole_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    # The whole course of it on few rows and constants. The package has a function of this name.
    module = importlib.import_module("costmodel.calibrate")
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
            assert constant == SHIPPED.constants[name], name
        assert constant.low <= constant.value <= constant.high
