import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.calibration_file import load_calibration
from costmodel.observations import configuration_key
from costmodel.validation import (
    FIGURES,
    Compared,
    cross_validate,
    folds_of,
    serving_row_of,
    statistics,
    validate,
    without_twins,
)
from presets import InputError, ServingRow, published_rows, serving_rows

MEASURED = (
    "ttft_ms",
    "tpot_ms",
    "ttft_median_ms",
    "tpot_median_ms",
    "iteration_ms",
    "total_tok_s_per_gpu",
    "tok_s_per_user",
)
PUBLISHED = [serving_row_of(row) for row in published_rows()]
ROWS = serving_rows()


def figure(predicted: list[float], measured: list[float], width: float = 0.15) -> Compared:
    return Compared(np.array(predicted), np.array(measured), np.full(len(predicted), width))


def test_errors_by_hand() -> None:
    # Errors +10 %, -10 %, +20 %, 0 %; the fifth was not measured.
    found = statistics(figure([110, 90, 120, 100, 7], [100, 100, 100, 100, math.nan]))
    assert found["known"] == 4
    assert found["mape"] == pytest.approx(0.1)
    assert found["median_ape"] == pytest.approx(0.1)
    assert found["max_ape"] == pytest.approx(0.2)
    # Sorted 0, 0.1, 0.1, 0.2: the 90th percentile lies 0.7 of the way from the third to the last.
    assert found["p90_ape"] == pytest.approx(0.17)
    assert found["bias"] == pytest.approx(0.05)
    # |log| is 0.095, 0.105, 0.182 and 0 against a half-width of 0.15.
    assert found["coverage_90"] == 0.75
    assert found["mean_half_width"] == pytest.approx(math.exp(0.15) - 1)


def test_a_validation_is_short_in_print() -> None:
    validation = validate(PUBLISHED, load_calibration())
    first, *lines = repr(validation).splitlines()
    assert first == "Validation(20 rows)"
    assert len(lines) <= 4
    mape = validation.statistics()["tpot"]["mape"]
    assert f"tpot: 20 measured; error {mape:.1%} mean" in lines[0]


def test_nothing_measured_gives_no_statistics() -> None:
    found = statistics(figure([1.0, 2.0], [math.nan, math.nan]))
    assert found.pop("known") == 0
    assert set(found.values()) == {None}


def test_rows_of_a_figure() -> None:
    some = figure([1.0, 2.0, 3.0], [1.0, 1.0, 2.0]).where([2, 0])
    assert some.error.tolist() == [0.5, 0.0]
    assert some.covered.tolist() == [0.0, 1.0]


def swap(row: ServingRow, other: ServingRow) -> ServingRow:
    return row.model_copy(update={name: getattr(other, name) for name in MEASURED})


@pytest.mark.parametrize("how", ["blank", "tripled", "shuffled"])
def test_predictions_use_nothing_that_was_measured(plain: Calibration, how: str) -> None:
    rows = ROWS[::9]
    if how == "blank":
        other = [row.model_copy(update=dict.fromkeys(MEASURED)) for row in rows]
    elif how == "shuffled":
        other = [swap(row, rows[index - 7]) for index, row in enumerate(rows)]
    else:
        other = [
            row.model_copy(
                update={n: 3 * getattr(row, n) for n in MEASURED if getattr(row, n) is not None}
            )
            for row in rows
        ]
    before, after = validate(rows, plain), validate(other, plain)
    for column, values in before.predictions.items():
        assert np.array_equal(after.predictions[column], values), column
    for ours, theirs in zip(before.lines(), after.lines(), strict=True):
        predicted = {name for name in ours if name.startswith("predicted_")}
        assert {name: theirs[name] for name in predicted} == {n: ours[n] for n in predicted}
    assert after.breakdown_ms == before.breakdown_ms
    assert np.array_equal(after.batch_in_flight, before.batch_in_flight)
    for name in ("throughput", "iteration"):
        assert np.array_equal(after.figures[name].predicted, before.figures[name].predicted)
        assert np.array_equal(after.figures[name].half_width, before.figures[name].half_width)
    if how == "tripled":  # the same clocks are known, so mean still meets mean
        for name in ("tpot", "ttft"):
            assert np.array_equal(after.figures[name].predicted, before.figures[name].predicted)


def test_one_row_is_predicted_as_among_all(plain: Calibration) -> None:
    everything = validate(ROWS, plain)
    for index in (0, 77, 155, 201):
        alone = validate([ROWS[index]], plain)
        for name in FIGURES:
            assert alone.figures[name].predicted[0] == pytest.approx(
                everything.figures[name].predicted[index], rel=1e-9
            )


def test_groups_hold_every_row_once(plain: Calibration) -> None:
    found = validate(ROWS, plain)
    for groups in found.groups().values():
        assert sorted(i for members in groups.values() for i in members) == list(range(len(ROWS)))
    machines = {"b200", "b300", "gb200", "h100", "h200"}
    assert set(found.groups()["sku"]) == {*machines, "h100, suspect"}
    assert set(found.groups()["attention"]) == {"tp", "dp"}
    for index in found.groups()["batch"]["2 to 8"]:
        assert 1 < ROWS[index].max_batch <= 8
    for index in found.groups()["batch"]["129 or more"]:
        assert ROWS[index].max_batch > 128
    for index in found.groups()["mtp"]["depth 3"]:
        assert ROWS[index].mtp_depth == 3


def test_summary_is_what_the_command_prints(plain: Calibration) -> None:
    summary = json.loads(json.dumps(validate(ROWS, plain).summary(), allow_nan=False))
    assert summary["rows"] == len(ROWS)
    needed = {"mape", "median_ape", "p90_ape", "max_ape", "coverage_90"}
    for name in ("tpot", "ttft", "throughput"):
        assert needed <= set(summary[name])
        assert 0 < summary[name]["median_ape"] <= summary[name]["p90_ape"]
        assert summary[name]["p90_ape"] <= summary[name]["max_ape"]
    assert {"sku", "precision", "attention"} <= set(summary["by"])
    for name, groups in summary["by"].items():
        assert sum(group["rows"] for group in groups.values()) == len(ROWS), name
        weighted = sum(g["tpot"]["known"] * g["tpot"]["mape"] for g in groups.values())
        assert weighted / summary["tpot"]["known"] == pytest.approx(summary["tpot"]["mape"]), name


def test_summary_says_nothing_where_nothing_was_measured(plain: Calibration) -> None:
    summary = validate(PUBLISHED, plain).summary()
    assert summary["ttft"] == {"known": 0} | dict.fromkeys(
        ("mape", "median_ape", "p90_ape", "max_ape", "bias", "coverage_90", "mean_half_width")
    )


def test_lines_hold_finite_numbers_and_their_intervals(plain: Calibration) -> None:
    lines = validate([*ROWS[::9], PUBLISHED[0]], plain).lines()
    assert len({tuple(line) for line in lines}) == 1  # the same columns in every line
    for line in lines:
        numbers = [value for value in line.values() if isinstance(value, float)]
        assert all(map(math.isfinite, numbers))
        for name in FIGURES:
            label = "total_tok_s_per_gpu" if name == "throughput" else f"{name}_ms"
            low, high = line[f"predicted_{label}_low"], line[f"predicted_{label}_high"]
            value, measured = line[f"predicted_{label}"], line[f"measured_{label}"]
            alike = value
            if line.get(f"measured_{name}_is") == "median":
                alike = line[f"predicted_{name}_median_ms"]
            assert isinstance(low, float)
            assert isinstance(value, float)
            assert isinstance(high, float)
            assert low < value < high
            if name != "ttft_median":  # its interval holds both modes, where there are two
                assert value == pytest.approx(math.sqrt(low * high))
            error = line[f"error_{name}"]
            if measured is None:
                assert error is None
            else:
                assert isinstance(measured, float)
                assert isinstance(alike, float)
                assert error == pytest.approx(alike / measured - 1)


def test_lines_say_what_was_run_and_measured(plain: Calibration) -> None:
    line = validate([PUBLISHED[3]], plain).lines()[0]
    assert line["sku"] == PUBLISHED[3].sku
    assert line["decode_gpus_per_worker"] == PUBLISHED[3].decode_gpus_per_worker
    assert PUBLISHED[3].tok_s_per_user is not None
    # Published as 1 / median, rounded to two decimals.
    assert line["measured_tpot_ms"] == pytest.approx(1e3 / PUBLISHED[3].tok_s_per_user, rel=1e-3)
    assert line["measured_total_tok_s_per_gpu"] == PUBLISHED[3].total_tok_s_per_gpu
    assert line["measured_ttft_ms"] is None


def test_each_statistic_is_compared_with_its_own(plain: Calibration) -> None:
    both = next(
        row for row in ROWS if row.ttft_ms and row.ttft_median_ms not in (None, row.ttft_ms)
    )
    median = both.model_copy(update={"ttft_ms": None})
    found = validate([both, median], plain)
    line, only = found.lines()
    assert (line["measured_ttft_is"], only["measured_ttft_is"]) == ("mean", "median")
    assert found.figures["ttft"].measured.tolist() == pytest.approx(
        [1e-3 * (both.ttft_ms or 0.0), 1e-3 * (both.ttft_median_ms or 0.0)]
    )
    for each in (line, only):
        assert each["measured_ttft_median_ms"] == pytest.approx(both.ttft_median_ms)
        predicted = each["predicted_ttft_median_ms"]
        assert isinstance(predicted, float)
        assert each["error_ttft_median"] == pytest.approx(
            predicted / (both.ttft_median_ms or 1.0) - 1
        )
    assert only["error_ttft"] == only["error_ttft_median"]


def test_an_interval_holds_both_modes() -> None:
    # Predicted 1 with another mode at 4, and e^0.1 around each: 0.91 to 4.42.
    measured = np.array([0.9, 0.91, 2.0, 4.4, 4.5])
    found = Compared(np.ones(5), measured, np.full(5, 0.1), np.full(5, 4.0))
    assert found.covered.tolist() == [0, 1, 1, 1, 0]
    assert found.distance[[1, 2, 4]] == pytest.approx([-math.log(0.91), 0.0, math.log(4.5 / 4.0)])
    low, high = found.where([0]).interval
    assert (low[0], high[0]) == pytest.approx((math.exp(-0.1), 4.0 * math.exp(0.1)))


def test_worst_rows_come_first(plain: Calibration) -> None:
    found = validate(ROWS, plain)
    errors = np.abs(found.figures["tpot"].error)
    worst = found.worst(5)
    assert len(worst) == 5
    assert errors[worst].tolist() == sorted(errors, reverse=True)[:5]


def test_a_row_that_its_machine_cannot_run(plain: Calibration) -> None:
    hopper = next(row for row in ROWS if row.sku == "h100")
    with pytest.raises(InputError, match="h100 has no FP4 rate"):
        validate([hopper.model_copy(update={"precision": "fp4"})], plain)
    with pytest.raises(InputError, match="unknown model"):
        validate([hopper.model_copy(update={"model": "none"})], plain)


@given(st.integers(1, 12), st.integers(0, 5))
def test_folds_cover_all_rows_once_and_keep_twins_together(folds: int, seed: int) -> None:
    rows = [*ROWS[:40], *ROWS[:5], *ROWS[20:25]]
    found = folds_of(rows, folds, seed)
    assert len(found) == folds
    assert sorted(index for fold in found for index in fold) == list(range(len(rows)))
    home = {configuration_key(rows[i]): number for number, fold in enumerate(found) for i in fold}
    for number, fold in enumerate(found):
        assert all(home[configuration_key(rows[index])] == number for index in fold)


def test_folds_are_the_same_every_time_and_about_even() -> None:
    assert folds_of(ROWS, 8) == folds_of(ROWS, 8)
    assert folds_of(ROWS, 8) != folds_of(ROWS, 8, seed=1)
    keys = [len({configuration_key(ROWS[i]) for i in fold}) for fold in folds_of(ROWS, 8)]
    assert max(keys) - min(keys) <= 1


def test_without_twins() -> None:
    kept = without_twins(ROWS, PUBLISHED)
    gone = {configuration_key(row) for row in PUBLISHED}
    assert 0 < len(ROWS) - len(kept) <= len(ROWS) // 2
    assert not gone & {configuration_key(row) for row in kept}
    assert [row for row in ROWS if configuration_key(row) not in gone] == kept
    assert without_twins(ROWS, []) == list(ROWS)
    assert without_twins(ROWS, ROWS) == []


def test_every_published_row_keeps_its_configuration_and_result() -> None:
    assert len(PUBLISHED) == 20
    for row, printed in zip(PUBLISHED, published_rows(), strict=True):
        assert row.tok_s_per_user == printed.tok_s_per_user
        assert row.total_tok_s_per_gpu == printed.total_tok_s_per_gpu
        assert row.concurrency == printed.concurrency


def test_each_fold_is_predicted_by_a_fit_on_the_others(plain: Calibration) -> None:
    rows = list(ROWS[:6])
    folds = [[0, 3], [1, 4], [2, 5]]
    seen, told = [], []

    def fit(kept: Sequence[ServingRow]) -> Calibration:
        seen.append(kept)
        # A fit that leaves its mark: the fixed time of a step is 1, 2, 3 ms.
        return plain._replace(step_time=1e-3 * len(seen))

    found = cross_validate(rows, folds, fit, progress=lambda: told.append(1))
    assert seen == [[rows[i] for i in range(6) if i not in fold] for fold in folds]
    assert len(told) == 3
    one = validate(rows, plain)
    extra = found.figures["iteration"].predicted - one.figures["iteration"].predicted
    assert extra[[0, 3]] == pytest.approx(0, abs=1e-12)
    assert np.all(extra[[1, 4]] > 0.5e-3)
    assert np.all(extra[[2, 5]] > 1.5e-3)


def test_shipped_intervals_hold_most_of_the_shipped_rows() -> None:
    summary = validate(ROWS, load_calibration()).statistics()
    for name in ("tpot", "ttft", "throughput"):
        coverage = summary[name]["coverage_90"]
        assert coverage is not None
        assert 0.85 <= coverage <= 1.0, name


def test_some_rows_of_a_validation_keep_their_own_figures(plain: Calibration) -> None:
    found = validate(ROWS[:6], plain)
    some = found.of([4, 1])
    assert some.rows == (ROWS[4], ROWS[1])
    assert some.lines() == [found.lines()[4], found.lines()[1]]
    assert some.breakdown_ms == (found.breakdown_ms[4], found.breakdown_ms[1])
    assert some.batch_in_flight.tolist() == found.batch_in_flight[[4, 1]].tolist()
