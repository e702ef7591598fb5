"""Fleets: tiers of demand, the machines that may serve them, and what each could run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from costmodel.calibration import Calibration
from costmodel.results import Scenario
from optimizer.checks import check_count, check_positive
from optimizer.problem import Limits, Problem
from optimizer.resources import MICRO
from optimizer.space import Space
from presets import ClusterSpec, InputError
from presets.pools import SERVINGS, Serving
from topology.placement import NOTHING, unusable

FleetObjective = Literal["cost", "gpus", "power"]

MOST_TIERS = 50


class Way(NamedTuple):
    """One way to serve a tier.

    Attributes
    ----------
    machine : int
        Place of the machine.
    serving : {"aggregated", "disaggregated"}
        Whether its workers prefill what they decode, or a pool of prefill workers does.
    """

    machine: int
    serving: Serving

    @property
    def is_aggregated(self) -> bool:
        """Whether one pool of workers prefills and decodes."""
        return self.serving == "aggregated"


@dataclass(frozen=True)
class Tier:
    """A class of traffic.

    Attributes
    ----------
    name : str
    scenarios : tuple of Scenario or str
        What is served, on each machine: model, precision, engine, lengths; or why it cannot be.
    target : float
        Interactivity at or above which every user is served. [token/s]
    rate : float
        Demand. [1/s]
    max_ttft : float or None
        Longest mean time to first token. [s]
    servings : tuple of {"aggregated", "disaggregated"}
        That it may be served in.
    """

    name: str
    scenarios: tuple[Scenario | str, ...]
    target: float
    rate: float
    max_ttft: float | None = None
    servings: tuple[Serving, ...] = ("disaggregated",)

    def __post_init__(self) -> None:
        """Refuse what is no demand."""
        check_positive("target", self.target, "tok/s/user")
        check_positive("rate", self.rate, "requests per second")
        if self.max_ttft is not None:
            check_positive("max_ttft", self.max_ttft, "seconds")
        if not self.servings or not set(self.servings) <= set(SERVINGS):
            raise InputError(f"servings {self.servings!r} is not valid; give {SERVINGS} or one")

    @property
    def scenario(self) -> Scenario:
        """What is served on the first machine that can.

        Raises
        ------
        InputError
            Where none can.
        """
        found = next((each for each in self.scenarios if isinstance(each, Scenario)), None)
        if found is None:
            raise InputError(f"tier {self.name!r}: {self.scenarios[0]}")
        return found


@dataclass(frozen=True)
class FleetProblem:
    """All that a plan rests on.

    Attributes
    ----------
    tiers : tuple of Tier
    machines : tuple of ClusterSpec
        Clusters of the machines that may be taken; a tier stands on one of them.
    calibration : Calibration
        Constants of the cost model.
    objective : {"cost", "gpus", "power"}
        What is made least: dollars per hour, GPUs, or watts, of the GPUs that serve.
    space : Space
        Shapes that are looked at.
    spares : int
        Workers of each pool that may fail while the demand is served. [1]
    budget, max_power : float or None
        Most that the GPUs that serve may cost [USD/h], and draw [W].
    max_racks : int or None
        Most NVLink domains that they may stand in. [1]
    lost : tuple of frozenset of int
        Numbers of the GPUs of each machine that no worker can have any more; empty for none.
    """

    tiers: tuple[Tier, ...]
    machines: tuple[ClusterSpec, ...]
    calibration: Calibration
    objective: FleetObjective = "cost"
    space: Space = Space()  # noqa: RUF009 - frozen
    spares: int = 0
    budget: float | None = None
    max_power: float | None = None
    max_racks: int | None = None
    lost: tuple[frozenset[int], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no plan can be made of."""
        if not self.tiers:
            raise InputError("tiers: none is given; give at least one")
        if len(self.tiers) > MOST_TIERS:
            raise InputError(f"tiers: {len(self.tiers)} are given; give at most {MOST_TIERS}")
        names = [tier.name for tier in self.tiers]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"tiers: the name {twice!r} stands twice; give each its own")
        if not self.machines:
            raise InputError("machines: none is given; give at least one")
        for tier in self.tiers:
            if len(tier.scenarios) != len(self.machines):
                raise InputError(f"tier {tier.name!r}: give a scenario for each machine")
        self._check_limits()

    def _check_limits(self) -> None:
        """Refuse what is no limit."""
        for counted in ("spares", "max_racks"):
            if value := getattr(self, counted):
                check_count(counted, value)
        for name, amount, unit in (
            ("budget", self.budget, "USD/h"),
            ("max_power", self.max_power, "W"),
        ):
            if amount is not None:
                check_positive(name, amount, unit)

    @cached_property
    def ways(self) -> tuple[Way, ...]:
        """Ways to serve that some tier may take, those with prefill pools first."""
        asked = {serving for tier in self.tiers for serving in tier.servings}
        machines = range(len(self.machines))
        return tuple(Way(m, s) for s in SERVINGS if s in asked for m in machines)

    def lost_of(self, machine: int) -> frozenset[int]:
        """Numbers of the GPUs of a machine, by its place, that are lost."""
        return self.lost[machine] if self.lost else NOTHING

    @property
    def usable_gpus(self) -> int:
        """GPUs of all machines that workers can have [GPU]."""
        return sum(
            each.gpus - len(unusable(each) | self.lost_of(machine))
            for machine, each in enumerate(self.machines)
        )

    def cluster(self, way: int) -> ClusterSpec:
        """Cluster of the machine of a way, by its place."""
        return self.machines[self.ways[way].machine]

    def problem(self, tier: int, way: int) -> Problem:
        """Ask for one tier in one way, by their places.

        Raises
        ------
        InputError
            Where the machine cannot run it.
        """
        asked, (machine, serving) = self.tiers[tier], self.ways[way]
        scenario, cluster = asked.scenarios[machine], self.machines[machine]
        if isinstance(scenario, str):
            raise InputError(scenario)
        limits = Limits(asked.target, cluster.gpus, asked.max_ttft)
        return Problem(scenario, cluster, limits, self.calibration, self.space, serving=serving)

    def weight(self, machine: ClusterSpec, objective: FleetObjective | None = None) -> int:
        """Weigh one GPU by an objective: millionths of USD/h or W, or a whole GPU.

        None takes that of the problem.
        """
        hardware, objective = machine.hardware(), objective or self.objective
        if objective == "gpus":
            return 1
        fact = hardware.price_usd_per_hour if objective == "cost" else hardware.power_watts
        return max(1, round(fact.value / MICRO))

    @property
    def unit(self) -> float:
        """What one unit of a plan's weight is: GPUs, USD/h or W."""
        divisor = math.gcd(*map(self.weight, self.machines))
        return divisor * (1.0 if self.objective == "gpus" else MICRO)
