"""Explanations of an answer as frozen records: links, shadow prices, robustness.

Their JSON is what ``--explain`` and ``--robust`` add to that of the answer.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from costmodel.results import Configuration, Prediction
from moeplan.shown import Result
from presets.frozen import Frozen

UNITS = {
    "nic_bandwidth": "GB/s",
    "nvlink_bandwidth": "GB/s",
    "hbm_capacity": "GB",
    "max_gpus": "GPU",
    "target": "tok/s/user",
    "max_ttft": "s",
}
"""Limits that have a shadow price, with their units."""


class LinkLoad(Result):
    """What one GPU moves over one kind of link, one way, on average over time.

    Attributes
    ----------
    moved_bytes : float
        Per decode step, or per request of a prefill worker. [B]
    in_use_gb_s, rate_gb_s : float
        What is moved, and what the link could move. [GB/s]
    utilisation : float
        The first over the second. [1]
    """

    moved_bytes: float
    in_use_gb_s: float
    rate_gb_s: float
    utilisation: float


class WorkerLinks(Result):
    """Links of one GPU of either role; prefill is taken as bound by arithmetic, not by memory."""

    decode: Frozen[Literal["nvlink", "nic", "hbm"], LinkLoad]
    prefill: Frozen[Literal["nvlink", "nic"], LinkLoad]


class ShadowPrice(Result):
    """The answer with one limit a little wider.

    Attributes
    ----------
    limit, unit : str
        One of `UNITS`.
    before, after : float
        Value of the limit, in its unit.
    config, prediction
        The new answer.
    config_changes : bool
        Whether it is another configuration.
    throughput_change, cost_change, objective_change : float
        Relative to the old answer. [1]
    objective_amount : float
        What the objective comes to, in its unit.
    """

    limit: str
    unit: str
    before: float
    after: float
    config_changes: bool
    throughput_change: float
    cost_change: float
    objective_amount: float
    objective_change: float
    config: Configuration
    prediction: Prediction


class Explanation(Result):
    """Bandwidth by link of the winner, and the shadow price of each limit."""

    links: WorkerLinks
    shadow_prices: tuple[ShadowPrice, ...]


class Holding(Result):
    """How one reading of the winner fares over the draws.

    Attributes
    ----------
    stays_best, within_1_percent, meets_limits : float
        Shares of the draws. [1]
    expected_regret, regret_95 : float or None
        What it falls short of the best of each draw, as a share of the best, where it meets the
        limits: mean, and what 5 % of the draws exceed. Of tokens per second and dollar, GPU or
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


class Challenger(Result):
    """Another fleet, and the share of draws in which it is best [1]."""

    config: Configuration
    best: float


class OnAverage(Result):
    """The fleet that gives most on average over the draws, and how much more than the winner's [1].

    A draw in which a fleet meets no limit counts as nothing.
    """

    config: Configuration
    gain: float


class NextMeasurement(Result):
    """A configuration to measure.

    Attributes
    ----------
    expected_gain : float
        Rise of what is made best, in what is then chosen, as a share. [1]
    changes_choice : float
        Share of draws in which its figures lead to another fleet. [1]
    """

    config: Configuration
    expected_gain: float
    changes_choice: float


class Robustness(Result):
    """How far an answer holds where the constants are uncertain, and what to measure next.

    Attributes
    ----------
    draws, feasible_draws : int
        Draws, and those in which anything meets the limits. [1]
    seed, shortlist : int
        Seed, and how many fleets are compared. [1]
    objective, unit : str
        What is made best, and in what it counts.
    reaches_target : float or None
        Share of draws in which the median interactivity of the winner as it is meets the target,
        whatever else is asked. [1]
    as_configured : Holding
        The winner with its batch and users.
    retuned : Holding
        The winner's fleet with the batch and users that suit each draw.
    structure : Holding
        The best of the fleets with its decode worker, attention and draft depth.
    on_average : OnAverage or None
        None where the winner's fleet gives most on average.
    """

    draws: int
    feasible_draws: int
    seed: int
    shortlist: int
    objective: str
    unit: str
    reaches_target: float | None
    as_configured: Holding
    retuned: Holding
    structure: Holding
    challengers: tuple[Challenger, ...]
    on_average: OnAverage | None
    measure_next: tuple[NextMeasurement, ...]
    independent: Annotated[bool, Field(exclude=True)] = False  # no correlations in the calibration
    min_confidence: Annotated[float | None, Field(exclude=True)] = None  # as asked
    rows_can_say: Annotated[bool, Field(exclude=True)] = True  # --next-rows can write the rows
