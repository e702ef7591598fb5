"""What ``moeplan fleet`` answers: a plan of workers for all tiers, and what is proven of it."""

from __future__ import annotations

import json
from typing import Any, Literal

from costmodel.results import Configuration, Prediction
from moeplan.answers.best import ScenarioSummary
from moeplan.answers.placement import Domain
from moeplan.answers.plan_question import PlanQuestion
from moeplan.answers.record import Answer
from moeplan.answers.replan import Replan
from moeplan.answers.rows import figures_of
from presets.frozen import Frozen
from presets.pools import Serving
from presets.record import Record


class PlanObjective(Record):
    """What was made least, and how far it is from what is proven.

    Attributes
    ----------
    name : {"cost", "gpus", "power"}
    amount : float or None
        Of the plan, in `unit`; None without one.
    unit : str
    bound : float or None
        No plan has less.
    gap : float or None
        Share of `amount` by which another plan may be less. [1]
    """

    name: Literal["cost", "gpus", "power"]
    amount: float | None
    unit: str
    bound: float | None
    gap: float | None


class PlanSearch(Record):
    """How the plan was found.

    Attributes
    ----------
    status : {"OPTIMAL", "FEASIBLE", "INFEASIBLE", "UNKNOWN"}
    rounds, cuts : int
        Integer programs solved, and cuts added to them. [1]
    variables, constraints : int
        Of the program, before any cut. [1]
    seconds : float
        [s]
    proven : str
        What is proven, and what is not.
    """

    status: Literal["OPTIMAL", "FEASIBLE", "INFEASIBLE", "UNKNOWN"]
    rounds: int
    cuts: int
    variables: int
    constraints: int
    seconds: float
    proven: str


class DecodeGroup(Record):
    """Decode workers of one shape that serve a tier.

    Attributes
    ----------
    config : Configuration
        With all workers of the pool that feeds them, and the users that ask for `requests_per_s`.
    prediction : Prediction
        Throughput and cost are per GPU of these and of their share of the pool.
    chance_to_meet : dict
        Probability with which the target and a limit on TTFT are met.
    requests_per_s, most_requests_per_s : float
        What they are given, and what their largest batch yields. [1/s]
    batch_in_flight : float
        Per rank (dp) or worker (tp). [1]
    """

    config: Configuration
    prediction: Prediction
    chance_to_meet: Frozen[Literal["target", "max_ttft"], float]
    requests_per_s: float
    most_requests_per_s: float
    batch_in_flight: float

    @property
    def headroom(self) -> float:
        """Share by which the demand may grow before their batch is full [1]."""
        return self.most_requests_per_s / self.requests_per_s - 1.0


class OtherMode(Record):
    """What the mode that was not chosen would take, where a tier may be served in either.

    Attributes
    ----------
    serving : {"aggregated", "disaggregated"}
    amount_at_least : float or None
        No plan that serves the tier so has less of the objective; None where there is none.
    """

    serving: Serving
    amount_at_least: float | None


class PlannedTier(Record):
    """One tier and what serves it.

    Attributes
    ----------
    name : str
    number : int
        Its place in the demand, from 1: the `replica` of its decode workers in `placement`.
    scenario : ScenarioSummary
    target_tok_s_per_user, requests_per_s : float
        As asked. [token/s/user], [1/s]
    max_ttft_s : float or None
    sku : str or None
        Machine that it stands on; None without a plan.
    serving : {"aggregated", "disaggregated"} or None
        Whether its workers prefill what they decode; None without a plan.
    other_serving : OtherMode or None
        Where either was asked for.
    pool : int or None
        Number of the prefill pool that feeds it; None also where its workers prefill.
    decode : tuple of DecodeGroup
        One for each size of worker.
    """

    name: str
    number: int
    scenario: ScenarioSummary
    target_tok_s_per_user: float
    requests_per_s: float
    max_ttft_s: float | None
    sku: str | None
    serving: Serving | None
    other_serving: OtherMode | None
    pool: int | None
    decode: tuple[DecodeGroup, ...]

    @property
    def gpus(self) -> int:
        """GPUs of its decode workers."""
        return sum(group.config.decode_gpus for group in self.decode)

    @property
    def users(self) -> int:
        """Users at once."""
        return sum(group.config.concurrency for group in self.decode)


class PrefillPool(Record):
    """Prefill workers that feed some tiers.

    Attributes
    ----------
    number : int
        The `replica` of its workers in `placement`.
    sku : str
    workers, gpus_per_worker : int
    attention : {"tp", "dp"}
    feeds : tuple of str
        Names of tiers.
    load : float
        Share of its capacity in use. [1]
    """

    number: int
    sku: str
    workers: int
    gpus_per_worker: int
    attention: Literal["tp", "dp"]
    feeds: tuple[str, ...]
    load: float

    @property
    def gpus(self) -> int:
        """GPUs of all its workers."""
        return self.workers * self.gpus_per_worker


class PlannedMachine(Record):
    """One machine, and what of it the plan takes.

    Attributes
    ----------
    sku : str
    gpus, gpus_in_use : int
        Those that workers could have, and those that they have. [GPU]
    gpus_per_domain, domains, domains_in_use : int
    stranded_gpus : int
        Free ones in domains that are in use. [GPU]
    usd_per_gpu_hour, usd_per_hour : float
        Price of a GPU, and of those in use.
    kilowatts : float
        All-in power of those in use.
    """

    sku: str
    gpus: int
    gpus_in_use: int
    gpus_per_domain: int
    domains: int
    domains_in_use: int
    stranded_gpus: int
    usd_per_gpu_hour: float
    usd_per_hour: float
    kilowatts: float


class FleetPlan(Answer):
    """A plan for all tiers.

    Attributes
    ----------
    status : {"optimal", "feasible", "infeasible"}
        "feasible" where the search was cut short before the plan was proven best.
    objective : PlanObjective
    tiers : tuple of PlannedTier
    prefill_pools : tuple of PrefillPool
    machines : tuple of PlannedMachine
    placement : tuple of Domain
        What stands where; `replica` is the number of a tier or of a pool.
    spares : int
        Workers of each pool that may fail. [1]
    budget_usd_per_hour, max_power_w : float or None
        Most that the GPUs that serve may cost and draw.
    search : PlanSearch
    reason : str or None
        Why there is no plan.
    calibration, version : str
    question : PlanQuestion
    replan : Replan or None
        What changes, where it was made after a loss.
    """

    status: Literal["optimal", "feasible", "infeasible"]
    objective: PlanObjective
    tiers: tuple[PlannedTier, ...]
    prefill_pools: tuple[PrefillPool, ...]
    machines: tuple[PlannedMachine, ...]
    placement: tuple[Domain, ...]
    spares: int
    budget_usd_per_hour: float | None
    max_power_w: float | None
    search: PlanSearch
    reason: str | None
    calibration: str
    version: str
    question: PlanQuestion
    replan: Replan | None = None

    def to_rows(self) -> list[dict[str, Any]]:
        """One row for each tier and shape of decode worker that serves it."""
        return [
            self._row(tier, group)
            for tier in self.tiers
            for group in (tier.decode or (None,))  # a tier without a plan is a row as well
        ]

    def _row(self, tier: PlannedTier, group: DecodeGroup | None) -> dict[str, Any]:
        chances = group.chance_to_meet if group else {}
        return {
            "status": self.status,
            "tier": tier.name,
            "sku": tier.sku,
            **{key: value for key, value in tier.scenario.to_json().items()},
            "target_tok_s_per_user": tier.target_tok_s_per_user,
            "max_ttft_s": tier.max_ttft_s,
            "tier_requests_per_s": tier.requests_per_s,
            "pool": tier.pool,
            "requests_per_s": group.requests_per_s if group else None,
            "most_requests_per_s": group.most_requests_per_s if group else None,
            **figures_of(group.config if group else None, group.prediction if group else None),
            "chance_to_meet_target": chances.get("target"),
            "chance_to_meet_max_ttft": chances.get("max_ttft"),
            "objective": self.objective.name,
            "objective_amount": self.objective.amount,
            "objective_bound": self.objective.bound,
            "objective_unit": self.objective.unit,
            "prices_usd_per_gpu_hour": json.dumps(
                {each.sku: each.usd_per_gpu_hour for each in self.machines}
            ),
            "spares": self.spares,
            "budget_usd_per_hour": self.budget_usd_per_hour,
            "max_power_w": self.max_power_w,
            "calibration": self.calibration,
            "version": self.version,
        }

    def _gist(self) -> str:
        if self.objective.amount is None:
            return f"{self.status}: {self.reason}"
        amount = f"{self.objective.amount:,.6g} {self.objective.unit}"
        return f"{self.status}, {amount} for {len(self.tiers)} tiers"
