"""Failures: how often parts of a cluster fail, and how long they are away."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, Self

from pydantic import model_validator

from presets.facts import Fact, Text
from presets.files import read_preset
from presets.folders import data_files
from presets.frozen import Frozen
from presets.record import Record

PartKind = Literal["gpu", "server", "switch", "rack"]
PART_KINDS: tuple[PartKind, ...] = ("gpu", "server", "switch", "rack")
"""Parts that fail: a switch is a leaf switch, with the NICs of the GPUs below it."""


class PartFailures(Record):
    """Failures of one kind of part.

    Attributes
    ----------
    rate : Fact
        Failures of one part. [1/year]
    repair : Fact
        Mean time that it is away. [s]
    """

    rate: Fact
    repair: Fact


class Failures(Record):
    """Failures of a cluster.

    Attributes
    ----------
    name : str
    parts : dict of PartFailures
        By kind of part.
    restart : Fact
        Time to start a worker on other GPUs. [s]
    servers_per_rack : Fact
        Of machines whose NVLink domain is a server; else a rack is a domain. [1]
    """

    name: Text
    parts: Frozen[PartKind, PartFailures]
    restart: Fact
    servers_per_rack: Fact

    @model_validator(mode="after")
    def _has_all(self) -> Self:
        if missing := set(PART_KINDS) - set(self.parts):
            raise ValueError(f"parts has no {min(missing)}; give {', '.join(PART_KINDS)}")
        return self


@lru_cache
def load_failures(name: str = "default") -> Failures:
    """Load a set of failure rates.

    Examples
    --------
    >>> load_failures().parts["gpu"].rate.value
    0.106
    """
    return read_preset(data_files("failures")[name], Failures)
