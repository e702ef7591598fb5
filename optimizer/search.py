"""The search: one pass over the lattice, the exact choice, and why the others lost."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from costmodel.predictions import predict
from optimizer.answer import Answer
from optimizer.evaluation import evaluate
from optimizer.infeasible import find_infeasibilities
from optimizer.lattice import configuration_of
from optimizer.problem import Problem
from optimizer.ranking import RUNNERS_UP, Ranking, ranking_of
from optimizer.slowed import slowed
from optimizer.states import DecodeStates
from presets import InputError


def best(problem: Problem) -> Answer:
    """Find the deployment that serves the objective best and meets the limits.

    Raises
    ------
    InputError
        If a limit is not valid, or no deployment of the space runs within the GPU budget.
    """
    return curve(problem, [problem.limits.target])[0]


def curve(problem: Problem, targets: Sequence[float], *, explained: bool = True) -> list[Answer]:
    """Find the best deployment for each of several targets; the lattice is evaluated once.

    Parameters
    ----------
    problem : Problem
        What is asked.
    targets : sequence of float
        Used in place of the target of the problem. [token/s]
    explained : bool
        Whether to find out why a target is missed, which takes searches of its own.

    Exceptions are those of `best`; the answers come in the order of `targets`.
    """
    started = time.perf_counter()
    answers = answers_of(problem, rankings(problem, targets), started)
    return with_reasons(problem, answers) if explained else answers


def rankings(
    problem: Problem,
    targets: Sequence[float],
    states: DecodeStates | None = None,
    runners_up: int = RUNNERS_UP,
) -> list[Ranking]:
    """Rank deployments by target; arguments are those of `curve`.

    Parameters
    ----------
    states : DecodeStates, optional
        Those of the problem that are looked at; all unless given.
    runners_up : int
        How many other structures are named. [1]
    """
    if not targets:
        raise InputError("targets is empty; give at least one")
    lattice = evaluate(problem, min(targets), states)
    found = [ranking_of(problem.at(target), lattice, runners_up) for target in targets]
    more = slowed(problem, lattice, targets, [each.beats for each in found])
    return [replace(each, slowed=entries) for each, entries in zip(found, more, strict=True)]


def answers_of(problem: Problem, found: Sequence[Ranking], started: float) -> list[Answer]:
    """Predict what was ranked, all at once; `problem` may differ from theirs in its limits."""
    configurations = {
        (place, key): configuration_of(each.lattice, *key)
        for place, each in enumerate(found)
        for key in each.keys
    }
    every = list(dict.fromkeys(configurations.values()))
    predictions = predict(
        every,
        problem.scenario,
        problem.cluster,
        problem.calibration,
        problem.prefill_cluster,
        problem.limits.judged,
    )
    predicted = dict(zip(every, predictions, strict=True))
    return [
        each.answer([predicted[configurations[place, key]] for key in each.keys], started)
        for place, each in enumerate(found)
    ]


def with_reasons(
    problem: Problem, answers: Sequence[Answer], targets: Collection[float] | None = None
) -> list[Answer]:
    """Say why nothing meets the limits of answers to a problem that have no winner.

    Of all, or of those at some targets [token/s].
    """
    asked = [
        each.winner is None and (targets is None or each.problem.limits.target in targets)
        for each in answers
    ]
    missed = [each.problem.limits.target for each, say in zip(answers, asked, strict=True) if say]
    reasons = iter(find_infeasibilities(problem, missed))
    return [
        replace(each, infeasibility=next(reasons)) if say else each
        for each, say in zip(answers, asked, strict=True)
    ]
