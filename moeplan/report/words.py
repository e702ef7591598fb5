"""A comparison in sentences: what each machine costs, how sure that is, and where each wins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from moeplan.answers.comparison import KINDS, TOO_CLOSE, Comparison, ComparisonRow, Kind
from moeplan.answers.measured import hole_of
from moeplan.render.common import dollars, fact_name, fact_value, times


class Point(NamedTuple):
    """What a reader has to know of one thing."""

    title: str
    sentences: tuple[str, ...]


def headline(comparison: Comparison, fine: Sequence[ComparisonRow], target: float) -> list[Point]:
    """Say what a reader has to know first.

    Parameters
    ----------
    comparison : Comparison
        At the targets that were asked for.
    fine : sequence of ComparisonRow
        Over a grid of targets, rising; none leaves out where each machine wins.
    target : float
        One of those asked for. [token/s]
    """
    row = next(each for each in comparison.rows if each.target_tok_s_per_user == target)
    sections: list[tuple[str, Iterable[str]]] = [
        *((f"As {kind}", _costs(row, kind)) for kind in KINDS),
        *((f"Wins as {kind}", _reigns(fine, kind)) for kind in KINDS),
        ("Break-even", _ties(row)),
        ("To serve the demand", _fleets(row)),
        ("Measured against modelled", _differences(row)),
        ("Rests most on", _assumed(row)),
    ]
    told = [Point(title, tuple(sentences)) for title, sentences in sections]
    return [point for point in told if point.sentences]


def _costs(row: ComparisonRow, kind: Kind) -> Iterator[str]:
    """Say what each machine costs at a target, and which wins by how much."""
    costs = {
        sku: value for sku, pair in row.pairs.items() if (value := getattr(pair, kind)) is not None
    }
    if not costs:
        yield f"Nothing is known at {row.target_tok_s_per_user:g} tok/s/user."
        return
    parts = []
    for sku, value in costs.items():
        interval = getattr(value, "interval_90", {}).get("usd_per_m_total_tokens")
        sure = f" (90 %: {' to '.join(map(dollars, interval))})" if interval else ""
        parts.append(f"${dollars(value.usd_per_m_total_tokens)} on {sku}{sure}")
    yield (
        f"At {row.target_tok_s_per_user:g} tok/s/user a million tokens cost "
        f"{' and '.join(parts)}: {verdict(row, kind)}."
    )


def verdict(row: ComparisonRow, kind: Kind) -> str:
    """Say which machine wins at a target, and by how much.

    It wins by the factor that the cheapest other costs more.
    """
    winner = row.winner(kind)
    if winner is None:
        return "no winner, as fewer than two machines have a value"
    if winner == TOO_CLOSE:
        return TOO_CLOSE
    costs = {
        sku: value.usd_per_m_total_tokens
        for sku, pair in row.pairs.items()
        if (value := getattr(pair, kind)) is not None
    }
    if len(costs) < 2:
        return f"{winner} alone reaches it"
    _, other = sorted(costs, key=lambda sku: costs[sku])[:2]
    ratio, sure = costs[other] / costs[winner], ""
    if kind == "modelled":
        apart = math.exp(row.apart[winner, other])
        sure = f" (90 %: {times(ratio / apart)} to {times(ratio * apart)})"
    return f"{winner} is {times(ratio)} cheaper{sure}"


def _ties(row: ComparisonRow) -> Iterator[str]:
    """Say at what price the cheapest machine ties with the next."""
    for kind in KINDS:
        found = [(sku, tie) for sku, tie in row.break_even(kind).items() if tie is not None]
        costs = {sku: getattr(row.pairs[sku], kind).usd_per_m_total_tokens for sku, _ in found}
        for sku, tie in found:
            if sku != min(costs, key=lambda each: costs[each]):
                continue
            sure = ""
            if tie.interval_90 is not None:
                sure = f" (90 %: ${tie.interval_90[0]:,.2f} to ${tie.interval_90[1]:,.2f})"
            price = row.answers[tie.against].price_usd_per_hour
            yield (
                f"As {kind}, {sku} ties at ${tie.usd_per_hour:,.2f} per GPU-hour{sure} with "
                f"{tie.against} at ${price:,.2f}."
            )


def _fleets(row: ComparisonRow) -> Iterator[str]:
    """Say what serves the rate that was asked for on each machine; nothing without a rate."""
    for sku, pair in row.pairs.items():
        if (fleet := pair.fleet) is not None:
            rate = row.answers[sku].question.options.rate
            yield (
                f"{rate:g} requests/s take {fleet.gpus:,} GPUs of {sku} in {fleet.domains:,} "
                f"NVLink domain{'' if fleet.domains == 1 else 's'}: {fleet.power_kw:,.1f} kW and "
                f"${fleet.usd_per_year / 1e6:,.3f} million a year."
            )


def _differences(row: ComparisonRow) -> Iterator[str]:
    """Say why measured and modelled figures differ: gaps, and what was never run."""
    for sku, pair in row.pairs.items():
        answer = row.answers[sku]
        if hole := hole_of(pair.measured):
            yield f"{sku} as measured is interpolated over a gap: no run is published for {hole}."
        if answer.not_measured:
            yield f"{sku} as measured: {answer.not_measured}."
        if answer.reason:
            yield f"{sku} as modelled: {answer.reason}."
        if pair.modelled is not None and pair.modelled.extrapolated_in:
            outside = ", ".join(pair.modelled.extrapolated_in)
            yield f"{sku} as modelled was never measured in {outside}."


def _assumed(row: ComparisonRow) -> Iterator[str]:
    """Name the assumed fact that moves each modelled ratio most."""
    first = next(iter(row.pairs))
    for sku, ratio in row.ratios.items():
        if (fact := ratio.assumed) is None:
            yield f"{first} over {sku}: no assumed fact that another source has otherwise moves it."
            continue
        other = fact_value(fact.fact, fact.alternative, fact.unit)
        gives = "no ratio" if fact.modelled_cost is None else times(fact.modelled_cost)
        yield (
            f"{first} over {sku}: with the {fact_name(fact.fact)} of {fact.sku} at {other} in "
            f"place of {fact_value(fact.fact, fact.value, fact.unit)}, {first} is {gives} as cheap "
            f"as {sku} in place of {times(ratio.modelled_cost)}."
        )


def _reigns(fine: Sequence[ComparisonRow], kind: Kind) -> Iterator[str]:
    """Say from where to where each machine wins; nothing where none does."""
    parts = []
    for winner, rows in groupby(fine, key=lambda row: row.winner(kind)):
        if winner is not None:
            reached = [row.target_tok_s_per_user for row in rows]
            span = f"{reached[0]:g}" if len(reached) == 1 else f"{reached[0]:g} to {reached[-1]:g}"
            parts.append(f"{winner} at {span}")
    if parts:
        yield f"{'; '.join(parts)} tok/s/user."
