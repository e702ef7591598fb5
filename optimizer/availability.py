"""Years of failures: when which worker is away, and so how often a plan serves its tiers.

Parts fail at random, each at a rate of its own, and are away for a time that is exponential. A
worker is away while any of its GPUs is, and until it has started again. Failures are drawn at once,
as arrays; what they do to workers is counted for all moments between two events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from costmodel.inputs import BoolArray, FloatArray, IntArray

YEAR = 365.25 * 86400.0
"""[s]"""

WARM_UP = 10.0
"""Mean repairs before the first year, so that it starts with what is away by then. [1]"""

MOST_FAILURES = 2_000_000
"""Most failures that are drawn. [1]"""


class PartClass(NamedTuple):
    """Parts of one kind on one machine.

    Attributes
    ----------
    gpus : tuple of range
        GPUs that each takes with it.
    rate : float
        Failures of one part. [1/s]
    repair : float
        Mean time that it is away. [s]
    """

    gpus: tuple[range, ...]
    rate: float
    repair: float


class Outages(NamedTuple):
    """When GPUs are away; one entry for each failure, by its start.

    Attributes
    ----------
    start, end : array of float
        From the start of the first year; the first may lie before it. [s]
    first, last : array of int
        First GPU that is away, and the one after the last.
    """

    start: FloatArray
    end: FloatArray
    first: IntArray
    last: IntArray


class Timeline(NamedTuple):
    """Which workers are away in each span of time.

    Attributes
    ----------
    seconds : array of float
        Length of each span. [s]
    start : array of float
        [s]
    away : array of bool, shape (workers, spans)
    """

    seconds: FloatArray
    start: FloatArray
    away: BoolArray


def draw_outages(
    parts: Sequence[PartClass], seconds: float, random: np.random.Generator
) -> Outages:
    """Draw the failures of one machine.

    Parameters
    ----------
    parts : sequence of PartClass
        What may fail.
    seconds : float
        How long. [s]
    random : Generator
        Source of chance: the same gives the same failures.

    Raises
    ------
    ValueError
        If more failures are to be expected than `MOST_FAILURES`.

    Notes
    -----
    Failures of a part come as a Poisson process, whether it is away or not, so that the share of
    time in which none of some parts is away is ``exp(-sum(rate * repair))``.
    """
    expected = sum(len(each.gpus) * each.rate * (seconds + WARM_UP * each.repair) for each in parts)
    if expected > MOST_FAILURES:
        raise ValueError(
            f"{expected:,.0f} failures are to be expected, more than {MOST_FAILURES:,}"
        )
    columns: list[tuple[FloatArray, FloatArray, IntArray, IntArray]] = []
    for each in parts:
        before = WARM_UP * each.repair
        count = int(random.poisson(len(each.gpus) * each.rate * (seconds + before)))
        start = random.uniform(-before, seconds, count)
        end = start + random.exponential(each.repair, count) if each.repair else start
        which = random.integers(0, max(len(each.gpus), 1), count)
        bounds = np.array([(span.start, span.stop) for span in each.gpus], dtype=np.int64)
        columns.append((start, end, *bounds.reshape(-1, 2)[which].T))
    start, end, first, last = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.argsort(start, kind="stable")
    return Outages(start[order], end[order], first[order], last[order])


def timeline(
    outages: Outages, workers: Sequence[tuple[int, ...]], seconds: float, restart: float = 0.0
) -> Timeline:
    """Find which workers are away when, as they wait for repair.

    Parameters
    ----------
    outages : Outages
        Of the machine that they stand on.
    workers : sequence of tuple of int
        GPUs of each.
    seconds, restart : float
        How long, and how long a worker takes to start after repair. [s]
    """
    hits = [_hit(outages, gpus) for gpus in workers]
    spans = [
        (start, end + restart, number)
        for number, places in enumerate(hits)
        for start, end in zip(
            outages.start[places].tolist(), outages.end[places].tolist(), strict=True
        )
    ]
    return timeline_of(spans, len(workers), seconds)


def timeline_of(
    spans: Sequence[tuple[float, float, int]], workers: int, seconds: float
) -> Timeline:
    """Part time where a worker goes or comes back; spans are (start, end, worker)."""
    spans = [
        (max(start, 0.0), min(end, seconds), worker)
        for start, end, worker in spans
        if end > 0.0 and start < seconds
    ]
    edges = {0.0, seconds} | {edge for span in spans for edge in span[:2]}
    times = np.array(sorted(edges))
    change = np.zeros((workers, len(times)), dtype=np.int32)
    if spans:
        start, end, number = (np.array(column) for column in zip(*spans, strict=True))
        np.add.at(change, (number.astype(np.int64), np.searchsorted(times, start)), 1)
        np.add.at(change, (number.astype(np.int64), np.searchsorted(times, end)), -1)
    away = change.cumsum(axis=1)[:, :-1] > 0
    return Timeline(np.diff(times), times[:-1], away)


def with_spare_gpus(
    outages: Outages,
    workers: Sequence[tuple[int, ...]],
    domains: Sequence[range],
    usable: frozenset[int],
    seconds: float,
    restart: float,
    progress: Callable[[], None] | None = None,
) -> Timeline:
    """Find which workers are away when, if those that fail start anew where there is room.

    A worker starts in the first domain with as many GPUs free, and stays there; one that is larger
    than a domain waits for repair. Those that find no room try again at each repair.

    Parameters
    ----------
    outages, workers, seconds
        As of `timeline`.
    domains : sequence of range
        GPUs of each NVLink domain.
    usable : frozenset of int
        GPUs that workers may have: those of workers, and spare ones.
    restart : float
        [s]
    progress : callable, optional
        Called once for each failure.
    """
    state = _Restarts(workers, domains, usable)
    events = sorted(
        [(start, 0, place) for place, start in enumerate(outages.start.tolist())]
        + [(end, 1, place) for place, end in enumerate(outages.end.tolist())]
    )
    spans: list[tuple[float, float, int]] = []
    for time, is_end, place in events:
        gpus = range(int(outages.first[place]), int(outages.last[place]))
        if is_end:
            state.repair(gpus)
        else:
            state.fail(gpus, time)
            if progress is not None:
                progress()
        spans += [(since, time + restart, worker) for worker, since in state.restarted()]
    spans += [(since, seconds, worker) for worker, since in state.waiting.items()]
    return timeline_of(spans, len(workers), seconds)


class _Restarts:
    """Which GPUs are away, which a worker has, and which workers wait."""

    def __init__(
        self, workers: Sequence[tuple[int, ...]], domains: Sequence[range], usable: frozenset[int]
    ) -> None:
        self.gpus = [list(each) for each in workers]
        self.owner = {gpu: number for number, each in enumerate(workers) for gpu in each}
        self.broken: dict[int, int] = {}  # how many failures take it
        self.domains = [[gpu for gpu in domain if gpu in usable] for domain in domains]
        self.waiting: dict[int, float] = {}  # since when

    def fail(self, gpus: range, time: float) -> None:
        """Take GPUs away, and the workers on them."""
        for gpu in gpus:
            self.broken[gpu] = self.broken.get(gpu, 0) + 1
            if (number := self.owner.get(gpu)) is not None:
                self.waiting.setdefault(number, time)

    def repair(self, gpus: range) -> None:
        """Give GPUs back."""
        for gpu in gpus:
            if self.broken[gpu] == 1:
                del self.broken[gpu]
            else:
                self.broken[gpu] -= 1

    def restarted(self) -> list[tuple[int, float]]:
        """Start what waits and has its GPUs again, or others: (worker, since when it waited)."""
        found = []
        for number in list(self.waiting):
            if not self.broken.keys() & set(self.gpus[number]) or self._moved(number):
                found.append((number, self.waiting.pop(number)))
        return found

    def _moved(self, number: int) -> bool:
        """Give a worker other GPUs, if a domain has as many free; its own count as free."""
        size = len(self.gpus[number])
        for domain in self.domains:
            free = [
                gpu
                for gpu in domain
                if gpu not in self.broken and self.owner.get(gpu, number) == number
            ]
            if len(free) >= size:
                for gpu in self.gpus[number]:
                    del self.owner[gpu]
                self.gpus[number] = free[:size]
                self.owner |= dict.fromkeys(free[:size], number)
                return True
        return False


def _hit(outages: Outages, gpus: tuple[int, ...]) -> IntArray:
    """Places of the failures that take one of some GPUs."""
    numbers = np.array(sorted(gpus))
    below = np.searchsorted(numbers, outages.first)
    return np.flatnonzero(np.searchsorted(numbers, outages.last) > below)
