"""What a plan of a fleet was asked: all of it, so that the plan can be read alone."""

from __future__ import annotations

from typing import Literal

from optimizer.fleet import Tier
from presets import ClusterSpec
from presets.record import Record


class PlanQuestion(Record):
    """All that was asked, so that a plan can be read, and made anew, alone.

    Attributes
    ----------
    tiers : tuple of Tier
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

    tiers: tuple[Tier, ...]
    machines: tuple[ClusterSpec, ...]
    objective: Literal["cost", "gpus", "power"]
    spares: int
    budget: float | None
    max_power: float | None
    max_racks: int | None = None
    lost: tuple[str, ...] = ()
