"""How far an answer holds: how often it stays best over the draws, and what choosing it costs."""

from __future__ import annotations

import numpy as np

from costmodel.inputs import BoolArray, FloatArray
from costmodel.results import Configuration
from optimizer.robustness.trials import SEED, Trials
from optimizer.space import shape_of
from optimizer.worth import Worth
from presets.record import Record

EQUAL = 1e-6
"""Relative difference below which two deployments are as good as each other. [1]"""

NEAR = 0.01
"""Less than this is hardly worth another deployment. [1]"""

CHALLENGERS = 3
"""How many other fleets are named. [1]"""


class Holding(Record):
    """How one reading of "the winner" fares over the draws; shares are of all draws.

    Attributes
    ----------
    stays_best : float
        Share of draws in which nothing of the shortlist is worth more. [1]
    within_1_percent : float
        Share of draws in which nothing is worth `NEAR` more. [1]
    meets_limits : float
        Share of draws in which it meets the limits. [1]
    expected_regret, regret_95 : float or None
        What it falls short of the best of each draw, as a share of the best, where it meets the
        limits: mean, and what 5 % of those draws exceed. Of tokens per second and dollar, GPU or
        watt, as the objective has it. None where it never meets them. [1]
    expected_regret_in_unit : float or None
        The mean in the unit of the objective.
    """

    stays_best: float
    within_1_percent: float
    meets_limits: float
    expected_regret: float | None
    regret_95: float | None
    expected_regret_in_unit: float | None


class Challenger(Record):
    """Another fleet, and the share of draws in which it is best [1]."""

    config: Configuration
    best: float


class OnAverage(Record):
    """The fleet that gives most on average over the draws, and how much more than the winner's [1].

    A draw in which a fleet meets no limit counts as nothing.
    """

    config: Configuration
    gain: float


class TakenAs(Record):
    """How the fleet of the winner fares in the draws that take an assumed fact to have one value.

    Attributes
    ----------
    value : float
        In the unit of the fact.
    draws : int
        That take it so. [1]
    stays_best : float
        Share of these in which nothing of the shortlist is worth more than the fleet. [1]
    """

    value: float
    draws: int
    stays_best: float


class AssumedHolding(Record):
    """How the fleet of the winner fares by what an assumed fact is taken as.

    Attributes
    ----------
    sku, fact, unit : str
        Machine, name of the fact in its preset, and SI unit.
    taken_as : tuple of TakenAs
        The value of the preset first.
    """

    sku: str
    fact: str
    unit: str
    taken_as: tuple[TakenAs, ...]


class Holdings(Record):
    """How far an answer holds where constants and assumed facts are uncertain.

    Attributes
    ----------
    draws, feasible_draws : int
        Draws, and those in which anything of the shortlist meets the limits. [1]
    seed, shortlist : int
        Seed, and how many fleets are compared. [1]
    reaches_target : float or None
        Share of draws in which the median interactivity of the winner as answered meets the target,
        whatever else is asked. [1]
    as_configured : Holding
        The winner as answered: its batch and users stay.
    retuned : Holding
        Its fleet, with the batch and users that suit each draw.
    structure : Holding
        The best of the shortlist with its decode worker, attention and draft depth.
    challengers : tuple of Challenger
        Other fleets, those that are best most often first.
    on_average : OnAverage or None
        None where the winner's fleet gives most on average.
    assumed : tuple of AssumedHolding
        The assumed facts that are drawn.
    """

    draws: int
    feasible_draws: int
    seed: int
    shortlist: int
    reaches_target: float | None
    as_configured: Holding
    retuned: Holding
    structure: Holding
    challengers: tuple[Challenger, ...]
    on_average: OnAverage | None
    assumed: tuple[AssumedHolding, ...] = ()


def holdings(trials: Trials, seed: int = SEED) -> Holdings:
    """Count how often the winner stays best, and what choosing it costs."""
    best, first = trials.best, trials.retuned[:, 0]
    own = shape_of(trials.winner).structure
    kin = [shape_of(fleet).structure == own for fleet in trials.fleets]
    # Its settings as answered are among those that its fleet can take.
    configured = np.where(trials.meets, trials.configured, 0.0)
    retuned = np.maximum(first, configured)
    alike = np.maximum(trials.retuned[:, np.array(kin)].max(axis=1), configured)
    return Holdings(
        draws=len(best),
        feasible_draws=int(np.count_nonzero(best)),
        seed=seed,
        shortlist=len(trials.fleets),
        reaches_target=float(np.mean(trials.reaches)),
        as_configured=_holding(configured, best, trials.worth),
        retuned=_holding(retuned, best, trials.worth),
        structure=_holding(alike, best, trials.worth),
        challengers=_challengers(trials),
        on_average=_on_average(trials, retuned),
        assumed=_assumed(trials, _stays(retuned, best)),
    )


def _holding(value: FloatArray, best: FloatArray, worth: Worth) -> Holding:
    """Compare what is chosen with the best of each draw; 0 where a limit is missed."""
    meets = value > 0
    regret = 1.0 - value[meets] / best[meets]
    loss = np.abs(worth.amount(best[meets]) - worth.amount(value[meets]))
    return Holding(
        stays_best=float(np.mean(_stays(value, best))),
        within_1_percent=float(np.mean(meets & (value * (1.0 + NEAR) >= best))),
        meets_limits=float(np.mean(meets)),
        expected_regret=float(regret.mean()) if len(regret) else None,
        regret_95=float(np.quantile(regret, 0.95)) if len(regret) else None,
        expected_regret_in_unit=float(loss.mean()) if len(regret) else None,
    )


def _stays(value: FloatArray, best: FloatArray) -> BoolArray:
    """Tell the draws in which what is chosen meets the limits and nothing is worth more."""
    return np.asarray((value > 0) & (value >= (1.0 - EQUAL) * best))


def _assumed(trials: Trials, stays: BoolArray) -> tuple[AssumedHolding, ...]:
    found = []
    for fact, drawn in trials.facts.items():
        taken = [(value, stays[drawn == value]) for value in fact.values]
        found.append(
            AssumedHolding(
                sku=fact.sku,
                fact=fact.fact,
                unit=fact.unit,
                taken_as=tuple(
                    TakenAs(value=value, draws=len(some), stays_best=float(some.mean()))
                    for value, some in taken
                    if len(some)
                ),
            )
        )
    return tuple(found)


def _challengers(trials: Trials) -> tuple[Challenger, ...]:
    best = trials.best
    wins = (trials.retuned >= (1.0 - EQUAL) * best[:, np.newaxis]) & (best > 0)[:, np.newaxis]
    share = wins.mean(axis=0)
    order = [
        place for place in np.argsort(-share, kind="stable").tolist() if place and share[place]
    ]
    return tuple(
        Challenger(config=_settings(trials, place), best=float(share[place]))
        for place in order[:CHALLENGERS]
    )


def _on_average(trials: Trials, winner: FloatArray) -> OnAverage | None:
    """Find the fleet worth most on average; a draw in which it meets no limit counts as 0."""
    mean, own = trials.retuned.mean(axis=0), float(winner.mean())
    place = int(mean.argmax())
    if own == 0.0 or mean[place] <= (1.0 + EQUAL) * own:
        return None
    return OnAverage(config=_settings(trials, place), gain=float(mean[place] / own - 1.0))


def _settings(trials: Trials, place: int) -> Configuration:
    """Fleet with the batch and users that suit it, where any do."""
    return trials.settings[place] or trials.fleets[place]
