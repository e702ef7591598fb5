"""What ``moeplan fleet availability`` answers: how often a plan serves its tiers."""

from __future__ import annotations

from typing import Any

from moeplan.answers.record import Answer
from presets.facts import Kind
from presets.frozen import Frozen
from presets.record import Record


class PartRates(Record):
    """Failures of one kind of part, as taken.

    Attributes
    ----------
    rate_per_year : float
        Failures of one part. [1/year]
    repair_s : float
        Mean time that it is away. [s]
    rate_kind, repair_kind : {"measured", "assumed", "datasheet"}
        What the figures rest on; "assumed" of what was said.
    source : str
        Of the rate.
    parts : int
        How many there are below the GPUs that are looked at. [1]
    """

    rate_per_year: float
    repair_s: float
    rate_kind: Kind
    repair_kind: Kind
    source: str
    parts: int


class TierAvailability(Record):
    """How often one tier is served, with some spare GPUs.

    Attributes
    ----------
    tier : str
    spares : str
        What stands by: "none", "free GPUs", or "free GPUs and N domains".
    availability : float
        Share of time in which its whole demand is served within its limits. [1]
    worst_year : float
        The same of the worst year. [1]
    hours_per_year : float
        In which it is not. [h]
    capacity : float
        Share of its demand, in the mean over time, that the workers which are up could take. [1]
    """

    tier: str
    spares: str
    availability: float
    worst_year: float
    hours_per_year: float
    capacity: float


class Availability(Answer):
    """How often a plan serves its tiers.

    Attributes
    ----------
    years : int
        That were drawn. [1]
    seed : int
    failures_per_year : float
        Of all parts, as drawn. [1/year]
    restart_s : float
        Of a worker, after a repair or on other GPUs. [s]
    parts : dict of PartRates
    tiers : tuple of TierAvailability
    calibration, version : str
    """

    years: int
    seed: int
    failures_per_year: float
    restart_s: float
    parts: Frozen[str, PartRates]
    tiers: tuple[TierAvailability, ...]
    calibration: str
    version: str

    def to_rows(self) -> list[dict[str, Any]]:
        """One row for each tier and what stands by."""
        rates = {
            f"{kind}_{name}": getattr(part, name)
            for kind, part in self.parts.items()
            for name in ("rate_per_year", "repair_s")
        }
        asked = {"years": self.years, "seed": self.seed, "restart_s": self.restart_s}
        last = {"calibration": self.calibration, "version": self.version}
        return [{**each.to_json(), **asked, **rates, **last} for each in self.tiers]

    def _gist(self) -> str:
        least = min(each.availability for each in self.tiers)
        return f"{self.years} years, least availability {least:.4%}"
