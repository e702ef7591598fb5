from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.frontier import (
    measured_at,
    pareto_frontier,
    steffen_interpolate,
    steffen_slopes,
    why_unmeasured,
)
from presets import InputError, PublishedRow, load_prices, published_rows
from presets.folders import DATA

PUBLISHED_AT = load_prices("2026-04").prices
PRICES = {sku: PUBLISHED_AT[sku].value for sku in ("gb200", "b200")}


def rows_of(sku: str) -> list[PublishedRow]:
    return [row for row in published_rows() if row.sku == sku]


def published_cells(column: str) -> list[tuple[str, float, str]]:
    """Machine, target and the figure as printed, for every filled cell of both machines."""
    path: Path = DATA / "measurements" / "inferencex_2026-05-22_iso.csv"
    header, *lines = [line.split(",") for line in path.read_text().split()]
    return [
        (sku, float(line[0]), line[header.index(f"{sku}_{column}")])
        for sku in PRICES
        for line in lines
        if line[header.index(f"{sku}_{column}")]
    ]


def test_all_27_published_throughputs_to_the_digit() -> None:
    cells = published_cells("tok_s_per_gpu")
    assert len(cells) == 27
    for sku, target, printed in cells:
        point = measured_at(rows_of(sku), target, PRICES[sku])
        assert point is not None
        # A column with gaps is printed with ".0", but no figure has a fraction.
        assert round(point.total_tok_s_per_gpu) == Decimal(printed), (sku, target)


def test_all_22_published_costs() -> None:
    cells = published_cells("usd_per_m")
    assert len(cells) == 22
    for sku, target, printed in cells:
        point = measured_at(rows_of(sku), target, PRICES[sku])
        assert point is not None
        # Half of the last of four decimals, or 0.02 %: the published cost is that of the
        # throughput before or after rounding.
        allowed = max(0.5e-4, 2e-4 * float(printed))
        assert abs(point.usd_per_m_total_tokens - float(printed)) <= allowed, (sku, target)


def test_one_interval_by_hand() -> None:
    # Points (0, 8), (1, 4), (3, 2), (4, 0): steps 1, 2, 1, secants -4, -1, -2.
    x, y = [0.0, 1.0, 3.0, 4.0], [8.0, 4.0, 2.0, 0.0]
    # At 1: p = (-4*2 - 1*1)/3 = -3, half of it 1.5, limited by the secant 1: -2.
    # At 3: p = (-1*1 - 2*2)/3 = -5/3, half of it 5/6: -5/3.
    # Ends: (3*-4 + 2)/2 = -5 and (3*-2 + 5/3)/2 = -13/6.
    assert steffen_slopes(x, y) == pytest.approx([-5, -2, -5 / 3, -13 / 6])
    # Midway a cubic is the mean of its ends plus step/8 times the fall in slope:
    # 3 + 2/8 * (-2 + 5/3) = 3 - 1/12.
    assert steffen_interpolate(x, y, 2.0) == pytest.approx(3 - 1 / 12)


def test_slopes_of_a_line_are_the_line() -> None:
    assert steffen_slopes([0, 1, 3, 7], [0, 2, 6, 14]) == pytest.approx([2, 2, 2, 2])
    assert steffen_slopes([0, 2], [4, 0]) == pytest.approx([-2, -2])


def test_slope_is_flat_at_a_turning_point() -> None:
    assert steffen_slopes([0, 1, 2], [0, 1, 0])[1] == 0


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 1e4)), min_size=1, max_size=12))
def test_curve_is_monotone_and_passes_through_its_points(
    steps: list[tuple[float, float]],
) -> None:
    x = np.cumsum([1.0, *(right for right, _ in steps)])
    y = np.cumsum([1.0, *(down for _, down in steps)])[::-1]
    at = np.unique(np.concatenate([x, np.linspace(x[0], x[-1], 400)]))
    curve = steffen_interpolate(x, y, at)
    assert steffen_interpolate(x, y, x) == pytest.approx(y, rel=1e-9)
    assert np.all(np.diff(curve) <= 1e-9 * y[0])


@pytest.mark.parametrize("at", [0.5, 4.5, float("nan")])
def test_curve_never_extrapolates(at: float) -> None:
    with pytest.raises(InputError, match="outside 1 to 4"):
        steffen_interpolate([1, 2, 4], [3, 2, 1], at)


@pytest.mark.parametrize("x", [[1.0], [1.0, 1.0], [2.0, 1.0]])
def test_abscissae_must_rise(x: list[float]) -> None:
    with pytest.raises(InputError, match="strictly rising"):
        steffen_interpolate(x, [1.0] * len(x), 1.0)


def test_every_published_row_lies_on_its_frontier() -> None:
    for sku in PRICES:
        frontier = pareto_frontier(rows_of(sku))
        assert len(frontier) == len(rows_of(sku))
        assert [row.tok_s_per_user for row in frontier] == sorted(
            row.tok_s_per_user for row in rows_of(sku)
        )


def test_beaten_and_equal_rows_leave_the_frontier() -> None:
    slow, fast = rows_of("gb200")[8], rows_of("gb200")[0]
    beaten = slow.model_copy(update={"tok_s_per_user": slow.tok_s_per_user - 1})
    worse = slow.model_copy(update={"total_tok_s_per_gpu": slow.total_tok_s_per_gpu - 1})
    assert pareto_frontier([beaten, fast, worse, slow, slow]) == (slow, fast)


def test_rows_of_two_machines_are_refused() -> None:
    with pytest.raises(InputError, match="found b200, gb200"):
        pareto_frontier(published_rows())


def test_a_published_row_is_measured() -> None:
    point = measured_at(rows_of("gb200"), 286.4, 2.21)
    assert point is not None
    assert (point.origin, point.total_tok_s_per_gpu) == ("measured", 60.7)
    assert [row.tok_s_per_user for row in point.between] == [286.4]
    assert point.usd_per_m_total_tokens == pytest.approx(2.21 / (3600 * 60.7 / 1e6))


def test_between_two_rows_is_interpolated() -> None:
    point = measured_at(rows_of("gb200"), 125, 2.21)
    assert point is not None
    assert point.origin == "interpolated"
    assert [row.tok_s_per_user for row in point.between] == [90.99, 164.37]
    assert point.total_tok_s_per_gpu == pytest.approx(4129.9, abs=0.05)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (286.5, "286.5 tok/s/user is above the fastest published row, 286.4: unreachable"),
        (17.0, "17 tok/s/user is below the slowest published row, 17.82: not measured"),
    ],
)
def test_outside_the_rows_nothing_is_measured(target: float, reason: str) -> None:
    assert measured_at(rows_of("gb200"), target, 2.21) is None
    assert why_unmeasured(rows_of("gb200"), target) == reason


def test_inside_the_rows_there_is_no_reason() -> None:
    assert why_unmeasured(rows_of("gb200"), 17.82) is None
    assert why_unmeasured(rows_of("gb200"), 286.4) is None
    assert why_unmeasured(rows_of("gb200"), 100) is None


def test_machine_without_published_rows() -> None:
    assert measured_at([], 50, 1.0) is None
    assert why_unmeasured([], 50) == "no row is published for this machine"


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_target_and_price_must_be_finite_and_positive(bad: float) -> None:
    with pytest.raises(InputError, match="target"):
        measured_at(rows_of("gb200"), bad, 2.21)
    with pytest.raises(InputError, match="price_usd_per_hour"):
        measured_at(rows_of("gb200"), 100, bad)
