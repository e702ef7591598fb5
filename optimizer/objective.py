"""What is made best, and what counts as its price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from optimizer.checks import check_positive
from presets import InputError
from presets.errors import shown
from presets.record import Record

ObjectiveName = Literal["cost", "throughput", "output-cost", "power", "gpus"]
Billing = Literal["gpu", "domain"]

LARGEST_RATE = 1e9
"""Highest rate that may be asked for: integers stay exact. [1/s]"""

OBJECTIVES: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
BILLINGS: tuple[Billing, ...] = get_args(Billing)


@dataclass(frozen=True)
class Objective:
    """What the search makes best.

    Attributes
    ----------
    name : {"cost", "throughput", "output-cost", "power", "gpus"}
        Dollars per million tokens, input and output together; tokens per second and GPU; dollars
        per million output tokens; tokens per joule of all-in power; fewest GPUs for `rate`.
    billing : {"gpu", "domain"}
        Whether GPUs that serve are paid, or whole NVLink domains: there a GPU that no replica uses
        is paid too, and "gpus" counts it.
    rate : float or None
        Requests that replicas of the deployment serve together, for the objective "gpus". [1/s]

    Examples
    --------
    >>> Objective("gpus", rate=20.0)
    Objective(name='gpus', billing='gpu', rate=20.0)
    """

    name: ObjectiveName = "cost"
    billing: Billing = "gpu"
    rate: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no objective."""
        for name, given, valid in (
            ("objective", self.name, OBJECTIVES),
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
        if self.name == "gpus" and self.rate is None:
            raise InputError("rate: none is given; give requests per second, as 'gpus' needs them")
        if self.name != "gpus" and self.rate is not None:
            raise InputError(
                f"rate {self.rate:g} is not valid with the objective {self.name!r}; "
                "give 'gpus', or leave one of the two out"
            )


UNITS: dict[ObjectiveName, str] = {
    "cost": "USD per million tokens",
    "throughput": "token/s/GPU",
    "output-cost": "USD per million output tokens",
    "power": "token/J",
    "gpus": "GPU",
}
"""Unit of each objective."""

MORE_IS_BETTER: tuple[ObjectiveName, ...] = ("throughput", "power")


class ObjectiveValue(Record):
    """What an objective makes of a deployment.

    Attributes
    ----------
    name : {"cost", "throughput", "output-cost", "power", "gpus"}
    amount : float or None
        In `unit`; None where nothing meets the limits. GPUs are those that are charged.
    unit : str
    replicas : int or None
        Copies of the deployment that serve the rate together, under "gpus". [1]
    served : float or None
        What those copies could serve together; of equally many GPUs the answer serves most. [1/s]
        Of equally many in whole domains it takes the fewest that serve, then serves most.
    """

    name: ObjectiveName
    amount: float | None
    unit: str
    replicas: int | None = None
    served: float | None = None

    @property
    def more_is_better(self) -> bool:
        """Whether the best has the largest amount."""
        return self.name in MORE_IS_BETTER
