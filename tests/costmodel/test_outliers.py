from collections.abc import Callable, Sequence

import pytest

from costmodel.calibration_file import shipped_calibration
from costmodel.outliers import FACTORS, LISTED, check_outliers, outliers
from costmodel.validation import serving_row_of, validate
from presets import InputError, ServingRow, published_rows, serving_rows

CALIBRATION = shipped_calibration().calibration
ROWS = [row for row in serving_rows() if row.total_tok_s_per_gpu is not None][::12]
TIMES = ("tpot_ms", "tpot_median_ms", "iteration_ms", "ttft_ms", "ttft_median_ms")


def placed(rows: Sequence[ServingRow]) -> dict[str, ServingRow]:
    return {f"rows.csv, line {line}": row for line, row in enumerate(rows, start=2)}


def changed(
    rows: Sequence[ServingRow], columns: Sequence[str], by: Callable[[ServingRow, float], float]
) -> list[ServingRow]:
    """Rows with some columns changed, where they are filled."""
    return [
        row.model_copy(
            update={
                name: by(row, value)
                for name in columns
                if (value := getattr(row, name)) is not None
            }
        )
        for row in rows
    ]


def gpus(row: ServingRow) -> int:
    prefill = row.prefill_workers * row.prefill_gpus_per_worker
    return prefill + row.decode_workers * row.decode_gpus_per_worker


def test_no_shipped_row_is_out_of_place() -> None:
    rows = [*serving_rows(), *(serving_row_of(row) for row in published_rows())]
    assert outliers(placed(rows), CALIBRATION) == []


CASES: dict[str, tuple[tuple[str, ...], Callable[[ServingRow, float], float], str]] = {
    "seconds": (TIMES[:2], lambda _, value: value / 1e3, "in seconds in place of ms"),
    "TTFT in seconds": (TIMES[3:], lambda _, value: value / 1e3, "in seconds in place of ms"),
    "microseconds": (("tpot_ms",), lambda _, value: value * 1e3, "in microseconds in place of ms"),
    "tripled": (("tpot_ms",), lambda _, value: value * 3, "of another load, length, model"),
    "interactivity": (("tpot_ms",), lambda _, value: 1e3 / value, "tok_s_per_user in this column"),
    "TTFT as TPOT": (
        ("tpot_ms",),
        lambda row, _: row.ttft_ms or 0,
        "ttft_median_ms in this column",
    ),
    "all GPUs": (
        ("total_tok_s_per_gpu",),
        lambda row, value: value * gpus(row),
        "the throughput of all GPUs in place of one",
    ),
    "output of all GPUs": (
        ("total_tok_s_per_gpu",),
        lambda row, value: value * gpus(row) * row.osl / (row.isl + row.osl),
        "output tokens of all GPUs",
    ),
    "thousands": (("total_tok_s_per_gpu",), lambda _, value: value / 1e3, "in thousands"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_named_with_its_rows(case: str) -> None:
    columns, by, cause = CASES[case]
    with pytest.raises(InputError) as caught:
        check_outliers(placed(changed(ROWS, columns, by)), CALIBRATION)
    text = str(caught.value)
    assert f"is likely {cause}" in text
    assert columns[0] in text
    assert "rows.csv, lines 2, " in text
    assert "\n" not in text
    assert len(text) < 1000


def test_output_alone_is_named_where_input_is_most_of_the_tokens() -> None:
    rows = [row for row in ROWS if row.isl == 8192]
    column = ("total_tok_s_per_gpu",)
    wrong = changed(rows, column, lambda row, value: value * row.osl / (row.isl + row.osl))
    (found,) = outliers(placed(wrong), CALIBRATION)
    assert found.cause == "output tokens without input"


def test_one_wrong_row_is_named_alone() -> None:
    rows = [*ROWS[:5], *changed(ROWS[5:6], ("tpot_ms",), lambda _, value: value / 1e3), *ROWS[6:]]
    (found,) = outliers(placed(rows), CALIBRATION)
    assert (found.column, found.places) == ("tpot_ms", ("rows.csv, line 7",))
    assert found.measured == rows[5].tpot_ms
    assert 1e3 * found.measured == pytest.approx(found.expected, rel=0.2)
    with pytest.raises(InputError, match=r"^rows.csv, line 7: tpot_ms is likely in seconds"):
        check_outliers(placed(rows), CALIBRATION)


def test_a_cluster_twice_as_slow_or_fast_is_no_mistake() -> None:
    errors = validate(ROWS, CALIBRATION).figures["tpot"].error
    good = [row for row, error in zip(ROWS, errors, strict=True) if abs(error) < 0.35]
    assert len(good) > 0.9 * len(ROWS)
    for factor in (0.5, 2.0):
        slower = changed(good, TIMES, lambda _, value, by=factor: value * by)  # type: ignore[misc]
        assert outliers(placed(slower), CALIBRATION) == []


def test_ttft_is_out_of_place_only_where_its_unit_is() -> None:
    assert FACTORS["ttft"] ** 2 == pytest.approx(1000)
    assert outliers(placed(changed(ROWS, TIMES[3:], lambda _, value: value * 5)), CALIBRATION) == []


def test_a_value_inside_a_wide_interval_is_not_out_of_place() -> None:
    rows = placed(changed(ROWS[:1], ("tpot_ms",), lambda _, value: value * 3))
    assert outliers(rows, CALIBRATION)
    wide = CALIBRATION._replace(tpot_half_width=CALIBRATION.tpot_half_width._replace(fp4=1.5))
    assert outliers(rows, wide) == []


def test_a_message_lists_the_first_rows_and_counts_the_others() -> None:
    many = changed(serving_rows()[:30], ("tpot_ms",), lambda _, value: value / 1e3)
    with pytest.raises(InputError) as caught:
        check_outliers(placed(many), CALIBRATION)
    assert LISTED == 20
    assert "20, 21 and 10 more: tpot_ms" in str(caught.value)


def test_columns_that_are_wrong_together_are_named_together() -> None:
    wrong = changed(ROWS, TIMES[:2], lambda _, value: value / 1e3)
    with pytest.raises(InputError, match="tpot_ms, tpot_median_ms is likely in seconds") as caught:
        check_outliers(placed(wrong), CALIBRATION)
    assert str(caught.value).count("likely") == 1
