"""The search: one pass over the lattice, the exact choice, and why the others lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from costmodel.predictions import predict
from optimizer.answer import Answer
from optimizer.infeasible import find_infeasibilities
from optimizer.lattice import configuration_of, evaluate
from optimizer.problem import Problem
from optimizer.ranking import ranking_of
from optimizer.slowed import slowed
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
    if not targets:
        raise InputError("targets is empty; give at least one")
    lattice = evaluate(problem, slowest=min(targets))
    found = [ranking_of(problem.at(target), lattice) for target in targets]
    more = slowed(problem, lattice, targets, [each.beats for each in found])
    found = [replace(each, slowed=entries) for each, entries in zip(found, more, strict=True)]
    keys = sorted({key for each in found for key in each.keys})
    configurations = [configuration_of(lattice, *key) for key in keys]
    predictions = predict(
        configurations,
        problem.scenario,
        problem.cluster,
        problem.calibration,
        problem.prefill_cluster,
    )
    predicted = dict(zip(keys, predictions, strict=True))
    answers = [each.answer([predicted[key] for key in each.keys], started) for each in found]
    missed = [place for place, each in enumerate(answers) if not each.winner and explained]
    reasons = find_infeasibilities(problem, [targets[place] for place in missed])
    for place, reason in zip(missed, reasons, strict=True):
        answers[place] = replace(answers[place], infeasibility=reason)
    return answers
