"""Why nothing meets the limits: computed here, and said in words here, apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Literal

import numpy as np

from costmodel.inputs import FloatArray
from optimizer.entries import Entries, joined
from optimizer.explain import PART_NAMES
from optimizer.fewest import enlarged, fewest_gpus
from optimizer.goal import Goal
from optimizer.lattice import Lattice
from optimizer.limits import Limits
from optimizer.question import Question
from optimizer.search import is_met
from optimizer.slowed import slowed
from optimizer.value import request_tokens
from topology.cluster import MAX_GPUS

LimitName = Literal["target", "max_ttft", "concurrency", "rate", "max_gpus"]

TTFT_STEP, TARGET_STEP = 1.005, 1.005
"""Ratios within which a TTFT and a target are found by bisection. [1]"""

EXACT = 1e-9
"""Within which a speed that was evaluated is found again. [1]"""

SLOWEST, LONGEST = 0.1, 1e6
"""A target that asks for nothing [token/s], and a TTFT that does [s]."""


@dataclass(frozen=True)
class Conflict:
    """One limit of the smallest set that cannot be met together.

    Attributes
    ----------
    limit : {"target", "max_ttft", "concurrency", "rate", "max_gpus"}
    asked : float
        [token/s], [s], [1], [1/s] or [GPU]
    needed : float or None
        What it would have to be with all other limits kept, as a search with it has found: the
        highest target, concurrency or rate, the shortest TTFT, the fewest GPUs; None where nothing
        would do.
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
        if not relaxed.is_met(chosen)
    )
    highest = relaxed.needed("target")
    conflicts = tuple(
        Conflict(name, asked[name], highest if name == "target" else relaxed.needed(name))
        for name in names
    )
    states = relaxed.lattice(()).states
    fastest = int(np.argmax(states.speed))
    step_parts = states.step_of(fastest, question.calibration).parts
    parts = {name: float(seconds) for name, seconds in step_parts.items()}
    largest = max(parts, key=lambda name: parts[name])
    step = sum(parts.values())
    return Infeasibility(
        conflicts=conflicts,
        limits=limits,
        highest_target=highest,
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

    def fewest_users(self, kept: Sequence[LimitName]) -> int | None:
        """Users that wait least and are served fastest: those asked for, else one alone [1]."""
        return None if "concurrency" in kept else 1

    def meeting(
        self, kept: Sequence[LimitName], users: int | None = None, ttft: float | None = None
    ) -> Entries:
        """Deployments that meet the kept limits, as far as they can be best.

        Without users those with full slots and those that prefill throttles. Without a budget there
        are always enough replicas to serve a rate.
        """
        lattice = self.lattice(kept, users, ttft)
        entries = joined([lattice.front, lattice.throttled])
        if "target" in kept:
            entries = entries.take(entries.speed >= self.limits.target)
        if "rate" in kept and "max_gpus" in kept:
            entries = self.question.serving(entries)
        return entries

    def is_met(self, kept: Sequence[LimitName]) -> bool:
        """Whether anything meets the kept limits."""
        if "concurrency" in kept or not {"rate", "max_gpus"} <= {*kept}:
            return len(self.meeting(kept, self.fewest_users(kept))) > 0
        # How much is served depends on how many users a target and a TTFT leave.
        slowest = self.slowest(kept) or SLOWEST
        return is_met(self.question, replace(self.kept_limits(kept), target=slowest))

    def works(self, name: LimitName, value: float) -> bool:
        """Try what a limit would have to be, with all others kept: whether a search finds any."""
        question, limits = self.question, self.limits
        if name == "rate":
            question = question._replace(goal=replace(question.goal, rate=value))
        elif name == "max_gpus":
            limits = replace(limits, max_gpus=int(value))
            ground = enlarged(question.ground, int(value))._replace(max_gpus=int(value))
            question = question._replace(ground=ground)
        elif name == "concurrency":
            limits = replace(limits, concurrency=int(value))
        elif name == "max_ttft":
            limits = replace(limits, max_ttft=value)
        else:
            limits = replace(limits, target=value)
        return is_met(question, limits)

    def needed(self, name: LimitName) -> float | None:
        """Find what a limit would have to be, all others kept; None: nothing does."""
        others = [other for other in self.asked() if other != name]
        found = {
            "target": self.highest_target,
            "max_ttft": self.shortest_ttft,
            "concurrency": self.most_users,
            "rate": self.highest_rate,
            "max_gpus": self.fewest_gpus,
        }[name](others)
        value = 0.0 if found is None else printed(name, found)
        return found if value > 0.0 and self.works(name, value) else None

    def highest_target(self, others: Sequence[LimitName]) -> float | None:
        """Highest target: of the users that are asked for, else of one alone [token/s].

        With a rate, that at which it can be served, by bisection.
        """
        if "rate" not in others or "concurrency" in others:
            entries = self.meeting(others, self.fewest_users(others))
            return float(entries.speed.max()) if len(entries) else None
        full = float(self.meeting(others).speed.max(initial=SLOWEST))
        works = partial(self.works, "target")
        return self.nearest(works, full * (1.0 - EXACT), self.limits.target, TARGET_STEP)

    def highest_rate(self, others: Sequence[LimitName]) -> float | None:
        """Highest rate that replicas within the budget serve [1/s]."""
        lattice, limits = self.lattice(others), replace(self.kept_limits(others))
        budget = self.budget(others)

        def served(entries: Entries) -> FloatArray:
            return np.asarray(budget // entries.gpus * entries.throughput)

        most = float(served(self.meeting(others)).max(initial=0.0))
        (more,) = slowed(self.question, lattice, [limits], [lambda some: served(some) > most])
        most = float(served(more).max(initial=most))
        return most / request_tokens(self.question.scenario) if most else None

    def fewest_gpus(self, others: Sequence[LimitName]) -> float | None:
        """Fewest GPUs: of one deployment, or with a rate of the replicas that serve it [GPU]."""
        rate = self.question.goal.rate
        if rate is not None:
            limits = self.kept_limits(others)
            return fewest_gpus(self.question, rate, limits, self.slowest(others))
        free = _Relaxed(self.question._replace(goal=Goal("throughput")), self.limits)
        gpus = free.meeting(others, self.fewest_users(others)).gpus
        return float(gpus.min()) if len(gpus) else None

    def shortest_ttft(self, others: Sequence[LimitName]) -> float | None:
        """Shortest mean TTFT: of the users that are asked for, else of one alone [s].

        With a rate, that at which it can be served.
        """
        asked = float(self.limits.max_ttft or 1.0)
        if "rate" in others:
            works = partial(self.works, "max_ttft")
            return self.nearest(works, LONGEST, asked, TTFT_STEP)
        lattice = self.lattice(others, self.fewest_users(others))
        shortest = float(lattice.shortest_ttft.min(initial=math.inf))
        return shortest if math.isfinite(shortest) else None

    def most_users(self, others: Sequence[LimitName]) -> float | None:
        """Most users that the other limits allow, by bisection [1]."""
        low, high = 1, int(self.limits.concurrency or 1)
        if not len(self.meeting(others, low)):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if len(self.meeting(others, middle)) else (low, middle)
        return float(low)

    @staticmethod
    def nearest(
        tried: Callable[[float], bool], works: float, fails: float, step: float
    ) -> float | None:
        """Value nearest to one that fails that works, to a ratio, by bisection; None: none does."""
        if not tried(works):
            return None
        while max(works, fails) > step * min(works, fails):
            middle = math.sqrt(works * fails)
            works, fails = (middle, fails) if tried(middle) else (works, middle)
        return works


def printed(name: LimitName, needed: float) -> float:
    """Round what a limit would have to be as it is printed: so that asking for it works."""
    return {
        "target": math.floor(10.0 * needed) / 10.0,
        "max_ttft": _significant(needed, 3, up=True),
        "concurrency": math.floor(needed),
        "rate": _significant(needed, 4),
        "max_gpus": math.ceil(needed),
    }[name]


def explain_infeasibility(found: Infeasibility) -> str:
    """Say in one sentence what failed and what would work."""
    names = [conflict.limit for conflict in found.conflicts]
    said = [_said(conflict, found.limits) for conflict in found.conflicts]
    if names == ["target"]:
        text = (
            f"{said[0]} is out of reach: the fastest step of the whole space takes "
            f"{found.step_ms:.1f} ms for {found.tokens_per_step:.1f} tokens"
        )
        text += f", {floored(1e3 * found.tokens_per_step / found.step_ms)} tok/s/user"
        text += _promise(found.limits)
        part = PART_NAMES.get(found.largest_part, found.largest_part)
        text += f"; the largest part of it is {part}, {found.largest_part_ms:.1f} ms"
    elif len(names) == 1:
        text = f"{said[0]} is out of reach: {_way_out(found.conflicts[0])}"
    else:
        ways = "; or ".join(_way_out(conflict) for conflict in found.conflicts)
        listed = f"{', '.join(said[:-1])} and {said[-1]}"
        text = f"{listed} cannot be met together: with all other limits kept {ways}"
    if found.highest_target is None:
        return f"{text}; no target works with the other limits"
    nearest = f"{floored(found.highest_target)} tok/s/user"
    # Said already where the target is one of those in conflict, or the fastest step reaches it.
    return text if nearest in text else f"{text}; the nearest target that works is {nearest}"


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
    value = printed(limit, needed)
    written = {
        "target": f"{value:.1f} tok/s/user",
        "max_ttft": f"{value:g} s",
        "concurrency": f"{value:.0f}",
        "rate": f"{value:g} requests/s",
        "max_gpus": f"{value:.0f} GPUs",
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


def floored(value: float) -> str:
    """Write a reachable target so that asking for it works: rounded down to one decimal.

    Examples
    --------
    >>> floored(286.48)
    '286.4'
    """
    return f"{math.floor(10.0 * value) / 10.0:.1f}"
