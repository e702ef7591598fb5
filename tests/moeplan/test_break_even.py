"""The price at which machines tie."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import moeplan
from moeplan.answers.comparison import KINDS
from moeplan.options import Options

if TYPE_CHECKING:
    from optimizer import Space
    from tests.samples import Command

SKUS = ("gb200", "b200")
TARGETS = (40.0, 125.0)


def compared(space: Space, **prices: float) -> moeplan.Comparison:
    options = {sku: replace(Options(), price=prices.get(sku)) for sku in SKUS}
    return moeplan.compare(SKUS, TARGETS, options, space=space)


def test_at_its_break_even_a_machine_ties_with_the_cheapest_other(space: Space) -> None:
    tried = 0
    rows = compared(space).rows
    for place, row in enumerate(rows):
        for kind in KINDS:
            for sku, tie in row.break_even(kind).items():
                own = getattr(row.pairs[sku], kind)
                assert (tie is None) == (own is None)
                if tie is None:
                    continue
                again = compared(space, **{sku: tie.usd_per_hour}).rows[place]
                costs = {
                    name: value.usd_per_m_total_tokens
                    for name, pair in again.pairs.items()
                    if (value := getattr(pair, kind)) is not None
                }
                assert costs.pop(sku) == pytest.approx(min(costs.values()), rel=1e-9)
                assert min(costs, key=lambda name: costs[name]) == tie.against
                tried += 1
    assert tried == 8


def test_a_price_never_changes_the_deployment(space: Space) -> None:
    """So a report that holds one deployment per target holds all that can win at any price."""
    plain = compared(space)
    for price in (0.05, 1.0, 7.77, 900.0):
        other = compared(space, **dict.fromkeys(SKUS, price))
        for row, then in zip(plain.rows, other.rows, strict=True):
            for sku in SKUS:
                now, before = then.pairs[sku].modelled, row.pairs[sku].modelled
                assert (now is None) == (before is None)
                if now is None or before is None:
                    continue
                assert now.config == before.config
                scale = price / row.answers[sku].price_usd_per_hour
                assert now.usd_per_m_total_tokens == pytest.approx(
                    scale * before.usd_per_m_total_tokens, rel=1e-12
                )
                assert now.interval_90["usd_per_m_total_tokens"] == pytest.approx(
                    [scale * end for end in before.interval_90["usd_per_m_total_tokens"]], rel=1e-12
                )


def test_each_break_even_is_a_column(space: Space) -> None:
    comparison = compared(space)
    for line, row in zip(comparison.to_rows(), comparison.rows, strict=True):
        for kind in KINDS:
            for sku, tie in row.break_even(kind).items():
                found = line[f"{sku}_break_even_{kind}_usd_per_hour"]
                assert found == (tie and tie.usd_per_hour)


def test_outside_the_interval_of_the_break_even_there_is_a_winner(space: Space) -> None:
    skus = ("gb200", "b200")
    row = moeplan.compare(skus, [75.0], space=space).rows[0]
    tie = row.break_even("modelled")["gb200"]
    assert tie is not None
    assert tie.interval_90 is not None
    low, high = tie.interval_90
    assert low < tie.usd_per_hour < high
    assert math.sqrt(low * high) == pytest.approx(tie.usd_per_hour)
    winners = [
        moeplan.compare(
            skus, [75.0], {"gb200": Options(price=price), "b200": Options()}, space=space
        )
        .rows[0]
        .winner("modelled")
        for price in (0.999 * low, 1.001 * low, 0.999 * high, 1.001 * high)
    ]
    assert winners == ["gb200", "too close to call", "too close to call", "b200"]


@pytest.mark.many_cases
def test_break_even_is_printed(command: Command) -> None:
    asked = ("compare", "gb200", "b200", "--targets", "75")
    (row,) = command(*asked, "--json").json["rows"]
    ties: dict[str, dict[str, Any]] = row["break_even"]
    assert ties["measured"]["gb200"]["interval_90"] is None
    text = command(*asked).out
    assert "Break-even, $ per GPU-hour" in text
    line = text.partition("Break-even")[2].partition("  75 ")[2].split()
    for kind, pair in zip(KINDS, (line[:2], line[2:4]), strict=True):
        assert pair == [f"{ties[kind][sku]['usd_per_hour']:.2f}" for sku in ("gb200", "b200")]
