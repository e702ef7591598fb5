"""The fabric between scale-up domains, as a cluster file describes it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from presets.record import Record

MAX_GPUS = 131_072
"""The largest cluster that is built. [GPU]"""

Gpus = Annotated[int, Field(ge=1, le=MAX_GPUS)]
Amount = Annotated[float, Field(ge=1e-3, le=1e6)]
"""In the units of a cluster file: wide of all that is sold, and no figure overflows."""

Switches = Annotated[int, Field(ge=1, le=1024)]
Ratio = Annotated[float, Field(ge=1, le=1024)]

SCALE_OUT_UNITS = {
    "gpus_per_leaf": "GPU",
    "rails": "rail",
    "spines": "switch",
    "leaves_per_pod": "switch",
    "cores": "switch",
    "halls": "hall",
    "hall_gb_s": "GB/s",
}


class Strict(Record):
    """A record that takes a value only in its own type: no number from text."""

    model_config = ConfigDict(strict=True)


class ScaleOut(Strict):
    """The fabric between NVLink domains: leaf switches under spines, and cores above these.

    Attributes
    ----------
    gpus_per_leaf : int
        GPUs whose NICs share a leaf switch. [GPU]
    rails : int
        Leaf switches among which the GPUs of a server are dealt out. [1]
    spines : int
        Spine switches, of each pod where there are pods. [1]
    oversubscription : float
        NIC rate below a leaf over its rate to the spines, 1 or more. [1]
    leaves_per_pod : int or None
        Leaf switches under the same spines; all of a hall where None. [1]
    cores : int
        Switches above the spines of all pods of a hall. [1]
    core_oversubscription : float
        Rate of the leaves of a pod to their spines over that of these to the cores. [1]
    halls : int
        Parts of the fabric, with equally many pods, that only a thin link joins. [1]
    hall_gb_s : float or None
        Rate of each hall to all others, one way. [GB/s]
    """

    gpus_per_leaf: Gpus = 32
    rails: Switches = 1
    spines: Switches = 4
    oversubscription: Ratio = 1.0
    leaves_per_pod: Switches | None = None
    cores: Annotated[int, Field(ge=0, le=1024)] = 0
    core_oversubscription: Ratio = 1.0
    halls: Annotated[int, Field(ge=1, le=64)] = 1
    hall_gb_s: Amount | None = None

    @model_validator(mode="after")
    def _in_one_piece(self) -> Self:
        if self.leaves_per_pod is not None and not self.cores:
            raise ValueError(
                f"leaves_per_pod {self.leaves_per_pod} without cores leaves the fabric in pieces; "
                "give cores, or leave out leaves_per_pod"
            )
        if self.cores and self.leaves_per_pod is None:
            raise ValueError(
                f"cores {self.cores} join pods; give leaves_per_pod, or leave out cores"
            )
        if (self.halls > 1) != (self.hall_gb_s is not None):
            raise ValueError(
                f"halls {self.halls} and hall_gb_s go together: without the rate of the link the "
                "fabric is in pieces; give both, or neither"
            )
        return self

    @property
    def has_two_tiers(self) -> bool:
        """Whether it is leaves under spines that reach them all, and nothing else."""
        return self.rails == self.halls == 1 and not self.cores

    def leaves(self, gpus: int) -> int:
        """Count the leaf switches of a cluster of some GPUs [1]."""
        return -(-gpus // (self.gpus_per_leaf * self.rails)) * self.rails

    def pods(self, gpus: int) -> int:
        """Count the groups of leaf switches that have spines of their own [1]."""
        if self.leaves_per_pod is None:
            return self.halls
        return max(self.halls, -(-self.leaves(gpus) // self.leaves_per_pod))
