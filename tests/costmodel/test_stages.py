from collections.abc import Sequence

import numpy as np
import pytest

import costmodel.stages as module
from costmodel.adaptation import adapt
from costmodel.calibration_file import CORPUS, shipped_calibration
from costmodel.coverage import ENOUGH, coverage_of, joined_coverage
from costmodel.deviations import base_name
from costmodel.latencies import exchange_residuals
from costmodel.observations import configuration_key
from costmodel.stages import (
    ALL_REDUCE,
    ALL_TO_ALL,
    INTERVALS,
    MIXED,
    MIXED_WAIT,
    NOT_FITTED,
    PREFILL,
    SPLIT,
    _at_priors,
    calibrate,
    calibrate_collectives,
    check_rows,
    fitted_names,
    interval_constants,
    step_names,
)
from costmodel.validation import Compared, Validation, serving_row_of
from presets import (
    InputError,
    ServingRow,
    aggregated_rows,
    alltoall_rows,
    published_rows,
    serving_rows,
)

SHIPPED = shipped_calibration()
OWN = SHIPPED.coverage.model_copy(update={"corpus": None})
ROWS = serving_rows()


def test_every_constant_is_set_by_one_data_set_or_none() -> None:
    parts = [
        step_names(SHIPPED),
        PREFILL,
        ALL_REDUCE,
        ALL_TO_ALL,
        SPLIT,
        MIXED,
        MIXED_WAIT,
        NOT_FITTED,
    ]
    names = [name for part in parts for name in {*map(base_name, part)}]
    assert len(names) == len(set(names))
    own = {name for name, one in SHIPPED.constants.items() if one.informed_by != CORPUS}
    assert set(names) == {base_name(name) for name in own}


def test_constants_that_are_not_fitted_say_so() -> None:
    for name in NOT_FITTED:
        assert SHIPPED.constants[name].standard_error is None, name
    stages = (PREFILL, ALL_REDUCE, ALL_TO_ALL, SPLIT, MIXED, MIXED_WAIT)
    fitted = {name for stage in stages for name in fitted_names(SHIPPED, stage)}
    for name in fitted.union(step_names(SHIPPED)):
        assert SHIPPED.constants[name].standard_error is not None, name


def test_collectives_fit_their_latencies() -> None:
    fit = calibrate_collectives(SHIPPED)
    assert fit.evaluations > 0
    residuals = exchange_residuals(alltoall_rows())(fit.file.calibration)
    # In units of a tenth of a log: half of the latencies lie within a fifth.
    assert np.median(np.abs(residuals)) < 2
    assert fit.informed["dispatch.latency"] > 0.8
    untouched = set(SHIPPED.constants) - set(fitted_names(SHIPPED, (*ALL_TO_ALL, *ALL_REDUCE)))
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
    assert coverage_of([*ROWS, *published, *aggregated_rows()]) == OWN
    pools = coverage_of(aggregated_rows())
    assert pools.rows == 0  # of two pools
    assert pools.aggregated == SHIPPED.coverage.aggregated
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
    monkeypatch.setattr(module, "step_names", lambda _: ("layer_time", "acceptance"))
    monkeypatch.setattr(module, "PREFILL", ("first_token_time",))
    monkeypatch.setattr(module, "FOLDS", 2)
    rows = [row for row in ROWS if row.sku == "gb200" and row.mtp_depth == 1][:4]
    calls: list[int] = []
    fit = calibrate(rows, SHIPPED, progress=lambda: calls.append(1))
    assert len(calls) >= fit.evaluations > 0
    shared = fit.file.coverage.model_copy(update={"corpus": None})
    assert shared == coverage_of([*rows, *aggregated_rows()])
    assert fit.file.coverage.corpus == SHIPPED.coverage.corpus  # as its deviations stay
    fitted = {"layer_time", "acceptance", "first_token_time"}
    for stage in (ALL_TO_ALL, ALL_REDUCE, SPLIT, MIXED, MIXED_WAIT):
        fitted |= set(fitted_names(SHIPPED, stage))
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
def test_one_configuration_cannot_be_checked(rows: Sequence[ServingRow]) -> None:
    """An adaptation takes it for an anchor (`test_own_anchors`)."""
    with pytest.raises(InputError, match="not enough to calibrate; give 2 or more") as caught:
        calibrate(rows, SHIPPED)
    assert "\n" not in str(caught.value)


def distinct(rows: Sequence[ServingRow]) -> list[ServingRow]:
    """One row of each configuration."""
    return list({configuration_key(row): row for row in rows}.values())


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
    rows += aggregated_rows()
    parts = [coverage_of([row for row in rows if row.sku == sku]) for sku in SHIPPED.coverage.skus]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined_coverage(joined, part)
    assert joined == OWN


def test_coverage_knows_how_prefill_ran() -> None:
    shared = ROWS[0].model_copy(update={"prefill_attention": "tp"})
    alone = shared.model_copy(update={"prefill_gpus_per_worker": 1})
    assert SHIPPED.coverage.prefill_attentions == ("dp",)
    assert coverage_of([shared]).prefill_attentions == ("tp",)
    assert coverage_of([alone]).prefill_attentions == ("dp",)
    joined = joined_coverage(SHIPPED.coverage, coverage_of([shared]))
    assert joined.prefill_attentions == ("dp", "tp")
