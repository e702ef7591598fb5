"""NICs and the fabric that they are on: how kernels and hand-overs fare that cross it."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from presets.errors import unknown_name
from presets.facts import Fact, Text
from presets.files import read_preset
from presets.folders import data_files
from presets.record import Record

BOUNDS = {
    "kernel_factor": ("1", 1.0, 100.0),
    "hand_over_start": ("s", 0.0, 10.0),
    "hand_over_efficiency": ("1", 0.01, 1.0),
    "descriptor_time": ("s", 0.0, 1.0),
}
"""Unit, least and largest value of each fact."""


class Nic(Record):
    """What crossing a fabric costs besides the rate of its NICs.

    Attributes
    ----------
    name, title : str
        Name of the preset, and the name in print.
    kernel_factor : Fact
        Time of the kernels that carry experts' tokens across domains, over that on ConnectX-7,
        which the constants of the cost model are of. [1]
    hand_over_start : Fact
        Time from asking for a KV cache until its bytes move. [s]
    hand_over_efficiency : Fact
        Share of the rate of a NIC that a large transfer reaches. [1]
    descriptor_time : Fact
        Time of one piece of memory that is sent, however small. [s]
    """

    name: Text
    title: Text
    kernel_factor: Fact
    hand_over_start: Fact
    hand_over_efficiency: Fact
    descriptor_time: Fact

    @model_validator(mode="after")
    def _in_bounds(self) -> Nic:
        for name, (unit, low, high) in BOUNDS.items():
            fact = getattr(self, name)
            if fact.unit != unit or not low <= fact.value <= high:
                raise ValueError(
                    f"{name}: {fact.value:g} {fact.unit} is not valid; it must be from {low:g} to "
                    f"{high:g} in the unit {unit!r}"
                )
        return self

    @property
    def facts(self) -> dict[str, Fact]:
        """Facts by name."""
        return {name: getattr(self, name) for name in BOUNDS}


def nic_names() -> tuple[str, ...]:
    """List the NICs that are known.

    >>> nic_names()
    ('cx7-ib', 'cx7-roce', 'cx8', 'efa', 'pollara', 'thor2')
    """
    return tuple(data_files("nics"))


@lru_cache
def load_nic(name: str) -> Nic:
    """Load the facts of a NIC by name.

    Raises
    ------
    UnknownNameError
        Where none has the name.

    Examples
    --------
    >>> load_nic("efa").kernel_factor.value
    1.69
    """
    if name not in nic_names():
        raise unknown_name("NIC", name, nic_names())
    return read_preset(data_files("nics")[name], Nic, facts_key="facts")


def _named(value: Any) -> Any:
    return load_nic(value) if isinstance(value, str) else value


def _known(name: str) -> str:
    return load_nic(name).name


NicName = Annotated[str, AfterValidator(_known)]
"""The name of a NIC that is known."""

NicOf = Annotated[Nic, BeforeValidator(_named), Field(default_factory=lambda: load_nic("cx7-roce"))]
"""A NIC, or the name of one in a file."""
