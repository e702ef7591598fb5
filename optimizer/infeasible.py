"""Why nothing meets the limits: computed here, and said in words here, apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from optimizer.entries import Entries, joined
from optimizer.explain import PART_NAMES
from optimizer.fewest import fewest_gpus
from optimizer.lattice import Lattice
from optimizer.limits import Limits
from optimizer.question import Question
from topology.cluster import MAX_GPUS

LimitName = Literal["target", "max_ttft", "concurrency", "rate", "max_gpus"]

TTFT_STEP = 1.005
"""Ratio within which a TTFT is found by bisection. [1]"""


@dataclass(frozen=True)
class Conflict:
    """One limit of the smallest set that cannot be met together.

    Attributes
    ----------
    limit : {"target", "max_ttft", "concurrency", "rate", "max_gpus"}
    asked : float
        [token/s], [s], [1], [1/s] or [GPU]
    needed : float or None
        What it would have to be, the others of the set kept, or all others where a rate is in the
        set: the highest target, concurrency or rate, the shortest TTFT, the fewest GPUs; None where
        nothing would do.
    """

    limit: LimitName
    asked: float
    needed: float | None


@dataclass(frozen=True)
class Infeasibility:
    """What failed, and what would work.

    Attributes
    ----------
    conflicts : tuple of Conflict
        The smallest set of limits that no deployment meets together.
    limits : Limits
        As asked.
    highest_target : float or None
        Highest target that all other limits allow; None where they allow none. [token/s]
    step_ms : float
        Step of the fastest decode worker of the space. [ms]
    tokens_per_step : float
        Tokens that it yields to a user. [1]
    largest_part : str
        What takes most of that step.
    largest_part_ms : float
        [ms]
    """

    conflicts: tuple[Conflict, ...]
    limits: Limits
    highest_target: float | None
    step_ms: float
    tokens_per_step: float
    largest_part: str
    largest_part_ms: float


def find_infeasibility(question: Question, limits: Limits) -> Infeasibility:
    """Find the smallest set of limits that conflict, what each would have to be, and a way out.

    Sets are tried by size, each by evaluating the space with its limits alone.

    Parameters
    ----------
    question : Question
        What was searched.
    limits : Limits
        That nothing in the space meets.
    """
    relaxed = _Relaxed(question, limits)
    asked = relaxed.asked()
    names = next(
        chosen
        for size in range(1, len(asked) + 1)
        for chosen in combinations(asked, size)
        if not len(relaxed.meeting(chosen))
    )
    conflicts = tuple(Conflict(name, asked[name], relaxed.needed(name, names)) for name in names)
    speeds = relaxed.meeting([name for name in asked if name != "target"]).speed
    states = relaxed.lattice(()).states
    fastest = int(np.argmax(states.speed))
    step_parts = states.step_of(fastest, question.calibration).parts
    parts = {name: float(seconds) for name, seconds in step_parts.items()}
    largest = max(parts, key=lambda name: parts[name])
    step = sum(parts.values())
    return Infeasibility(
        conflicts=conflicts,
        limits=limits,
        highest_target=float(speeds.max()) if len(speeds) else None,
        step_ms=1e3 * step,
        tokens_per_step=step / float(states.rate.tpot[fastest]),
        largest_part=largest,
        largest_part_ms=1e3 * parts[largest],
    )


class _Relaxed:
    """The question with some of its limits; what was evaluated once is kept."""

    def __init__(self, question: Question, limits: Limits) -> None:
        self.question, self.limits = question, limits
        self.seen: dict[tuple[Limits, float], Lattice] = {}

    def asked(self) -> dict[LimitName, float]:
        """Limits that are set, with their values."""
        values: dict[LimitName, float | None] = {
            "target": self.limits.target,
            "max_ttft": self.limits.max_ttft,
            "concurrency": self.limits.concurrency,
            "rate": self.question.goal.rate,
            "max_gpus": self.budget(["max_gpus"]),
        }
        return {name: float(value) for name, value in values.items() if value is not None}

    def lattice(
        self, kept: Sequence[LimitName], users: int | None = None, ttft: float | None = None
    ) -> Lattice:
        """Evaluate the space with the kept limits alone; `users` and `ttft` replace theirs."""
        limits = self.kept_limits(kept)
        users, ttft = users or limits.concurrency, ttft or limits.max_ttft
        key = replace(limits, concurrency=users, max_ttft=ttft), self.slowest(kept)
        if key not in self.seen:
            self.seen[key] = self.question.lattice(*key)
        return self.seen[key]

    def kept_limits(self, kept: Sequence[LimitName]) -> Limits:
        """Limits of which some are kept; the target is that of `slowest`."""
        return replace(
            self.limits,
            max_ttft=self.limits.max_ttft if "max_ttft" in kept else None,
            concurrency=self.limits.concurrency if "concurrency" in kept else None,
            max_gpus=self.budget(kept),
        )

    def slowest(self, kept: Sequence[LimitName]) -> float:
        """Target where it is kept, else 0 [token/s]."""
        return self.limits.target if "target" in kept else 0.0

    def budget(self, kept: Sequence[LimitName]) -> int:
        """GPUs to take: those of the limit where it is kept, else all there are."""
        ground = self.question.ground
        return min(self.limits.max_gpus, ground.all_gpus) if "max_gpus" in kept else ground.all_gpus

    def meeting(
        self, kept: Sequence[LimitName], users: int | None = None, ttft: float | None = None
    ) -> Entries:
        """Deployments that meet the kept limits, as far as they can be best.

        Without a budget there are always enough replicas to serve a rate.
        """
        lattice = self.lattice(kept, users, ttft)
        entries = joined([lattice.front, lattice.throttled])
        if "target" in kept:
            entries = entries.take(entries.speed >= self.limits.target)
        if "rate" in kept and "max_gpus" in kept:
            entries = self.question.serving(entries)
        return entries

    def needed(self, name: LimitName, together: Sequence[LimitName]) -> float | None:
        """Find what a limit would have to be, the others of a set kept; None: nothing does.

        With a rate all others are kept: how much can be served depends on each of them.
        """
        kept = list(self.asked()) if "rate" in together else together
        others = [other for other in kept if other != name]
        if name == "max_ttft":
            return self.shortest_ttft(others)
        if name == "concurrency":
            return self.most_users(others)
        entries = self.meeting(others)
        if not len(entries):
            return None
        if name == "target":
            return float(entries.speed.max())
        rate, scenario = self.question.goal.rate, self.question.scenario
        if name == "max_gpus":
            if rate is None or "rate" not in others:
                return float(entries.gpus.min())
            limits, slowest = self.kept_limits(others), self.slowest(others)
            return fewest_gpus(self.question, rate, limits, slowest)
        tokens = scenario.workload.input_tokens + scenario.workload.output_tokens
        return float((self.budget(others) // entries.gpus * entries.throughput / tokens).max())

    def shortest_ttft(self, others: Sequence[LimitName]) -> float | None:
        """Shortest mean TTFT: of the users that are asked for, else of one alone [s].

        With a rate, that at which it can be served.
        """
        if "rate" in others:
            return self.shortest_ttft_at_rate(others)
        lattice = self.lattice(others, None if "concurrency" in others else 1)
        fast = lattice.states.speed >= (self.limits.target if "target" in others else 0.0)
        shortest = float(lattice.shortest_ttft[fast].min(initial=math.inf))
        return shortest if math.isfinite(shortest) else None

    def shortest_ttft_at_rate(self, others: Sequence[LimitName]) -> float | None:
        """Shortest limit on TTFT at which the others are met, by bisection [s]."""
        low = high = float(self.limits.max_ttft or 1.0)
        if not len(self.meeting(others)):
            return None
        while not len(self.meeting(others, ttft=high)):
            low, high = high, 2.0 * high
        while high > TTFT_STEP * low:
            middle = math.sqrt(low * high)
            met = len(self.meeting(others, ttft=middle)) > 0
            low, high = (low, middle) if met else (middle, high)
        return high

    def most_users(self, others: Sequence[LimitName]) -> float | None:
        """Most users that the other limits allow, by bisection [1]."""
        low, high = 1, int(self.limits.concurrency or 1)
        if not len(self.meeting(others, low)):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if len(self.meeting(others, middle)) else (low, middle)
        return float(low)


def explain_infeasibility(found: Infeasibility) -> str:
    """Say in one sentence what failed and what would work."""
    names = [conflict.limit for conflict in found.conflicts]
    said = [_said(conflict, found.limits) for conflict in found.conflicts]
    if names == ["target"]:
        text = (
            f"{said[0]} is out of reach: the fastest step of the whole space takes "
            f"{found.step_ms:.1f} ms for {found.tokens_per_step:.1f} tokens"
        )
        if found.highest_target is not None:
            text += f", {_floored(found.conflicts[0].needed)} tok/s/user{_promise(found.limits)}"
        part = PART_NAMES.get(found.largest_part, found.largest_part)
        text += f"; the largest part of it is {part}, {found.largest_part_ms:.1f} ms"
    elif len(names) == 1:
        text = f"{said[0]} is out of reach: {_way_out(found.conflicts[0])}"
    else:
        ways = "; or ".join(_way_out(conflict) for conflict in found.conflicts)
        rest = "with all other limits kept " if "rate" in names else ""
        listed = f"{', '.join(said[:-1])} and {said[-1]}"
        text = f"{listed} cannot be met together: {rest}{ways}"
    if found.highest_target is None:
        return f"{text}; no target works with the other limits"
    if "target" in names and found.conflicts[0].needed == found.highest_target:
        return text
    return f"{text}; the nearest target that works is {_floored(found.highest_target)} tok/s/user"


def _said(conflict: Conflict, limits: Limits) -> str:
    """Name a limit and its value."""
    value = f"{conflict.asked:g}"
    return {
        "target": f"{value} tok/s/user{_promise(limits)}",
        "max_ttft": f"TTFT {value} s",
        "concurrency": f"concurrency {value}",
        "rate": f"{value} requests/s",
        "max_gpus": (
            f"the {value} GPUs of the cluster"
            if conflict.asked < limits.max_gpus
            else f"a budget of {value} GPUs"
        ),
    }[conflict.limit]


def _way_out(conflict: Conflict) -> str:
    """Say what a limit would have to be."""
    limit, needed = conflict.limit, conflict.needed
    name = WAYS[limit]
    if needed is None and limit == "max_gpus":
        return f"the {name} would have to be more than {MAX_GPUS:,} GPUs"
    if needed is None:
        return f"no {name} would do"
    written = {
        "target": f"{_floored(needed)} tok/s/user",
        "max_ttft": f"{_significant(needed, 3, up=True):g} s",
        "concurrency": f"{needed:.0f}",
        "rate": f"{_significant(needed, 4):g} requests/s",
        "max_gpus": f"{needed:.0f} GPUs",
    }[limit]
    return f"the {name} would have to be {written}"


WAYS: dict[LimitName, str] = {
    "target": "target",
    "max_ttft": "TTFT",
    "concurrency": "concurrency",
    "rate": "rate",
    "max_gpus": "budget",
}
"""Limits in words."""


def _significant(value: float, digits: int, *, up: bool = False) -> float:
    """Round to significant digits so that asking for it works: down, or up.

    Examples
    --------
    >>> _significant(79.9768, 4), _significant(0.20532, 3, up=True)
    (79.97, 0.206)
    """
    places = digits - 1 - math.floor(math.log10(value))
    scaled = value * 10.0**places
    # A last digit that is exact but for rounding stays.
    whole = math.ceil(scaled - 1e-9) if up else math.floor(scaled + 1e-9)
    return round(whole / 10.0**places, max(places, 0))


def _promise(limits: Limits) -> str:
    if limits.min_confidence is None:
        return ""
    return f" with confidence {limits.min_confidence:g}"


def _floored(value: float | None) -> str:
    return "-" if value is None else floored(value)


def floored(value: float) -> str:
    """Write a reachable target so that asking for it works: rounded down to one decimal.

    Examples
    --------
    >>> floored(286.48)
    '286.4'
    """
    return f"{math.floor(10.0 * value) / 10.0:.1f}"
