"""Curves over a fine grid of targets, for whoever draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from moeplan.answers.best import Best
from moeplan.api import UNIT, curves_of
from moeplan.machines import machines_of
from moeplan.numbers import positive_number
from moeplan.options import DEFAULTS, Options
from moeplan.question import ask
from moeplan.report.measured import speeds_of
from optimizer.space import Space
from presets import InputError

POINTS = 60
"""Most steps of the grid over which a report answers. [1]"""

ROOM = 2.0
"""How far the grid reaches beyond the targets where nothing was measured. [1]"""

STEPS = (1.0, 2.0, 2.5, 5.0)
"""Widths of a step that read well, times a power of ten. [1]"""


class Over(NamedTuple):
    """Answers of machines over a grid, those asked for among them.

    Attributes
    ----------
    targets, grid : list of float
        Asked for, and all of the grid, rising. [token/s]
    curves : dict
        Answers at the targets of the grid, by label of the machine.
    refused : dict
        Why a machine could not be asked, by label.
    """

    targets: list[float]
    grid: list[float]
    curves: dict[str, list[Best]]
    refused: dict[str, str]

    def asked(self) -> dict[str, list[Best]]:
        """Answers at the targets that were asked for alone, in that order."""
        places = [self.grid.index(target) for target in self.targets]
        return {label: [curve[at] for at in places] for label, curve in self.curves.items()}


def curves_over(
    skus: Sequence[str],
    targets: Sequence[float],
    options: Options | Mapping[str, Options] = DEFAULTS,
    space: Space | None = None,
    least: int = 1,
) -> Over:
    """Answer at some targets and over a grid around them; arguments are those of `curves_of`.

    Raises
    ------
    InputError
        As `moeplan.compare` does.
    """
    wanted = [positive_number("target", target, UNIT) for target in targets]
    if not wanted:
        raise InputError("targets: none is given; give at least one")
    grid = grid_of(wanted, _measured(skus, options, least))
    curves, refused = curves_of(skus, grid, options, space, explained=wanted, least=least)
    return Over(wanted, grid, curves, refused)


def grid_of(targets: Sequence[float], measured: Sequence[float] = ()) -> list[float]:
    """Targets of a report, rising: those asked for, and even steps over all that was measured.

    Parameters
    ----------
    targets : sequence of float
        Asked for. [token/s]
    measured : sequence of float
        Interactivity of measured points. [token/s]

    Examples
    --------
    >>> grid_of([50, 72], [40.0, 90.5])[:5], len(grid_of([50.0], [10.0, 1000.0]))
    ([40.0, 41.0, 42.0, 43.0, 44.0], 51)
    """
    ends = [*targets, *measured]
    low, high = min(ends), max(ends)
    if not measured:
        low, high = low / ROOM, high * ROOM
    least = max((high - low) / POINTS, low / 100.0)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(each * power for each in (*STEPS, 10.0) if each * power >= least * (1 - 1e-9))
    even = range(math.ceil(low / step), math.floor(high / step) + 1)
    return sorted({*map(float, targets), *(round(place * step, 9) for place in even)})


def _measured(
    skus: Sequence[str], options: Options | Mapping[str, Options], least: int
) -> list[float]:
    """Interactivity of all measured points of the machines [token/s]; a refused one has none."""
    found: list[float] = []
    for _, sku, own in machines_of(skus, options, least):
        try:
            found += speeds_of(ask(sku, own))
        except InputError:
            continue  # `compare` says why
    return found
