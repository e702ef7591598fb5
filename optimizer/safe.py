"""The safe choice: the best inside the data that meets each limit with confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from optimizer.answer import Answer
from optimizer.confidence import chance_to_meet
from optimizer.problem import Problem
from optimizer.search import curve
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


def is_safe(answer: Answer) -> bool:
    """Tell whether an answer is a safe choice itself."""
    if answer.prediction is None or answer.prediction.origin == "extrapolated":
        return False
    limits = safe_problem(answer.problem).limits
    chances = chance_to_meet(answer.prediction, limits).values()
    return min(chances) >= (limits.min_confidence or 0.0) - ROUNDING


def curve_with_safe(problem: Problem, targets: Sequence[float]) -> list[WithSafe]:
    """Find the best deployment for each of several targets, and beside it the safe choice.

    Arguments and exceptions are those of `optimizer.curve`.
    """
    answers = curve(problem, targets)
    asked = [each.winner is not None and not is_safe(each) for each in answers]
    others = [target for target, wanted in zip(targets, asked, strict=True) if wanted]
    try:
        found = iter(curve(safe_problem(problem), others) if others else ())
    except InputError as error:
        # Told as a reason: there is no option to leave out.
        why = str(error).removeprefix("within_data: ").removesuffix("; leave it out")
        return [
            WithSafe(each, None, why) if wanted else WithSafe(each, _itself(each))
            for each, wanted in zip(answers, asked, strict=True)
        ]
    return [
        WithSafe(each, next(found) if wanted else _itself(each))
        for each, wanted in zip(answers, asked, strict=True)
    ]


def _itself(answer: Answer) -> Answer | None:
    return answer if answer.winner else None
