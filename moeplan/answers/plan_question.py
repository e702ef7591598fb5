"""What a plan of a fleet was asked: all of it, so that the plan can be read alone."""

from __future__ import annotations

from typing import Literal

from costmodel.results import Scenario
from presets import ClusterSpec
from presets.pools import Serving
from presets.record import Record


class TierQuestion(Record):
    """A tier as it was asked.

    Attributes
    ----------
    name : str
    scenarios : tuple of Scenario or str
        What is served on each machine, or why it cannot be.
    target, rate : float
        [token/s/user], [1/s]
    max_ttft : float or None
        [s]
    servings : tuple of {"aggregated", "disaggregated"}
        That it may be served in.
    """

    name: str
    scenarios: tuple[Scenario | str, ...]
    target: float
    rate: float
    max_ttft: float | None
    servings: tuple[Serving, ...]


class PlanQuestion(Record):
    """All that was asked, so that a plan can be read, and made anew, alone.

    Attributes
    ----------
    tiers : tuple of TierQuestion
    machines : tuple of ClusterSpec
    objective : {"cost", "gpus", "power"}
    spares : int
        [1]
    budget, max_power : float or None
        [USD/h], [W]
    max_racks : int or None
        NVLink domains. [1]
    lost : tuple of str
        What is lost of the machines, such as "gb200/domain 3".
    """

    tiers: tuple[TierQuestion, ...]
    machines: tuple[ClusterSpec, ...]
    objective: Literal["cost", "gpus", "power"]
    spares: int
    budget: float | None
    max_power: float | None
    max_racks: int | None = None
    lost: tuple[str, ...] = ()
