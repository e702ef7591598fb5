"""What an answer and its rivals give where the constants are not quite what the fit says.

Constants are drawn from their uncertainty. Under each draw a shortlist of fleets is retuned, and
the answer is compared with the best of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from costmodel.calibration import Calibration, CalibrationFile
from costmodel.deployments import Deployments, deployments_of, run
from costmodel.draws import draw_constants, drawn, single
from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.results import Case, Configuration
from optimizer.problem import Limits, Problem
from optimizer.robustness.retune import Retuning, retuning_of, with_settings
from optimizer.robustness.shortlist import Progress, shortlist
from optimizer.worth import Worth, worth_of

DRAWS = 200
"""Draws of the constants. [1]"""

SEED = 0
"""Of the draws: the same question has the same answer. [1]"""

SCOUTS = 8
"""Draws under which the whole space is searched for fleets that the shortlist should have. [1]"""

BLOCK = 10
"""Draws evaluated at a time: arrays stay in the cache, and progress shows. [1]"""


@dataclass(frozen=True, eq=False)
class Trials:
    """What the winner and the shortlist give under each draw.

    Attributes
    ----------
    winner : Configuration
        As answered.
    fleets : tuple of Configuration
        The shortlist, the winner's first.
    settings : tuple of (Configuration or None)
        Each with the batch and users that suit it best under the values of the fit; None where none
        meets the limits.
    worth : Worth
        What the objective makes of throughput.
    retuned : array of float
        Worth of each fleet at the batch and users that suit it best, 0 where none meets the
        limits; shape ``(draws, fleets)``. [token/s per GPU]
    configured : array of float
        Worth of the winner as answered, whether or not it meets the limits; shape ``(draws,)``.
        [token/s per GPU]
    meets : array of bool
        Whether it does; shape ``(draws,)``.
    reaches : array of bool
        Whether its median interactivity meets the target, whatever else is asked; shape
        ``(draws,)``.
    """

    winner: Configuration
    fleets: tuple[Configuration, ...]
    settings: tuple[Configuration | None, ...]
    worth: Worth
    retuned: FloatArray
    configured: FloatArray
    meets: BoolArray
    reaches: BoolArray

    @property
    def answers(self) -> tuple[Configuration, ...]:
        """Configurations that meet the limits under the values of the fit, the winner first."""
        return self.winner, *(each for each in self.settings[1:] if each)

    @property
    def best(self) -> FloatArray:
        """Best worth of each draw, shape ``(draws,)`` [token/s per GPU]."""
        found = np.max(self.retuned, axis=1, initial=0.0)
        return np.asarray(np.maximum(found, np.where(self.meets, self.configured, 0.0)))


def try_draws(
    winner: Configuration,
    problem: Problem,
    file: CalibrationFile,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Trials:
    """Draw the constants, and retune a shortlist of fleets under each draw.

    Parameters
    ----------
    winner : Configuration
        What the search answers under the values of `file`.
    problem : Problem
        What was asked.
    file : CalibrationFile
        Constants with their standard errors and correlations.
    draws, seed : int
        [1]
    progress : callable, optional
        Called `steps_of` times, evenly.

    Raises
    ------
    InputError
        As the search does.
    """
    constants = draw_constants(file, draws, seed)
    advance = progress or (lambda: None)
    scouts = [single(file, constants, draw) for draw in range(min(SCOUTS, draws))]
    fitted = problem.under(file.calibration)
    fleets = shortlist(winner, problem, [file.calibration, *scouts], advance)
    retuning, worth = retuning_of(fleets, fitted), worth_of(fleets, fitted)
    as_it_is = _as_it_is(winner, fitted, retuning)
    retuned: list[FloatArray] = []
    configured: list[FloatArray] = []
    meets: list[BoolArray] = []
    reaches: list[BoolArray] = []
    for calibration, size in _blocks(file, constants, draws):
        value = worth.of(retuning.under(calibration).total_tok_s_per_gpu)
        given, fits, fast = as_it_is.under(calibration)
        retuned.append(np.broadcast_to(value, (size, len(fleets))))
        configured.append(np.broadcast_to(given, (size, 1))[:, 0])
        meets.append(np.broadcast_to(fits, (size, 1))[:, 0])
        reaches.append(np.broadcast_to(fast, (size, 1))[:, 0])
        advance()
    return Trials(
        winner,
        fleets,
        with_settings(fleets, retuning.under(file.calibration)),
        worth,
        np.concatenate(retuned),
        np.concatenate(configured),
        np.concatenate(meets),
        np.concatenate(reaches),
    )


def steps_of(draws: int = DRAWS) -> int:
    """How often `try_draws` reports progress."""
    return 1 + min(SCOUTS, draws) + math.ceil(draws / BLOCK)


@dataclass(frozen=True)
class _AsItIs:
    """The winner with its batch and users, whatever the constants.

    Attributes
    ----------
    deployments : Deployments
        The winner alone.
    worth : Worth
        Of it alone.
    limits : Limits
    promised : array of float
        Share of its median interactivity that counts against the target. [1]
    ttft_factor : array of float
        Factor by which its mean TTFT counts against the limit. [1]
    replicas : array of int
        That serve a rate under the values of the fit; 1 without a rate. [1]
    """

    deployments: Deployments
    worth: Worth
    limits: Limits
    promised: FloatArray
    ttft_factor: FloatArray
    replicas: IntArray

    def under(self, calibration: Calibration) -> tuple[FloatArray, BoolArray, BoolArray]:
        """Say what it is worth, whether it meets the limits and rate, and whether the target alone.

        The target alone is that of the median.
        """
        result = run(self.deployments, calibration)
        worth = self.worth.of(result.total_tok_s_per_gpu, self.replicas)
        longest = math.inf if self.limits.max_ttft is None else self.limits.max_ttft
        reaches = result.tpot_median <= 1.0 / self.limits.target
        promises = result.tpot_median <= self.promised / self.limits.target
        meets = promises & (result.ttft_mean * self.ttft_factor <= longest) & (worth > 0.0)
        return worth, np.asarray(meets), np.asarray(reaches)


def _as_it_is(winner: Configuration, problem: Problem, retuning: Retuning) -> _AsItIs:
    case = Case(winner, problem.scenario, *problem.resources)
    alone, own = deployments_of([case]), worth_of([winner], problem)
    promise, batch = retuning.promise.take(np.array([0])), np.array([winner.max_batch])
    return _AsItIs(
        alone,
        own,
        problem.limits,
        promise.speed(batch),
        promise.ttft_factor(batch, retuning.widening[:1]),
        own.replicas(run(alone, problem.calibration).total_tok_s_per_gpu),
    )


def _blocks(
    file: CalibrationFile, constants: dict[str, FloatArray], draws: int
) -> Iterator[tuple[Calibration, int]]:
    for start in range(0, draws, BLOCK):
        size = min(BLOCK, draws - start)
        part = {name: column[start : start + size] for name, column in constants.items()}
        yield drawn(file, part), size
