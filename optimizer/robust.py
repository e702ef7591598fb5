"""How far an answer holds where the constants are not quite what the fit says.

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
from costmodel.results import Case, Configuration, Scenario
from optimizer.goal import Goal
from optimizer.ground import Ground
from optimizer.limits import Limits
from optimizer.retune import Retuning, retuning_of, with_settings
from optimizer.shortlist import Progress, shortlist
from optimizer.space import Space, shape_of
from optimizer.worth import Worth, worth_of
from presets import ClusterSpec

DRAWS = 200
"""Draws of the constants. [1]"""

SEED = 0
"""Of the draws: the same question has the same answer. [1]"""

SCOUTS = 8
"""Draws under which the whole space is searched for fleets that the shortlist should have. [1]"""

BLOCK = 10
"""Draws evaluated at a time: arrays stay in the cache, and progress shows. [1]"""

EQUAL = 1e-6
"""Relative difference below which two deployments are as good as each other. [1]"""

NEAR = 0.01
"""Less than this is hardly worth another deployment. [1]"""

CHALLENGERS = 3
"""How many other fleets are named. [1]"""


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


@dataclass(frozen=True)
class Holding:
    """How one reading of "the winner" fares over the draws; shares are of all draws.

    Attributes
    ----------
    best : float
        Share of draws in which nothing of the shortlist is worth more. [1]
    near : float
        Share of draws in which nothing is worth `NEAR` more. [1]
    meets : float
        Share of draws in which it meets the limits. [1]
    regret : float or None
        Mean of what it is worth less than the best, as a share of the best, over the draws in which
        it meets the limits; None where it never does. [1]
    worst_regret : float or None
        The same, exceeded in 5 % of those draws. [1]
    loss : float or None
        Mean of the regret in the unit of the objective.
    """

    best: float
    near: float
    meets: float
    regret: float | None
    worst_regret: float | None
    loss: float | None


@dataclass(frozen=True)
class Robustness:
    """How far an answer holds.

    Attributes
    ----------
    draws, feasible : int
        Draws, and those in which anything of the shortlist meets the limits. [1]
    seed, fleets : int
        [1]
    reaches : float
        Share of draws in which the median interactivity of the winner as answered meets the target,
        whatever else is asked. [1]
    configured : Holding
        The winner as answered: its batch and users stay.
    retuned : Holding
        Its fleet, with the batch and users that suit each draw.
    structure : Holding
        The best of the shortlist with its decode worker, attention and draft depth.
    challengers : tuple of (Configuration, float)
        Other fleets and the share of draws in which they are best, most often first.
    on_average : tuple of (Configuration, float) or None
        The fleet that is worth most on average over the draws, and by how much more than the
        winner's, as a share of that; None where it is the winner's. [1]
    """

    draws: int
    feasible: int
    seed: int
    fleets: int
    reaches: float
    configured: Holding
    retuned: Holding
    structure: Holding
    challengers: tuple[tuple[Configuration, float], ...]
    on_average: tuple[Configuration, float] | None


def try_draws(
    winner: Configuration,
    scenario: Scenario,
    cluster: ClusterSpec,
    limits: Limits,
    file: CalibrationFile,
    space: Space | None = None,
    *,
    goal: Goal | None = None,
    prefill_cluster: ClusterSpec | None = None,
    draws: int = DRAWS,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Trials:
    """Draw the constants, and retune a shortlist of fleets under each draw.

    Parameters
    ----------
    winner : Configuration
        What the search answers under the values of `file`.
    scenario, cluster, limits, space, goal, prefill_cluster
        As in the search.
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
    ground, asked = Ground(cluster, prefill_cluster, limits.max_gpus), goal or Goal()
    constants = draw_constants(file, draws, seed)
    advance = progress or (lambda: None)
    scouts = [single(file, constants, draw) for draw in range(min(SCOUTS, draws))]
    fleets = shortlist(
        winner, scenario, ground, limits, asked, [file.calibration, *scouts], space, advance
    )
    retuning = retuning_of(fleets, scenario, ground, limits, file.calibration, space)
    worth = worth_of(fleets, asked, scenario, ground)
    as_it_is = _as_it_is(winner, worth, limits, retuning, file.calibration)
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
    replicas : array of int
        That serve a rate under the values of the fit; 1 without a rate. [1]
    """

    deployments: Deployments
    worth: Worth
    limits: Limits
    promised: FloatArray
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
        meets = promises & (result.ttft_mean <= longest) & (worth > 0.0)
        return worth, np.asarray(meets), np.asarray(reaches)


def _as_it_is(
    winner: Configuration,
    worth: Worth,
    limits: Limits,
    retuning: Retuning,
    calibration: Calibration,
) -> _AsItIs:
    ground = worth.ground
    case = Case(winner, worth.scenario, ground.cluster, ground.prefill_cluster)
    alone, own = deployments_of([case]), worth_of([winner], worth.goal, worth.scenario, ground)
    return _AsItIs(
        alone,
        own,
        limits,
        retuning.promise.take(np.array([0])).share(np.array([winner.max_batch])),
        own.replicas(run(alone, calibration).total_tok_s_per_gpu),
    )


def holdings(trials: Trials, seed: int = SEED) -> Robustness:
    """Count how often the winner stays best, and what choosing it costs."""
    best, first = trials.best, trials.retuned[:, 0]
    own = shape_of(trials.winner).structure
    kin = [shape_of(fleet).structure == own for fleet in trials.fleets]
    # Its settings as answered are among those that its fleet can take.
    configured = np.where(trials.meets, trials.configured, 0.0)
    retuned = np.maximum(first, configured)
    alike = np.maximum(trials.retuned[:, np.array(kin)].max(axis=1), configured)
    return Robustness(
        draws=len(best),
        feasible=int(np.count_nonzero(best)),
        seed=seed,
        fleets=len(trials.fleets),
        reaches=float(np.mean(trials.reaches)),
        configured=_holding(configured, best, trials.worth),
        retuned=_holding(retuned, best, trials.worth),
        structure=_holding(alike, best, trials.worth),
        challengers=_challengers(trials),
        on_average=_on_average(trials, retuned),
    )


def _holding(value: FloatArray, best: FloatArray, worth: Worth) -> Holding:
    """Compare what is chosen with the best of each draw; 0 where a limit is missed."""
    meets = value > 0
    regret = 1.0 - value[meets] / best[meets]
    loss = np.abs(worth.amount(best[meets]) - worth.amount(value[meets]))
    return Holding(
        best=float(np.mean(meets & (value >= (1.0 - EQUAL) * best))),
        near=float(np.mean(meets & (value * (1.0 + NEAR) >= best))),
        meets=float(np.mean(meets)),
        regret=float(regret.mean()) if len(regret) else None,
        worst_regret=float(np.quantile(regret, 0.95)) if len(regret) else None,
        loss=float(loss.mean()) if len(regret) else None,
    )


def _challengers(trials: Trials) -> tuple[tuple[Configuration, float], ...]:
    best = trials.best
    wins = (trials.retuned >= (1.0 - EQUAL) * best[:, np.newaxis]) & (best > 0)[:, np.newaxis]
    share = wins.mean(axis=0)
    order = [
        place for place in np.argsort(-share, kind="stable").tolist() if place and share[place]
    ]
    return tuple(
        (trials.settings[place] or trials.fleets[place], float(share[place]))
        for place in order[:CHALLENGERS]
    )


def _on_average(trials: Trials, winner: FloatArray) -> tuple[Configuration, float] | None:
    """Find the fleet worth most on average; a draw in which it meets no limit counts as 0."""
    mean, own = trials.retuned.mean(axis=0), float(winner.mean())
    place = int(mean.argmax())
    if own == 0.0 or mean[place] <= (1.0 + EQUAL) * own:
        return None
    return trials.settings[place] or trials.fleets[place], float(mean[place] / own - 1.0)


def _blocks(
    file: CalibrationFile, constants: dict[str, FloatArray], draws: int
) -> Iterator[tuple[Calibration, int]]:
    for start in range(0, draws, BLOCK):
        size = min(BLOCK, draws - start)
        part = {name: column[start : start + size] for name, column in constants.items()}
        yield drawn(file, part), size
