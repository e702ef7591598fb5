"""What a search answers: the winner and its rivals, what was proven, or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from costmodel.results import Configuration, Predicted, Prediction
from optimizer.billing import Bill
from optimizer.objective import ObjectiveValue
from optimizer.problem import Limits, Problem
from presets.record import Record

LimitName = Literal["target", "max_ttft", "concurrency", "rate", "max_gpus"]


class Search(Record):
    """What the search looked at and proved.

    Attributes
    ----------
    candidates : int
        Deployments that break no engine rule and fit memory, GPU budget and NVLink domains. [1]
    status : str
        "OPTIMAL", as nothing else promises more, or "INFEASIBLE".
    gap : float or None
        Relative distance of the bound from the answer; 0 where it is proven best. [1]
    seconds : float
        [s]
    feasible : int
        Ways to combine workers that promise to meet the target and every other limit, each with the
        slots and users that suit it best. [1]
    pruned : int
        Those that promise less than the answers give, so that they need no evaluation. [1]
    bound : float or None
        Proven lower bound of the cost; None where the objective is another.
        [USD per million tokens]
    """

    candidates: int
    status: str
    gap: float | None
    seconds: float
    feasible: int
    pruned: int
    bound: float | None


class Ranked(NamedTuple):
    """A deployment as it is charged, and what the objective makes of it.

    Attributes
    ----------
    predicted : Predicted
    value : ObjectiveValue
    bill : Bill or None
        Under billing by domain, whole domains and the replicas that share them.
    """

    predicted: Predicted
    value: ObjectiveValue
    bill: Bill | None = None

    @property
    def amount(self) -> float:
        """What the objective comes to, in its unit."""
        assert self.value.amount is not None  # only an answer without a deployment has none
        return self.value.amount

    @property
    def configuration(self) -> Configuration:
        """The deployment."""
        return self.predicted.configuration

    @property
    def prediction(self) -> Prediction:
        """What it would do."""
        return self.predicted.prediction


class Conflict(Record):
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
    without : tuple
        Limits that are left out besides, as no change of one limit alone would do.
    """

    limit: LimitName
    asked: float
    needed: float | None
    without: tuple[LimitName, ...] = ()


def rounded(name: LimitName, needed: float) -> float:
    """Round what a limit would have to be as it is printed: so that asking for it works."""
    return {
        "target": math.floor(10.0 * needed) / 10.0,
        "max_ttft": _significant(needed, 3, up=True),
        "concurrency": math.floor(needed),
        "rate": _significant(needed, 4),
        "max_gpus": math.ceil(needed),
    }[name]


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


@dataclass(frozen=True)
class Infeasibility:
    """What failed, and what would work.

    Attributes
    ----------
    conflicts : tuple of Conflict
        The smallest set of limits that no deployment meets together. Where no change of one limit
        would do, the smallest set without one of those comes after it.
    limits : Limits
        As asked.
    highest_target : float or None
        Highest target that all other limits allow; None where they allow none. [token/s]
    step_ms : float
        Step of the fastest decode worker of the space. [ms]
    tokens_per_step : float
        Tokens that it yields to a user. [1]
    tok_s_per_user : float
        What that comes to, as it counts against the target. [token/s]
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
    tok_s_per_user: float
    largest_part: str
    largest_part_ms: float


@dataclass(frozen=True)
class Answer:
    """The best deployment for one target, or why there is none.

    Attributes
    ----------
    problem : Problem
        What was asked.
    winner : Ranked or None
        The best deployment.
    runners_up : tuple of Ranked
        The best of other structures, best first.
    search : Search
    infeasibility : Infeasibility or None
        Where there is no winner.
    """

    problem: Problem
    winner: Ranked | None
    runners_up: tuple[Ranked, ...]
    search: Search
    infeasibility: Infeasibility | None = None

    @property
    def status(self) -> Literal["optimal", "infeasible"]:
        """Whether there is a winner."""
        return "optimal" if self.winner else "infeasible"

    @property
    def predicted(self) -> Predicted | None:
        """The winner with its prediction and breakdown."""
        return self.winner.predicted if self.winner else None

    @property
    def value(self) -> ObjectiveValue | None:
        """What the objective makes of the winner."""
        return self.winner.value if self.winner else None

    @property
    def configuration(self) -> Configuration | None:
        """The winner."""
        return self.winner.configuration if self.winner else None

    @property
    def prediction(self) -> Prediction | None:
        """What the winner would do."""
        return self.winner.prediction if self.winner else None

    @property
    def breakdown_ms(self) -> dict[str, float]:
        """What a decode step of the winner spends its time on [ms]."""
        return dict(self.predicted.breakdown_ms) if self.predicted else {}
