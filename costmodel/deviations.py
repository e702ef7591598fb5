"""What a constant may deviate by: engine, family of chips, number format, kernel, attention.

A calibration names a deviation ``layer_time[kernel_profile=hopper]``: a factor on `layer_time` for
all that has this trait. Of several that hold, all factors count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from costmodel.inputs import FloatArray, IntArray


class Traits(NamedTuple):
    """What constants depend on, of one worker."""

    engine: str
    kernel_profile: str  # of the machine
    format: str  # that experts multiply in: "fp4", "fp8" or "bf16"
    draft_format: str  # the same of draft layers
    kernel: str = ""  # of expert GEMMs, such as "trtllm"; blank where it is not known
    attention: str = ""  # kind of most layers; "mla-index" where an index picks what is attended

    @property
    def of_drafts(self) -> Traits:
        """Traits of the draft layers."""
        return self._replace(format=self.draft_format)


AXES = ("engine", "kernel_profile", "format", "kernel", "attention")
"""Traits that a deviation may name."""

_CONDITION = rf"(?:{'|'.join(AXES)})=[\w.-]+"
_NAME = re.compile(rf"([\w.]+)\[({_CONDITION}(?:,{_CONDITION})*)\]", re.ASCII)


class Deviation(NamedTuple):
    """One deviation of one constant."""

    constant: str
    where: tuple[tuple[str, str], ...]  # traits that all must hold
    factor: float | FloatArray  # [1]; a constant that is nothing elsewhere: its value

    @property
    def name(self) -> str:
        """Name in a calibration."""
        return f"{self.constant}[{','.join(f'{axis}={value}' for axis, value in self.where)}]"

    def holds(self, traits: Traits) -> bool:
        """Tell whether it holds of a worker."""
        for axis, value in self.where:  # noqa: SIM110 - a generator takes twice as long
            if getattr(traits, axis) != value:
                return False
        return True


def deviation_of(name: str, factor: float | FloatArray) -> Deviation | None:
    """Read the name of a deviation; None where it is of another form.

    >>> deviation_of("expert_tile[kernel_profile=blackwell,format=fp8]", 1.5).where
    (('kernel_profile', 'blackwell'), ('format', 'fp8'))
    >>> deviation_of("expert_tile", 1.5) is None, deviation_of("expert_tile[sku=b200]", 1.5) is None
    (True, True)
    """
    match = _NAME.fullmatch(name) if len(name) <= 200 else None
    if match is None:
        return None
    where = tuple(
        (axis, value) for axis, _, value in (each.partition("=") for each in match[2].split(","))
    )
    return Deviation(match[1], where, factor)


def base_name(name: str) -> str:
    """Name of the constant that a constant or deviation is of.

    >>> base_name("layer_time[kernel_profile=hopper]"), base_name("dispatch.latency")
    ('layer_time', 'dispatch.latency')
    """
    return name.partition("[")[0]


class Kinds(NamedTuple):
    """Traits of many workers: those there are, and which of them each worker has."""

    kinds: tuple[Traits, ...]
    which: IntArray | None = None  # shape ``(n,)``; None where all have the one

    def of(self, places: IntArray) -> list[Traits]:
        """Traits of the chosen workers."""
        if self.which is None:
            return [self.kinds[0]] * len(places)
        return [self.kinds[kind] for kind in self.which[places]]


def kinds_of(traits: Sequence[Traits]) -> Kinds:
    """Find which traits some workers have.

    >>> one = Traits("trtllm", "hopper", "fp8", "fp8")
    >>> kinds_of([one, one]).which is None
    True
    >>> kinds_of([one, one._replace(format="bf16"), one]).which
    array([0, 1, 0])
    """
    places = {each: place for place, each in enumerate(dict.fromkeys(traits))}
    if len(places) == 1:
        return Kinds(tuple(places))
    return Kinds(tuple(places), np.array([places[each] for each in traits], dtype=np.int64))
