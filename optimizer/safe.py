"""The safe choice: the best inside the data that meets each limit with confidence."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from optimizer.answer import Answer
from optimizer.candidates import candidates_of
from optimizer.confidence import chance_to_meet
from optimizer.problem import Problem
from optimizer.ranking import Ranking, rankings
from optimizer.search import answers_of, with_reasons
from optimizer.spans import spans_of
from presets import InputError

SAFE = 0.9
"""Probability with which a safe choice meets each limit. [1]"""

ROUNDING = 1e-6
"""By which a chance may fall short: the users that just meet a target are solved for. [1]"""


class WithSafe(NamedTuple):
    """An answer beside the safe choice.

    Attributes
    ----------
    answer : Answer
        To the problem.
    safe : Answer or None
        To `safe_problem`: the answer itself where that is safe; None where nothing meets the limits
        at all, or nothing lies inside the data.
    outside : str or None
        Why nothing lies inside the data.
    """

    answer: Answer
    safe: Answer | None = None
    outside: str | None = None


def safe_problem(problem: Problem) -> Problem:
    """Ask for what lies inside the data and meets each limit with `SAFE` or what is asked for."""
    confidence = max(problem.limits.min_confidence or 0.0, SAFE)
    return problem.within(replace(problem.limits, min_confidence=confidence, within_data=True))


def curve_with_safe(
    problem: Problem, targets: Sequence[float], explained: Collection[float] | None = None
) -> list[WithSafe]:
    """Find the best deployment for each of several targets, and beside it the safe choice.

    Arguments and exceptions are those of `optimizer.curve`; `explained` are the targets at which
    it is found out why nothing meets the limits, all unless given.
    """
    started, safe = time.perf_counter(), safe_problem(problem)
    candidates = candidates_of(problem)
    found, outside = rankings(candidates, targets), None
    sure: list[Ranking] = []
    if problem.limits != safe.limits:
        try:
            inside = spans_of(safe, candidates.spans.known)
            sure = rankings(candidates_of(safe, inside), targets, runners_up=0)
        except InputError as error:
            # Told as a reason: there is no option to leave out.
            outside = (
                str(error).removeprefix("within_data: ").removesuffix("; leave within_data out")
            )
    every = answers_of(problem, [*found, *sure], started)
    answers = with_reasons(problem, every[: len(found)], explained)
    if outside:
        return [WithSafe(each, None, outside if each.winner else None) for each in answers]
    choices = with_reasons(
        safe,
        [
            answer if is_safe(answer) else other
            for answer, other in zip(answers, every[len(found) :] or answers, strict=True)
            if answer.winner
        ],
        explained,
    )
    left = iter(choices)
    return [WithSafe(each, next(left) if each.winner else None) for each in answers]


def is_safe(answer: Answer) -> bool:
    """Tell whether an answer is a safe choice itself."""
    predicted = answer.predicted
    if predicted is None or predicted.prediction.origin == "extrapolated":
        return False
    limits = safe_problem(answer.problem).limits
    chances = chance_to_meet(predicted.prediction, limits, predicted.percentiles_ms)
    return min(chances.values()) >= (limits.min_confidence or 0.0) - ROUNDING
