"""How far an answer holds where the constants are not quite what the fit says.

Constants are drawn from their uncertainty. Under each draw a shortlist of fleets is retuned, and
the answer is compared with the best of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from costmodel.calibration import Calibration, CalibrationFile
from costmodel.deployments import deployments_of, run
from costmodel.draws import draw_constants, drawn, single
from costmodel.inputs import BoolArray, FloatArray
from costmodel.results import Case, Configuration, Scenario
from optimizer.limits import Limits
from optimizer.placement import packs
from optimizer.retune import fleet_of, retuning_of, with_settings
from optimizer.search import Answer, curve
from optimizer.space import Space
from presets import ClusterSpec

DRAWS = 200
"""Draws of the constants. [1]"""

SEED = 0
"""Of the draws: the same question has the same answer. [1]"""

SCOUTS = 8
"""Draws under which the whole space is searched for fleets that the shortlist should have. [1]"""

FAN = (0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15)
"""Targets, over the one asked for, whose answers the shortlist has. [1]"""

BLOCK = 10
"""Draws evaluated at a time: arrays stay in the cache, and progress shows. [1]"""

EQUAL = 1e-6
"""Relative difference below which two deployments are as good as each other. [1]"""

NEAR = 0.01
"""Less than this is hardly worth another deployment. [1]"""

CHALLENGERS = 3
"""How many other fleets are named. [1]"""

Progress = Callable[[], None]


@dataclass(frozen=True)
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
    retuned : array of float
        Throughput of each fleet at the batch and users that suit it best, 0 where none meets the
        limits; shape ``(draws, fleets)``. [token/s per GPU]
    configured : array of float
        Throughput of the winner as answered, whether or not it meets the limits; shape
        ``(draws,)``. [token/s per GPU]
    meets : array of bool
        Whether it does; shape ``(draws,)``.
    """

    winner: Configuration
    fleets: tuple[Configuration, ...]
    settings: tuple[Configuration | None, ...]
    retuned: FloatArray
    configured: FloatArray
    meets: BoolArray

    @property
    def answers(self) -> tuple[Configuration, ...]:
        """Configurations that meet the limits under the values of the fit, the winner first."""
        return self.winner, *(each for each in self.settings[1:] if each)

    @property
    def best(self) -> FloatArray:
        """Best throughput of each draw, shape ``(draws,)`` [token/s per GPU]."""
        found = np.max(self.retuned, axis=1, initial=0.0)
        return np.asarray(np.maximum(found, np.where(self.meets, self.configured, 0.0)))


@dataclass(frozen=True)
class Holding:
    """How one reading of "the winner" fares over the draws; shares are of all draws.

    Attributes
    ----------
    best : float
        Share of draws in which nothing of the shortlist gives more per dollar. [1]
    near : float
        Share of draws in which nothing gives `NEAR` more. [1]
    meets : float
        Share of draws in which it meets the limits. [1]
    regret : float or None
        Mean of what it gives less than the best, as a share of the best, over the draws in which it
        meets the limits; None where it never does. [1]
    worst_regret : float or None
        The same, exceeded in 5 % of those draws. [1]
    """

    best: float
    near: float
    meets: float
    regret: float | None
    worst_regret: float | None


@dataclass(frozen=True)
class Robustness:
    """How far an answer holds.

    Attributes
    ----------
    draws, feasible : int
        Draws, and those in which anything of the shortlist meets the limits. [1]
    seed, fleets : int
        [1]
    configured : Holding
        The winner as answered: its batch and users stay.
    retuned : Holding
        Its fleet, with the batch and users that suit each draw.
    structure : Holding
        The best of the shortlist with its decode worker, attention and draft depth.
    challengers : tuple of (Configuration, float)
        Other fleets and the share of draws in which they are best, most often first.
    on_average : tuple of (Configuration, float) or None
        The fleet that gives most on average over the draws, and by how much more than the winner's,
        as a share of that; None where it is the winner's. [1]
    """

    draws: int
    feasible: int
    seed: int
    fleets: int
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
    draws: int = DRAWS,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Trials:
    """Draw the constants, and retune a shortlist of fleets under each draw.

    Parameters
    ----------
    winner : Configuration
        What the search answers under the values of `file`.
    scenario, cluster, limits, space
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
    constants = draw_constants(file, draws, seed)
    advance = progress or (lambda: None)
    calibrations = [single(file, constants, draw) for draw in range(min(SCOUTS, draws))]
    fleets = shortlist(winner, scenario, cluster, limits, file, calibrations, space, advance)
    retuning = retuning_of(fleets, scenario, cluster, limits, space)
    settings = with_settings(fleets, retuning.under(file.calibration))
    alone = deployments_of([Case(winner, scenario, cluster)])
    throughput, configured, meets = [], [], []
    for calibration, size in _blocks(file, constants, draws):
        value = retuning.under(calibration).total_tok_s_per_gpu
        throughput.append(np.broadcast_to(value, (size, len(fleets))))
        result = run(alone, calibration)
        fits = (result.tpot_median <= 1.0 / limits.target) & (
            result.ttft_mean <= (math.inf if limits.max_ttft is None else limits.max_ttft)
        )
        configured.append(np.broadcast_to(result.total_tok_s_per_gpu, (size, 1))[:, 0])
        meets.append(np.broadcast_to(fits, (size, 1))[:, 0])
        advance()
    return Trials(
        winner,
        fleets,
        settings,
        np.concatenate(throughput),
        np.concatenate(configured),
        np.concatenate(meets),
    )


def steps_of(draws: int = DRAWS) -> int:
    """How often `try_draws` reports progress."""
    return 1 + min(SCOUTS, draws) + math.ceil(draws / BLOCK)


def shortlist(
    winner: Configuration,
    scenario: Scenario,
    cluster: ClusterSpec,
    limits: Limits,
    file: CalibrationFile,
    calibrations: Sequence[Calibration],
    space: Space | None = None,
    progress: Progress = lambda: None,
) -> tuple[Configuration, ...]:
    """Fleets that may be best under some draw, the winner's first.

    Every winner and runner-up of the whole space, at targets around the one asked for and under
    some draws, and each of these fleets with one worker more or less of either role.
    """
    found = [winner]
    targets = [limits.target * factor for factor in FAN]
    found += _named(curve(scenario, cluster, targets, limits, file.calibration, space))
    progress()
    for calibration in calibrations:
        found += _named(curve(scenario, cluster, [limits.target], limits, calibration, space))
        progress()
    chosen = space or Space()
    fleets = dict.fromkeys(fleet_of(each) for each in found)
    for fleet in list(fleets):
        fleets |= dict.fromkeys(_neighbours(fleet, cluster, limits, chosen))
    return tuple(fleets)


def holdings(trials: Trials, seed: int = SEED) -> Robustness:
    """Count how often the winner stays best, and what choosing it costs."""
    best, first = trials.best, trials.retuned[:, 0]
    kin = [structure(fleet) == structure(trials.winner) for fleet in trials.fleets]
    # Its settings as answered are among those that its fleet can take.
    configured = np.where(trials.meets, trials.configured, 0.0)
    retuned = np.maximum(first, configured)
    alike = np.maximum(trials.retuned[:, np.array(kin)].max(axis=1), configured)
    return Robustness(
        draws=len(best),
        feasible=int(np.count_nonzero(best)),
        seed=seed,
        fleets=len(trials.fleets),
        configured=_holding(configured, best),
        retuned=_holding(retuned, best),
        structure=_holding(alike, best),
        challengers=_challengers(trials),
        on_average=_on_average(trials, retuned),
    )


def structure(configuration: Configuration) -> tuple[object, ...]:
    """Say what tells structures apart, as among runners-up."""
    return (
        configuration.decode_gpus_per_worker,
        configuration.decode_attention,
        configuration.mtp_depth,
    )


def _holding(value: FloatArray, best: FloatArray) -> Holding:
    """Compare what is chosen with the best of each draw; 0 where a limit is missed."""
    meets = value > 0
    regret = 1.0 - value[meets] / best[meets]
    return Holding(
        best=float(np.mean(meets & (value >= (1.0 - EQUAL) * best))),
        near=float(np.mean(meets & (value * (1.0 + NEAR) >= best))),
        meets=float(np.mean(meets)),
        regret=float(regret.mean()) if len(regret) else None,
        worst_regret=float(np.quantile(regret, 0.95)) if len(regret) else None,
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
    """Find the fleet that gives most on average; a draw in which it meets no limit counts as 0."""
    mean, own = trials.retuned.mean(axis=0), float(winner.mean())
    place = int(mean.argmax())
    if own == 0.0 or mean[place] <= (1.0 + EQUAL) * own:
        return None
    return trials.settings[place] or trials.fleets[place], float(mean[place] / own - 1.0)


def _named(answers: Sequence[Answer]) -> list[Configuration]:
    """Winners and runners-up of answers."""
    found = [answer.configuration for answer in answers if answer.configuration]
    return found + [other.configuration for answer in answers for other in answer.runners_up]


def _neighbours(
    fleet: Configuration, cluster: ClusterSpec, limits: Limits, space: Space
) -> Iterator[Configuration]:
    """Give a fleet with one worker more or less of either role, where the space has it."""
    for prefill, decode in product((-1, 0, 1), repeat=2):
        workers = fleet.prefill_workers + prefill, fleet.decode_workers + decode
        if workers[0] not in space.prefill_workers or workers[1] not in space.decode_workers:
            continue
        other = fleet.model_copy(
            update={"prefill_workers": workers[0], "decode_workers": workers[1]}
        )
        sizes = fleet.prefill_gpus_per_worker, fleet.decode_gpus_per_worker
        fits = packs(cluster, (sizes[1], workers[1]), (sizes[0], workers[0]))
        if other.gpus <= limits.max_gpus and fits:
            yield other


def _blocks(
    file: CalibrationFile, constants: dict[str, FloatArray], draws: int
) -> Iterator[tuple[Calibration, int]]:
    for start in range(0, draws, BLOCK):
        size = min(BLOCK, draws - start)
        part = {name: column[start : start + size] for name, column in constants.items()}
        yield drawn(file, part), size
