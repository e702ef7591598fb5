"""The search: one pass over the lattice, the exact choice, and why the others lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.predictions import predict
from costmodel.results import Configuration, Predicted, Prediction, Scenario
from optimizer.billing import Bill
from optimizer.entries import Entries, joined
from optimizer.exact import Candidates, Choice, choose
from optimizer.explain import lost_by
from optimizer.goal import Goal
from optimizer.ground import Ground
from optimizer.lattice import Lattice, configuration_of
from optimizer.limits import Limits
from optimizer.question import Question
from optimizer.slowed import slowed
from optimizer.space import Space
from optimizer.value import Value, at_bill, replicas_for, value_of
from presets import ClusterSpec, InputError

if TYPE_CHECKING:
    from optimizer.infeasible import Infeasibility

RUNNERS_UP = 4
"""How many other structures an answer names. [1]"""

DEFAULT_GOAL = Goal()
"""Throughput per dollar of the GPUs that serve."""

NONE = joined([])
"""No deployments."""

EQUAL = 1e-9
"""Relative difference of two ratios within which neither is better. [1]"""

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
        Those that meet the target and every other limit; a rate that replicas serve apart. With
        fewer users than slots only those that were solved for, as they could win. [1]
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
    goal : Goal
        What was made best.
    value : Value or None
        Of the objective, and where it comes from.
    """

    status: Literal["optimal", "infeasible"]
    limits: Limits
    predicted: Predicted | None
    runners_up: tuple[RunnerUp, ...]
    search: SearchInfo
    infeasibility: Infeasibility | None = None
    goal: Goal = DEFAULT_GOAL
    value: Value | None = None

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
        if self.infeasibility is None:
            return ""
        from optimizer.infeasible import explain_infeasibility

        return explain_infeasibility(self.infeasibility)


def best(
    scenario: Scenario,
    cluster: ClusterSpec,
    limits: Limits,
    calibration: Calibration,
    space: Space | None = None,
    *,
    goal: Goal | None = None,
    prefill_cluster: ClusterSpec | None = None,
) -> Answer:
    """Find the deployment that reaches the goal best and meets the limits.

    Parameters
    ----------
    scenario : Scenario
        What is served.
    cluster : ClusterSpec
        On what; where prefill has its own cluster, decode alone.
    limits : Limits
        What the answer must meet.
    calibration : Calibration
        Constants of the cost model.
    space : Space, optional
        What is searched.
    goal : Goal, optional
        What is made best: throughput per dollar of the GPUs that serve, unless given.
    prefill_cluster : ClusterSpec, optional
        Where prefill stands, if not on `cluster`.

    Raises
    ------
    InputError
        If a limit is not valid, or no deployment of the space runs within the GPU budget.
    """
    return curve(
        scenario,
        cluster,
        [limits.target],
        limits,
        calibration,
        space,
        goal=goal,
        prefill_cluster=prefill_cluster,
    )[0]


def curve(
    scenario: Scenario,
    cluster: ClusterSpec,
    targets: Sequence[float],
    limits: Limits,
    calibration: Calibration,
    space: Space | None = None,
    *,
    goal: Goal | None = None,
    prefill_cluster: ClusterSpec | None = None,
) -> list[Answer]:
    """Find the best deployment for each of several targets; the lattice is evaluated once.

    Parameters
    ----------
    targets : sequence of float
        Used in place of the target of `limits`. [token/s]

    Other parameters and exceptions are those of `best`; the answers come in the order of `targets`.
    """
    started = time.perf_counter()
    if not targets:
        raise InputError("targets is empty; give at least one")
    ground = Ground(cluster, prefill_cluster, limits.max_gpus)
    question = Question(space or Space(), scenario, ground, calibration, goal or Goal())
    asked = [replace(limits, target=target) for target in targets]
    lattice = question.lattice(limits, slowest=min(targets))
    found = [_known(question, lattice, one) for one in asked]
    more = slowed(question, lattice, asked, [each.beats for each in found])
    found = [replace(each, slowed=entries) for each, entries in zip(found, more, strict=True)]
    keys = sorted({key for each in found for key in each.keys})
    configurations = [configuration_of(lattice, *key) for key in keys]
    predictions = predict(configurations, scenario, cluster, calibration, prefill_cluster)
    predicted = dict(zip(keys, predictions, strict=True))
    return [each.answer([predicted[key] for key in each.keys], started) for each in found]


def is_met(question: Question, limits: Limits) -> bool:
    """Whether a search finds a deployment within limits, whose GPU budget is that of the ground."""
    lattice = question.lattice(limits, limits.target)
    found = _Found(question, lattice, limits)
    if len(found.fast(lattice.front, lattice.throttled)):
        return True
    (more,) = slowed(question, lattice, [limits], [question.serves])
    return len(found.fast(more)) > 0


Key = tuple[int, int, int]
"""State, column and users of one deployment of the lattice."""


@dataclass(frozen=True, eq=False)
class _Found:
    """Winner and runners-up of one target, as places in the lattice."""

    question: Question
    lattice: Lattice
    limits: Limits
    known: Entries = NONE  # the best of the best structures in the lattice
    slowed: Entries = NONE  # with just as many users as the target allows

    def beats(self, entries: Entries) -> BoolArray:
        """Tell which entries could be the answer or a runner-up: the best of their structure.

        Those of a structure that is not among the answers must be better than the last of these.
        """
        throughput, weight = self.ratio(entries)
        # Equally many GPUs for a rate may serve more.
        least = 1.0 + (EQUAL if self.question.goal.rate is None else -EQUAL)
        structure = self.lattice.states.structure[entries.state]
        better = throughput / weight > least * self.standing[structure]
        return np.asarray(better & self.question.serves(entries))

    @cached_property
    def standing(self) -> FloatArray:
        """Ratio by which each structure must be beaten: its own, or that of the last answer."""
        best = self.best_of_structures(self.known)
        return np.maximum(best, _last_answer(best))

    @cached_property
    def choice(self) -> Choice:
        """What CP-SAT chooses among those of the front that are fast enough."""
        throughput, weight = self.ratio(self.front)
        gpus = self.front.gpus if self.question.goal.rate is None else weight
        return choose(Candidates(throughput, weight, gpus), self.limits.max_gpus)

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """Winner and runners-up, best first; none where nothing meets the limits."""
        if self.choice.index is None:
            return ()
        entries = self.leading(joined([self.known, self.fast(self.slowed)]))
        throughput, weight = self.ratio(entries)
        ties = (entries.column, entries.state, self.tie(entries))
        order = np.lexsort((*ties, -(throughput / weight)))
        ranked = [_key(self.front, self.choice.index)]
        ranked += [_key(entries, place) for place in order.tolist()]
        structure = self.lattice.states.structure
        found: dict[int, Key] = {}
        for key in ranked:
            found.setdefault(int(structure[key[0]]), key)
        return tuple(found.values())[: RUNNERS_UP + 1]

    def leading(self, entries: Entries) -> Entries:
        """Best entries of the best structures: all that can be among the answers."""
        throughput, weight = self.ratio(entries)
        merit, best = throughput / weight, self.best_of_structures(entries)
        best_of_own = best[self.lattice.states.structure[entries.state]]
        return entries.take((merit == best_of_own) & (merit >= _last_answer(best)))

    def best_of_structures(self, entries: Entries) -> FloatArray:
        """Best ratio of each structure; 0 where none meets the limits."""
        throughput, weight = self.ratio(entries)
        structure = self.lattice.states.structure
        best = np.zeros(int(structure.max()) + 1)
        np.maximum.at(best, structure[entries.state], throughput / weight)
        return best

    @cached_property
    def front(self) -> Entries:
        """What can be best and meets the target; of equals the first is chosen."""
        entries = self.fast(self.lattice.front, self.lattice.throttled, self.slowed)
        return entries.take(np.argsort(self.tie(entries), kind="stable"))

    def fast(self, *parts: Entries) -> Entries:
        """Entries that meet the target, and the rate where one is asked for."""
        target = self.limits.target
        entries = joined([part.take(part.speed >= target) for part in parts])
        return self.question.serving(entries)

    def ratio(self, entries: Entries) -> tuple[IntArray, IntArray]:
        """Integers whose ratio is made largest."""
        goal = self.question.goal
        if goal.rate is not None:
            replicas = replicas_for(goal.rate, entries.throughput, self.question.scenario)
            return np.ones(len(entries), dtype=np.int64), replicas * entries.gpus
        scaled: FloatArray = np.rint(THROUGHPUT_SCALE * entries.throughput)
        return scaled.astype(np.int64), entries.weight

    def tie(self, entries: Entries) -> FloatArray:
        """Tell equals apart, the less the better: by GPUs, for a rate by what is served beyond."""
        if self.question.goal.rate is None:
            return entries.gpus.astype(np.float64)
        _, gpus = self.ratio(entries)
        return np.asarray(-entries.throughput * (gpus // entries.gpus))

    def answer(self, predicted: Sequence[Predicted], started: float) -> Answer:
        """Put what was found into words, given the predictions of `keys`."""
        fast = self.lattice.states.speed >= self.limits.target
        throttled = self.fast(self.lattice.throttled, self.slowed)
        feasible = int(self.lattice.feasible[fast].sum()) + len(throttled)
        paid = [self.paid(each) for each in predicted]
        bound = _bound(paid[0][0], self.choice) if paid else None
        info = SearchInfo(
            candidates=self.lattice.candidates,
            feasible=feasible,
            pruned=feasible - self.choice.seen,
            status=self.choice.status,
            bound=bound,
            gap=self.choice.gap if predicted else None,
            seconds=time.perf_counter() - started,
        )
        goal = self.question.goal
        if not paid:
            from optimizer.infeasible import find_infeasibility

            failed = find_infeasibility(self.question, self.limits)
            return Answer("infeasible", self.limits, None, (), info, failed, goal)
        runners = tuple(
            RunnerUp(other, lost_by(paid[0], (other, value), self.question.scenario))
            for other, value in paid[1:]
        )
        winner, value = paid[0]
        return Answer("optimal", self.limits, winner, runners, info, None, goal, value)

    def paid(self, predicted: Predicted) -> tuple[Predicted, Value]:
        """Charge a deployment what the goal says, and tell what the objective makes of it."""
        question, configuration = self.question, predicted.configuration
        bill: Bill | None = None
        if question.goal.billing == "domain":
            decode = configuration.decode_gpus_per_worker, configuration.decode_workers
            prefill = configuration.prefill_gpus_per_worker, configuration.prefill_workers
            bill = question.ground.bill(decode, prefill)
        charged = at_bill(predicted, bill, question.ground)
        return charged, value_of(question.goal, charged, bill, question.scenario, question.ground)


def _known(question: Question, lattice: Lattice, limits: Limits) -> _Found:
    """Find what can be among the answers to one target before users are solved for."""
    found = _Found(question, lattice, limits)
    known = found.leading(found.fast(lattice.by_structure, lattice.throttled))
    return replace(found, known=known)


def _last_answer(best: FloatArray) -> float:
    """Ratio of the last runner-up, given the best of each structure."""
    return float(np.sort(best)[-min(RUNNERS_UP + 1, len(best))])


def _key(entries: Entries, place: int) -> Key:
    return int(entries.state[place]), int(entries.column[place]), int(entries.users[place])


def _bound(winner: Predicted, choice: Choice) -> float:
    """Price below which no candidate is, as proven [USD per million tokens]."""
    return winner.prediction.usd_per_m_total_tokens / (1.0 + choice.gap)
