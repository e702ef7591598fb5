"""The search: what is best at each target, what was proven, and why there may be nothing."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from costmodel.predictions import predict
from costmodel.results import Predicted
from optimizer.answer import Answer, Ranked, Search
from optimizer.candidates import candidates_of
from optimizer.infeasible import find_infeasibilities
from optimizer.problem import Problem
from optimizer.ranking import Ranking, rankings
from optimizer.value import at_bill, bill_of, value_of
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
    """Find the best deployment for each of several targets; their workers are rated together.

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
    answers = answers_of(problem, rankings(candidates_of(problem), targets), started)
    return with_reasons(problem, answers) if explained else answers


def answers_of(problem: Problem, found: Sequence[Ranking], started: float) -> list[Answer]:
    """Predict what was ranked, all at once; `problem` may differ from theirs in its limits."""
    configurations = {
        (place, key): each.candidates.configuration(*key)
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
        _answer(each, [predicted[configurations[place, key]] for key in each.keys], started)
        for place, each in enumerate(found)
    ]


def _answer(found: Ranking, predicted: Sequence[Predicted], started: float) -> Answer:
    """Put what was found into words, given the predictions of its keys."""
    problem = found.candidates.problem.at(found.points.target)
    ranked = [_ranked(problem, each) for each in predicted]
    # The bound is one of the cost: nothing that is left promises a lower one.
    is_priced = ranked and problem.objective.name == "cost"
    search = Search(
        candidates=found.candidates.number,
        feasible=found.feasible,
        pruned=found.feasible - found.evaluated,
        status="OPTIMAL" if ranked else "INFEASIBLE",
        bound=ranked[0].prediction.usd_per_m_total_tokens if is_priced else None,
        gap=0.0 if ranked else None,
        seconds=round(time.perf_counter() - started, 3),
    )
    if not ranked:
        return Answer(problem, None, (), search)
    return Answer(problem, ranked[0], tuple(ranked[1:]), search)


def _ranked(problem: Problem, predicted: Predicted) -> Ranked:
    """Charge a deployment as the objective says, and tell what the objective makes of it."""
    bill = bill_of(problem, predicted)
    charged = at_bill(predicted, bill, problem.resources)
    return Ranked(charged, value_of(problem, charged, bill), bill)


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
