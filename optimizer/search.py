"""The search: one pass over the lattice, the exact choice, and why the others lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal

import numpy as np

from costmodel.calibration import Calibration
from costmodel.predictions import predict
from costmodel.results import Configuration, Predicted, Prediction, Scenario
from optimizer.entries import Entries, joined
from optimizer.exact import Candidates, Choice, choose
from optimizer.explain import lost_by
from optimizer.infeasible import Infeasibility, explain_infeasibility, find_infeasibility
from optimizer.lattice import Lattice, configuration_of, evaluate
from optimizer.limits import Limits
from optimizer.space import Space
from presets import ClusterSpec, InputError

RUNNERS_UP = 4
"""How many other structures an answer names. [1]"""

THROUGHPUT_SCALE = 1000.0
"""Integers of the exact choice count thousandths of a token per second. [1]"""


@dataclass(frozen=True)
class SearchInfo:
    """What the search looked at and proved.

    Attributes
    ----------
    candidates : int
        Deployments that break no engine rule and fit memory, GPU budget and NVLink domains. [1]
    feasible : int
        Those that meet the target and every other limit. [1]
    pruned : int
        Feasible ones that another makes needless, so that the solver need not see them. [1]
    status : str
        What CP-SAT says: "OPTIMAL" or "INFEASIBLE".
    bound : float or None
        Proven lower bound of the price of a million tokens. [USD]
    gap : float or None
        Relative distance of the bound from the answer; 0 where it is proven best. [1]
    seconds : float
        [s]
    """

    candidates: int
    feasible: int
    pruned: int
    status: str
    bound: float | None
    gap: float | None
    seconds: float


@dataclass(frozen=True)
class RunnerUp:
    """The best of another structure, and why it lost."""

    predicted: Predicted
    lost_by: str

    @property
    def configuration(self) -> Configuration:
        """The deployment."""
        return self.predicted.configuration

    @property
    def prediction(self) -> Prediction:
        """What it would do."""
        return self.predicted.prediction


@dataclass(frozen=True)
class Answer:
    """The best deployment for one target, or why there is none.

    Attributes
    ----------
    status : {"optimal", "infeasible"}
    limits : Limits
        What was asked.
    predicted : Predicted or None
        The winner with its prediction and breakdown.
    runners_up : tuple of RunnerUp
        The best of other structures, best first.
    search : SearchInfo
    infeasibility : Infeasibility or None
    """

    status: Literal["optimal", "infeasible"]
    limits: Limits
    predicted: Predicted | None
    runners_up: tuple[RunnerUp, ...]
    search: SearchInfo
    infeasibility: Infeasibility | None = None

    @property
    def configuration(self) -> Configuration | None:
        """The winner."""
        return self.predicted.configuration if self.predicted else None

    @property
    def prediction(self) -> Prediction | None:
        """What the winner would do."""
        return self.predicted.prediction if self.predicted else None

    @property
    def breakdown_ms(self) -> dict[str, float]:
        """What a decode step of the winner spends its time on [ms]."""
        return dict(self.predicted.breakdown_ms) if self.predicted else {}

    @property
    def reason(self) -> str:
        """Why there is no answer, in one sentence; empty where there is one."""
        return explain_infeasibility(self.infeasibility) if self.infeasibility else ""


def best(
    scenario: Scenario,
    cluster: ClusterSpec,
    limits: Limits,
    calibration: Calibration,
    space: Space | None = None,
) -> Answer:
    """Find the deployment of most throughput per dollar that meets the limits.

    Parameters
    ----------
    scenario : Scenario
        What is served.
    cluster : ClusterSpec
        On what.
    limits : Limits
        What the answer must meet.
    calibration : Calibration
        Constants of the cost model.
    space : Space, optional
        What is searched.

    Raises
    ------
    InputError
        If a limit is not valid, or no deployment of the space runs within the GPU budget.
    """
    return curve(scenario, cluster, [limits.target], limits, calibration, space)[0]


def curve(
    scenario: Scenario,
    cluster: ClusterSpec,
    targets: Sequence[float],
    limits: Limits,
    calibration: Calibration,
    space: Space | None = None,
) -> list[Answer]:
    """Find the best deployment for each of several targets; the lattice is evaluated once.

    Parameters
    ----------
    targets : sequence of float
        Used in place of the target of `limits`. [token/s]

    Other parameters and exceptions are those of `best`; the answers come in the order of `targets`.
    """
    started = time.perf_counter()
    asked = [replace(limits, target=target) for target in targets]
    if not asked:
        raise InputError("targets is empty; give at least one")
    look = partial(
        evaluate,
        space or Space(),
        scenario,
        cluster,
        calibration,
        limits.max_gpus,
        limits.max_ttft,
    )
    lattice = look(slowest=min(one.target for one in asked))
    found = [_Found(lattice, one) for one in asked]
    keys = sorted({key for each in found for key in each.keys})
    configurations = [configuration_of(lattice, *key, scenario, calibration) for key in keys]
    predictions = predict(configurations, scenario, cluster, calibration) if keys else []
    predicted = dict(zip(keys, predictions, strict=True))
    # Only to say what would work: slower states were not looked at.
    whole = lattice if all(each.keys for each in found) else look()
    return [
        each.answer([predicted[key] for key in each.keys], scenario, whole, started)
        for each in found
    ]


Key = tuple[int, int]
"""State and column of one deployment of the lattice."""


@dataclass(frozen=True)
class _Found:
    """Winner and runners-up of one target, as places in the lattice."""

    lattice: Lattice
    limits: Limits

    @cached_property
    def choice(self) -> Choice:
        """What CP-SAT chooses among those of the front that are fast enough."""
        entries = self.front
        return choose(
            Candidates(
                throughput=np.rint(THROUGHPUT_SCALE * entries.throughput).astype(np.int64),
                cost=entries.cost,
                gpus=entries.gpus,
            ),
            self.limits.max_gpus,
        )

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """Winner and runners-up, best first; none where nothing meets the limits."""
        if self.choice.index is None:
            return ()
        winner = int(self.front.state[self.choice.index]), int(self.front.column[self.choice.index])
        entries = self.fast(self.lattice.by_structure, self.lattice.throttled)
        order = np.lexsort((entries.column, entries.state, entries.gpus, -entries.per_dollar))
        found = {self.structure(winner): winner}
        for place in order.tolist():
            key = int(entries.state[place]), int(entries.column[place])
            found.setdefault(self.structure(key), key)
            if len(found) > RUNNERS_UP:
                break
        return tuple(found.values())

    def structure(self, key: Key) -> tuple[object, ...]:
        """Say what tells runners-up apart: decode worker size, attention and draft depth.

        Prefill workers of another size hardly change an answer: they would fill the list.
        """
        state, _ = key
        shape = self.lattice.states.shape_of(state)
        return shape.gpus, shape.attention, shape.mtp_depth

    @cached_property
    def front(self) -> Entries:
        """What can be best and meets the target."""
        return self.fast(self.lattice.front, self.lattice.throttled)

    def fast(self, *parts: Entries) -> Entries:
        """Entries that meet the target."""
        entries = joined(parts)
        return entries.take(entries.speed >= self.limits.target)

    def answer(
        self, predicted: Sequence[Predicted], scenario: Scenario, whole: Lattice, started: float
    ) -> Answer:
        """Put what was found into words, given the predictions of `keys`."""
        fast = self.lattice.states.tok_s_per_user >= self.limits.target
        feasible = int(self.lattice.feasible[fast].sum()) + len(self.fast(self.lattice.throttled))
        info = SearchInfo(
            candidates=self.lattice.candidates,
            feasible=feasible,
            pruned=feasible - self.choice.seen,
            status=self.choice.status,
            bound=_bound(predicted[0], self.choice) if predicted else None,
            gap=self.choice.gap if predicted else None,
            seconds=time.perf_counter() - started,
        )
        if not predicted:
            failed = find_infeasibility(whole, self.limits)
            return Answer("infeasible", self.limits, None, (), info, failed)
        winner, *others = predicted
        runners = tuple(RunnerUp(other, lost_by(winner, other, scenario)) for other in others)
        return Answer("optimal", self.limits, winner, runners, info)


def _bound(winner: Predicted, choice: Choice) -> float:
    """Price below which no candidate is, as proven [USD per million tokens]."""
    return winner.prediction.usd_per_m_total_tokens / (1.0 + choice.gap)
