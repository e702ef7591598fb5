"""A comparison as Markdown, for a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Iterator

from moeplan.answers.comparison import KINDS, Comparison, ComparisonRow
from moeplan.recipes.markdown import prose, rows
from moeplan.render.common import DASH, dollars, priced, served, titled
from moeplan.report.words import headline, verdict


def markdown_of(comparison: Comparison) -> str:
    """Write a comparison: in words at the middle target, then costs and break-even by target."""
    asked = [row.target_tok_s_per_user for row in comparison.rows]
    points = headline(comparison, (), asked[len(asked) // 2])  # who wins where is in the table
    answers = comparison.rows[0].answers
    scenarios = dict.fromkeys(served(answers[sku].scenario) for sku in comparison.skus)
    prices = priced(
        [
            (
                f"{sku} at ${answers[sku].price_usd_per_hour:.2f} per GPU-hour",
                answers[sku].question.price_set,
            )
            for sku in comparison.skus
        ]
    )
    parts = [
        f"# {prose(' against '.join(titled(sku, answers[sku]) for sku in comparison.skus))}",
        prose(f"{'; '.join(scenarios)}; {prices}."),
        "\n".join(
            f"- **{prose(title)}**: {prose(' '.join(sentences))}" for title, sentences in points
        ),
        "## Cost, $ per million tokens",
        rows(*_costs(comparison)),
        "## Break-even, $ per GPU-hour",
        "Below it a machine is cheaper than the cheapest other, at the price of that.",
        rows(*_ties(comparison)),
        *(prose(f"{sku} is not compared: {why}.") for sku, why in comparison.refused.items()),
        prose(f"* extrapolated, outside the calibration data. moeplan {comparison.version}."),
    ]
    return "\n\n".join(parts)


def _costs(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    heads = [f"{sku} {kind}" for kind in KINDS for sku in (*comparison.skus, "winner")]
    yield ("tok/s/user", *map(_cell, heads))
    for row in comparison.rows:
        cells = [f"{row.target_tok_s_per_user:g}"]
        for kind in KINDS:
            cells += [_cost(row, sku, kind) for sku in comparison.skus]
            cells += [verdict(row, kind) if row.winner(kind) else DASH]
        yield tuple(map(_cell, cells))


def _cell(text: str) -> str:
    """Write text that is nothing but text; bars are escaped with the table."""
    return prose(text).replace(r"\|", "|")


def _cost(row: ComparisonRow, sku: str, kind: str) -> str:
    value = getattr(row.pairs[sku], kind)
    star = "*" if getattr(value, "origin", None) == "extrapolated" else ""
    return DASH if value is None else star + dollars(value.usd_per_m_total_tokens)


def _ties(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    yield ("tok/s/user", *(_cell(f"{sku} {kind}") for kind in KINDS for sku in comparison.skus))
    for row in comparison.rows:
        ties = [row.break_even(kind)[sku] for kind in KINDS for sku in comparison.skus]
        prices = [DASH if tie is None else f"{tie.usd_per_hour:,.2f}" for tie in ties]
        yield (f"{row.target_tok_s_per_user:g}", *prices)
