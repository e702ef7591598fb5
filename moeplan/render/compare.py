"""The answer of ``moeplan compare`` as tables and as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from moeplan.answers.comparison import (
    KINDS,
    MEASURED_NOISE,
    TOO_CLOSE,
    Comparison,
    ComparisonRow,
    Kind,
)
from moeplan.answers.rate_served import Fleet
from moeplan.answers.reasons import of_requests
from moeplan.render.common import (
    DASH,
    dollars,
    fact_name,
    fact_value,
    figure,
    heading,
    paragraph,
    priced,
    served,
    table,
    times,
    titled,
)
from moeplan.render.curve import EXTRAPOLATED, notes

if TYPE_CHECKING:
    from rich.console import RenderableType

BEYOND = "beyond"
"""Stands where no deployment, or no published row, meets a target; a longer word finds no room."""

SIDE_BY_SIDE = 2
"""Most machines that find room as measured and as modelled in one table. [1]"""


def report(comparison: Comparison) -> list[RenderableType]:
    """Lay out throughput and cost, each as measured and as modelled side by side."""
    answers = comparison.rows[0].answers
    scenarios = {served(answer.scenario) for answer in answers.values()}
    what = [served(answers[sku].scenario) for sku in comparison.skus]
    subtitle = (
        what[0]
        if len(scenarios) == 1
        else "; ".join(f"{sku}: {text}" for sku, text in zip(comparison.skus, what, strict=True))
    )
    prices = priced(
        [
            (
                f"{sku} at ${answers[sku].price_usd_per_hour:.2f} per GPU-hour",
                answers[sku].question.price_set,
            )
            for sku in comparison.skus
        ]
    )
    return [
        heading(" against ".join(titled(sku, answers[sku]) for sku in comparison.skus)),
        paragraph(f"{subtitle}; {prices}{_asked_of(comparison)}"),
        "",
        heading(f"Throughput, tok/s/GPU (ratio: first machine over {_others(comparison)})"),
        *_tables(comparison, "throughput", "total_tok_s_per_gpu", figure),
        "",
        heading("Cost, $ per million tokens (ratio: how many times cheaper the first machine is)"),
        *_tables(comparison, "cost", "usd_per_m_total_tokens", dollars),
        *_sure(comparison),
        *_ties(comparison),
        *_fleets(comparison),
        *[
            paragraph(note)
            for note in notes(
                {sku: [row.answers[sku] for row in comparison.rows] for sku in comparison.skus}
            )
        ],
        *_legend(comparison),
        *[paragraph(line) for line in assumed_lines(comparison)],
        paragraph("The configurations as modelled are what `moeplan curve` prints."),
    ]


def _sure(comparison: Comparison) -> list[RenderableType]:
    """Lay out how sure the modelled ratios of costs are; nothing where there is none."""
    first, *others = comparison.skus
    known = {sku: [row.ratios[sku].modelled_cost_90 for row in comparison.rows] for sku in others}
    if not any(any(each) for each in known.values()):
        return []
    rows = [
        [
            f"{row.target_tok_s_per_user:g}",
            *(
                " to ".join(map(times, pair)) if (pair := known[sku][at]) else DASH
                for sku in others
            ),
        ]
        for at, row in enumerate(comparison.rows)
    ]
    title = "How many times cheaper as modelled, 90 % intervals (errors that both share cancel)"
    return ["", heading(title), table("Target", *(f"{first}/{sku}" for sku in others), rows=rows)]


def _ties(comparison: Comparison) -> list[RenderableType]:
    """Lay out the price of each machine at which the choice flips; nothing where none ties."""
    rows = []
    for row in comparison.rows:
        cells = [f"{row.target_tok_s_per_user:g}"]
        for kind in KINDS:
            cells += [_tie(row, sku, kind) for sku in comparison.skus]
        rows.append(cells)
    if all(cell == DASH for _, *cells in rows for cell in cells):
        return []
    columns = [f"{sku}\n{kind}" for kind in KINDS for sku in comparison.skus]
    what = "the other machine" if len(comparison.skus) <= SIDE_BY_SIDE else "the cheapest other"
    title = f"Break-even, $ per GPU-hour (below it a machine is cheaper than {what}, at its price)"
    return ["", heading(title), table("Target", *columns, rows=rows)]


def _tie(row: ComparisonRow, sku: str, kind: Kind) -> str:
    tie = row.break_even(kind)[sku]
    return DASH if tie is None else f"{tie.usd_per_hour:,.2f}"


def _fleets(comparison: Comparison) -> list[RenderableType]:
    """Lay out what serves the rate on each machine, where one is asked for."""
    pairs = [(row, sku, row.pairs[sku].fleet) for row in comparison.rows for sku in comparison.skus]
    if not any(fleet for *_, fleet in pairs):
        return []
    rows = [
        [
            f"{row.target_tok_s_per_user:g}",
            sku,
            *(_bought(fleet) if fleet else (BEYOND, *4 * [DASH])),
        ]
        for row, sku, fleet in pairs
    ]
    rate = comparison.questions[comparison.skus[0]].options.rate
    title = f"To serve {rate:g} requests/s, as modelled (domains: NVLink domains in use)"
    columns = ("Target", "machine", "GPUs", "domains", "kW", "$/hour", "$ million/year")
    return ["", heading(title), table(*columns, rows=rows)]


def _bought(fleet: Fleet) -> tuple[str, ...]:
    return (
        f"{fleet.gpus:,}",
        f"{fleet.domains:,}",
        f"{fleet.power_kw:,.1f}",
        f"{fleet.usd_per_hour:,.2f}",
        f"{fleet.usd_per_year / 1e6:,.3f}",
    )


def _asked_of(comparison: Comparison) -> str:
    """Say of how many requests the targets are asked, where not of the median."""
    options = comparison.questions[comparison.skus[0]].options
    share = of_requests(options.target_percentile)
    return f"; targets met{share}" if share else ""


def _others(comparison: Comparison) -> str:
    return "second" if len(comparison.skus) <= SIDE_BY_SIDE else "each other"


def _legend(comparison: Comparison) -> list[RenderableType]:
    """Say what the words in the tables mean, where they stand there, and who is missing."""
    lines = [f"{sku} is not compared: {reason}." for sku, reason in comparison.refused.items()]
    if any(row.winner(kind) == TOO_CLOSE for row in comparison.rows for kind in KINDS):
        lines.append(
            f"{TOO_CLOSE}: measured costs differ by less than {100 * MEASURED_NOISE:g} %, or 1 "
            "lies in the 90 % interval of the ratio of modelled ones."
        )
    pairs = [(row, sku) for row in comparison.rows for sku in comparison.skus]
    if any(_is_beyond(row, sku, kind) for row, sku in pairs for kind in KINDS):
        lines.append(f"{BEYOND}: no deployment, or no published row, meets the target.")
    return [paragraph(line) for line in lines]


def assumed_lines(comparison: Comparison) -> Iterator[str]:
    """Name the assumed fact that moves the modelled ratio to each other machine most, and where."""
    first, *others = comparison.skus
    for sku in others:
        ratios = {f"{row.target_tok_s_per_user:g}": row.ratios[sku] for row in comparison.rows}
        found = {target: each.assumed for target, each in ratios.items() if each.assumed}
        if not found:
            yield (
                f"{first} over {sku} as modelled rests on no assumed fact that another source has "
                "otherwise."
            )
            continue
        target = max(found, key=lambda each: found[each].moves_by)
        fact, before = found[target], ratios[target].modelled_throughput
        value, alternative = (
            fact_value(fact.fact, each, fact.unit) for each in (fact.value, fact.alternative)
        )
        gives = times(fact.modelled_throughput) if fact.modelled_throughput else "no ratio"
        yield (
            f"{first} over {sku} as modelled rests most on an assumed fact at {target}: with the "
            f"{fact_name(fact.fact)} of {fact.sku} at {alternative} in place of {value}, the "
            f"search gives {gives} in place of {times(before)}."
        )


def _tables(
    comparison: Comparison, ratio: str, field: str, write: Callable[[float | None], str]
) -> list[RenderableType]:
    """Two machines side by side as measured and as modelled; more, one below the other."""
    if len(comparison.skus) <= SIDE_BY_SIDE:
        return [_table(comparison, ratio, field, write, KINDS)]
    first, second = (_table(comparison, ratio, field, write, (kind,)) for kind in KINDS)
    return [
        first,
        "",
        second,
        *(part for k in KINDS for part in ("", _ratios(comparison, ratio, k))),
    ]


def _ratios(comparison: Comparison, ratio: str, kind: Kind) -> RenderableType:
    """Lay out the ratios of the first machine to each other."""
    first, *others = comparison.skus
    columns = [f"{first}/{sku}\n{kind}" for sku in others]
    rows = [
        [
            f"{row.target_tok_s_per_user:g}",
            *(times(getattr(row.ratios[sku], f"{kind}_{ratio}")) for sku in others),
        ]
        for row in comparison.rows
    ]
    return table("Target", *columns, rows=rows)


def _table(
    comparison: Comparison,
    ratio: str,
    field: str,
    write: Callable[[float | None], str],
    kinds: tuple[Kind, ...],
) -> RenderableType:
    winners = ratio == "cost"
    beside = len(comparison.skus) <= SIDE_BY_SIDE
    columns = ["Target"]
    for kind in kinds:
        columns += [f"{sku}\n{kind}" for sku in comparison.skus]
        columns += [f"ratio\n{kind}"] if beside else []
        columns += [f"winner\n{kind}"] if winners else []
    rows = []
    for row in comparison.rows:
        cells = [f"{row.target_tok_s_per_user:g}"]
        for kind in kinds:
            cells += [_cell(row, sku, kind, field, write) for sku in comparison.skus]
            cells += [times(getattr(row.ratio, f"{kind}_{ratio}"))] if beside else []
            cells += [row.winner(kind) or DASH] if winners else []
        rows.append(cells)
    return table(*columns, rows=rows)


def _cell(
    row: ComparisonRow, sku: str, kind: Kind, field: str, write: Callable[[float | None], str]
) -> str:
    value = getattr(row.pairs[sku], kind)
    if value is not None:
        mark = EXTRAPOLATED if value.origin == "extrapolated" else ""
        return mark + write(getattr(value, field))
    return BEYOND if _is_beyond(row, sku, kind) else DASH


def _is_beyond(row: ComparisonRow, sku: str, kind: Kind) -> bool:
    missing = getattr(row.pairs[sku], kind) is None
    return missing and (kind == "modelled" or row.answers[sku].above_measured)
