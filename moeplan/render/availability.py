"""How often a plan serves its tiers, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moeplan.answers.availability import Availability
from moeplan.render.common import count, heading, paragraph, plain, table

if TYPE_CHECKING:
    from rich.console import RenderableType

HOUR = 3600.0


def report(answer: Availability) -> list[RenderableType]:
    """Lay out an answer."""
    assumed = [
        f"{kind} {name}"
        for kind, part in answer.parts.items()
        for name, of in (("rate", part.rate_kind), ("repair", part.repair_kind))
        if of == "assumed"
    ]
    return [
        heading(f"Availability over {count(answer.years, 'year')} of failures, seed {answer.seed}"),
        table(
            *("Tier", "Standing by", "Served", "Worst year", "Hours a year not", "Capacity"),
            left=2,
            rows=[
                [
                    each.tier,
                    each.spares,
                    _share(each.availability),
                    _share(each.worst_year),
                    f"{each.hours_per_year:,.1f}",
                    _share(each.capacity),
                ]
                for each in answer.tiers
            ],
        ),
        "",
        table(
            *("Part", "Parts", "Failures of one a year", "Hours away"),
            left=1,
            rows=[
                [
                    kind,
                    f"{part.parts:,}",
                    f"{part.rate_per_year:g}",
                    plain(part.repair_s / HOUR),
                ]
                for kind, part in answer.parts.items()
            ],
        ),
        "",
        paragraph(
            "Served: share of time in which the whole demand of a tier is served within its limits."
            " Capacity: share of its demand that the workers which are up could take, in the mean. "
            "Without spares workers wait for repair; with them they start anew on free GPUs of one "
            f"domain, which takes {plain(answer.restart_s / 60.0)} minutes."
        ),
        paragraph(
            f"{answer.failures_per_year:,.0f} failures a year."
            + (f" Assumed, not measured: {', '.join(assumed)}." if assumed else "")
        ),
    ]


def _share(value: float) -> str:
    return f"{100.0 * value:.3f} %"
