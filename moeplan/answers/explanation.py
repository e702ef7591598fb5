"""Explanations of an answer as records: links, sensitivities, robustness.

Their JSON is what ``--explain`` and ``--robust`` add to that of the answer.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from optimizer.robustness.holdings import Holdings
from optimizer.robustness.next_rows import NextMeasurement
from optimizer.sensitivity import Sensitivity
from presets.frozen import Frozen
from presets.record import Record


class LinkLoad(Record):
    """What one GPU moves over one kind of link, one way, on average over time.

    Attributes
    ----------
    moved_bytes : float
        Per decode step, or per request of a prefill worker. [B]
    in_use_gb_s, rate_gb_s : float
        What is moved, and what the link could move. [GB/s]
    utilisation : float
        The first over the second. [1]
    """

    moved_bytes: float
    in_use_gb_s: float
    rate_gb_s: float
    utilisation: float


class WorkerLinks(Record):
    """Links of one GPU of either role; prefill is taken as bound by arithmetic, not by memory."""

    decode: Frozen[Literal["nvlink", "nic", "hbm"], LinkLoad]
    prefill: Frozen[Literal["nvlink", "nic"], LinkLoad]


class Explanation(Record):
    """Bandwidth by link of the winner, and what each limit a little wider would give.

    `assumed` has what each assumed fact would give, were it as another source has it.
    """

    links: WorkerLinks
    shadow_prices: tuple[Sensitivity, ...]
    assumed: tuple[Sensitivity, ...]


class Robustness(Holdings):
    """How far an answer holds where the constants are uncertain, and what to measure next.

    Attributes
    ----------
    objective, unit : str
        What is made best, and in what it counts.
    measure_next : tuple of NextMeasurement
        The most informative first.
    """

    objective: str
    unit: str
    measure_next: tuple[NextMeasurement, ...]
    independent: Annotated[bool, Field(exclude=True)] = False  # no correlations in the calibration
    min_confidence: Annotated[float | None, Field(exclude=True)] = None  # as asked
    rows_can_say: Annotated[bool, Field(exclude=True)] = True  # --next-rows can write the rows
