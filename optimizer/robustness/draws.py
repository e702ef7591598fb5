"""Draws of what an answer rests on: constants of the cost model, and assumed facts of machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from costmodel.calibration import Calibration, CalibrationFile
from costmodel.draws import draw_constants, drawn, single
from costmodel.inputs import FloatArray, IntArray
from optimizer.assumed import AssumedFact, assumed_facts, supposing
from optimizer.problem import Problem


@dataclass(frozen=True, eq=False)
class Draws:
    """Constants and assumed facts of each draw.

    Attributes
    ----------
    problem : Problem
        As asked.
    file : CalibrationFile
        Constants with their standard errors and correlations.
    constants : dict
        Drawn values, shape ``(draws, 1)``, by name.
    facts : dict
        Drawn values in the unit of the fact, shape ``(draws,)``.
    count : int
        Draws. [1]
    """

    problem: Problem
    file: CalibrationFile
    constants: Mapping[str, FloatArray]
    facts: Mapping[AssumedFact, FloatArray]
    count: int

    @cached_property
    def machines(self) -> tuple[tuple[Problem, IntArray], ...]:
        """The problem on each of the machines that are drawn, and the draws that have them."""
        if not self.facts:
            return ((self.problem, np.arange(self.count)),)
        rows, place = np.unique(np.array([*self.facts.values()]), axis=1, return_inverse=True)
        return tuple(
            (
                supposing(self.problem, dict(zip(self.facts, values, strict=True))),
                np.flatnonzero(place.ravel() == column),
            )
            for column, values in enumerate(rows.T.tolist())
        )

    def calibration(self, draws: IntArray) -> Calibration:
        """Calibration of some draws at once: each drawn constant of shape ``(draws, 1)``."""
        return drawn(self.file, {name: each[draws] for name, each in self.constants.items()})

    def problem_of(self, draw: int) -> Problem:
        """Problem under one draw."""
        there = next(problem for problem, draws in self.machines if draw in draws)
        return there.under(single(self.file, dict(self.constants), draw))


def draw(problem: Problem, file: CalibrationFile, draws: int, seed: int) -> Draws:
    """Draw constants as `draw_constants` does, and each assumed fact apart from them.

    A fact is as assumed or as one of the other sources has it, each as likely: values are dealt out
    in rounds of random order, so that any few draws in a row have all of them.

    Raises
    ------
    InputError
        As the search does.
    """
    constants = draw_constants(file, draws, seed)
    # A generator of its own: constants are drawn as they are without assumed facts.
    random = np.random.default_rng((seed, 1))
    facts = {
        fact: np.concatenate(
            [random.permutation(fact.values) for _ in range(-(-draws // len(fact.values)))]
        )[:draws]
        for fact in assumed_facts(problem)
    }
    return Draws(problem, file, constants, facts, draws)
