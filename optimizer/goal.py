"""What is made best, and what counts as its price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from optimizer.limits import check_positive
from presets import InputError
from presets.errors import shown

Objective = Literal["cost", "throughput", "output-cost", "power", "gpus"]
Billing = Literal["gpu", "domain"]

LARGEST_RATE = 1e9
"""Highest rate that may be asked for: integers stay exact. [1/s]"""

OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
BILLINGS: tuple[Billing, ...] = get_args(Billing)


@dataclass(frozen=True)
class Goal:
    """What the search makes best.

    Attributes
    ----------
    objective : {"cost", "throughput", "output-cost", "power", "gpus"}
        Dollars per million tokens, input and output together; tokens per second and GPU; dollars
        per million output tokens; tokens per joule of all-in power; fewest GPUs for `rate`.
    billing : {"gpu", "domain"}
        Whether GPUs that serve are paid, or whole NVLink domains: there a GPU that no replica uses
        is paid too.
    rate : float or None
        Requests that replicas of the deployment serve together, for the objective "gpus". [1/s]

    Examples
    --------
    >>> Goal("gpus", rate=20.0)
    Goal(objective='gpus', billing='gpu', rate=20.0)
    """

    objective: Objective = "cost"
    billing: Billing = "gpu"
    rate: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no goal."""
        for name, given, valid in (
            ("objective", self.objective, OBJECTIVES),
            ("billing", self.billing, BILLINGS),
        ):
            if given not in valid:
                raise InputError(f"{name} {shown(given)} is not valid; give {', '.join(valid)}")
        if self.rate is not None:
            check_positive("rate", self.rate, "requests per second")
            if self.rate > LARGEST_RATE:
                raise InputError(
                    f"rate {self.rate:g} is not valid; give at most {LARGEST_RATE:g} requests per "
                    "second"
                )
        if self.objective == "gpus" and self.rate is None:
            raise InputError("rate: none is given; the objective 'gpus' needs requests per second")
        if self.objective != "gpus" and self.rate is not None:
            raise InputError(
                f"rate {self.rate:g} is not valid with the objective {self.objective!r}; "
                "it goes with 'gpus'"
            )
        if self.objective == "gpus" and self.billing == "domain":
            raise InputError(
                "billing 'domain' is not valid with the objective 'gpus', which counts the GPUs "
                "that serve; give 'gpu'"
            )
