"""The answer of ``moeplan sensitivity``: a tornado, and a map where one was asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from moeplan.answers.tornado import Map, Swing, Tornado
from moeplan.render.common import DASH, dollars, heading, paragraph, plain, table, times

if TYPE_CHECKING:
    from rich.console import RenderableType

BAR = 22
"""Columns of the bars. [1]"""

SMALL = 5e-4
"""Change of a logarithm that is none in print. [1]"""

BEYOND = "beyond"


def report(found: Tornado) -> list[RenderableType]:
    """Lay out what moves the measure, the most first, and then what does not."""
    moved = [each for each in found.swings if each.moves_by is None or each.moves_by > SMALL]
    still = [each.name for each in found.swings if each not in moved]
    first, *others = found.machines
    what = (
        f"Cost of {others[0]} over that of {first}"
        if others
        else f"Cost of {first}, $ per million tokens,"
    )
    widest = max((each.moves_by or 0.0 for each in moved), default=0.0)
    lines = [
        f"Each is made lower and higher by a factor of {found.by:g} (domain sizes by 2, assumed "
        "facts as other sources have them) and the search is repeated; calibration is the 90 % "
        "interval" + (", errors that both share left out." if others else ".")
    ]
    if still:
        lines.append(f"These move nothing: {', '.join(still)}.")
    if found.left_out:
        lines.append(f"No other value can be asked here of: {', '.join(found.left_out)}.")
    if any(each.moves_by is None for each in moved):
        lines.append(f"{BEYOND}: with it nothing meets the target.")
    return [
        heading(
            f"{what} at {found.target_tok_s_per_user:g} tok/s/user: {_written(found, found.base)}"
        ),
        "",
        table(
            "What",
            "from",
            "to",
            "gives",
            "and",
            "less │ more",
            left=1,
            rows=[_cells(found, each, widest) for each in moved],
        ),
        *map(paragraph, lines),
        *(_map(found, found.map) if found.map else []),
    ]


def _cells(found: Tornado, swing: Swing, widest: float) -> list[str]:
    ends = [DASH if value is None else plain(value) for value in (swing.low, swing.high)]
    unit = "" if swing.low is None and swing.high is None else f" [{swing.unit}]"
    gives = [
        _written(found, at) if at is not None else DASH if missing else BEYOND
        for at, missing in (
            (swing.at_low, swing.low is None),
            (swing.at_high, swing.high is None),
        )
    ]
    return [swing.name + unit, *ends, *gives, _bar(found.base, swing, widest)]


def _bar(base: float, swing: Swing, widest: float) -> str:
    """Draw how far the measure falls and rises, on either side of what it is."""
    moves = [math.log(at / base) for at in (swing.at_low, swing.at_high) if at is not None]
    half = BAR // 2

    def length(change: float) -> int:
        return min(half, round(half * change / widest)) if widest else 0

    down, up = length(max([0.0, *(-each for each in moves)])), length(max([0.0, *moves]))
    beyond = swing.moves_by is None
    return (
        " " * (half - down) + "█" * down + "│" + "█" * up + ("…" if beyond else " " * (half - up))
    )


def _map(found: Tornado, drawn: Map) -> list[RenderableType]:
    columns = [f"{plain(value)}\n{drawn.units[1]}" for value in drawn.columns]
    rows = [
        [
            f"{plain(row)} {drawn.units[0]}",
            *(BEYOND if value is None else _written(found, value) for value in values),
        ]
        for row, values in zip(drawn.rows, drawn.values, strict=True)
    ]
    first, second = drawn.names
    title = f"{first} (down) against {second} (across)"
    return ["", heading(title), table(first, *columns, rows=rows)]


def _written(found: Tornado, value: float) -> str:
    return times(value) if found.measure == "ratio" else dollars(value)
