"""What a plan takes in numbers, and what a solver chose and proved of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from optimizer.fleet_points import Pool


@dataclass(frozen=True)
class Counts:
    """What a plan takes, in numbers.

    Attributes
    ----------
    decode : dict
        From (tier, way, GPUs of a worker) to workers; those that are there. [1]
    prefill : dict
        From a pool to its workers; those that are there. [1]
    """

    decode: Mapping[tuple[int, int, int], int]
    prefill: Mapping[Pool, int]

    @property
    def feeding(self) -> dict[int, Pool]:
        """Pool of each tier."""
        return {tier: pool for pool in self.prefill for tier in pool.tiers}


class Choice(NamedTuple):
    """What the solver chose, and what it proved.

    Attributes
    ----------
    counts : Counts or None
        None where nothing was found.
    bound : int or None
        No plan weighs less, in units of the objective; None where there is no plan.
    is_optimal : bool
        Whether the program has no better choice.
    promised : int or None
        Objective of the counts.
    was_stopped : bool
        Whether Ctrl-C ended it.
    """

    counts: Counts | None
    bound: int | None
    is_optimal: bool
    promised: int | None = None
    was_stopped: bool = False
