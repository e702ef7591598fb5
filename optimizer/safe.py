"""The safe choice: the best inside the data that meets each limit with confidence."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from costmodel.inputs import FloatArray, IntArray
from costmodel.serving import MOST_LOAD
from optimizer.answer import Answer
from optimizer.columns import all_columns
from optimizer.confidence import chance_to_meet
from optimizer.prefill import options_of
from optimizer.problem import Problem
from optimizer.ranking import THROUGHPUT_SCALE, Ranking
from optimizer.search import answers_of, rankings, with_reasons
from optimizer.states import DecodeStates, decode_states, inside_states, take_states
from optimizer.value import request_tokens
from presets import InputError

SAFE = 0.9
"""Probability with which a safe choice meets each limit. [1]"""

ROUNDING = 1e-6
"""By which a chance may fall short: the users that just meet a target are solved for. [1]"""

NEAR = 0.8
"""Share of the best bound of a target that states must reach to be looked at first. [1]"""

STEP = 0.01
"""To which the logarithm of a rate of requests is rounded up. [1]"""


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
    states = decode_states(problem)
    found, sure, outside = rankings(problem, targets, states), [], None
    if problem.limits != safe.limits:
        try:
            sure = _safe_rankings(safe, targets, states)
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


def _safe_rankings(
    problem: Problem, targets: Sequence[float], states: DecodeStates
) -> list[Ranking]:
    """Rank what is safe: first the states that a bound puts near the best.

    Where the best of them is worse than what the others could be, all are looked at.
    """
    inside = inside_states(states, problem)
    near, least = _near_the_best(problem, inside, targets)
    found = rankings(problem, targets, take_states(inside, near), runners_up=0)
    again = [
        place
        for place, (each, left_out) in enumerate(zip(found, least, strict=True))
        if float(each.choice.ratio) / THROUGHPUT_SCALE < left_out
    ]
    if again:
        whole = rankings(problem, [targets[place] for place in again], inside, runners_up=0)
        for place, each in zip(again, whole, strict=True):
            found[place] = each
    return found


def _near_the_best(
    problem: Problem, states: DecodeStates, targets: Sequence[float]
) -> tuple[IntArray, FloatArray]:
    """States that a bound puts near the best of a target, and by target what others do not reach.

    The bound is what full slots give, or prefill at its largest load, over what that is charged.
    """
    options = options_of(states, problem)
    tokens, bound = request_tokens(problem.scenario), np.zeros(len(states))
    for key, pairs in all_columns(problem, states, options).items():
        rows = np.flatnonzero(states.column_key == key)
        if not len(pairs):
            continue
        # Rounded up to few rates: more requests are never worth less.
        levels, level = np.unique(
            np.ceil(np.log(states.rate.request_rate[rows]) / STEP), return_inverse=True
        )
        fed = MOST_LOAD * pairs.prefill_workers * options.prefill.capacity[pairs.option]
        served = np.minimum(np.exp(STEP * levels)[:, None] * pairs.decode_workers, fed)
        bound[rows] = tokens * (served / pairs.weight).max(axis=1)[level]
    asked = np.sort(targets)
    most = np.array([bound[states.speed >= target].max(initial=0.0) for target in asked])
    # The highest target that a state could serve asks least of it. A rate takes whole replicas.
    near = 0.0 if problem.objective.rate is not None else NEAR
    reach = np.maximum(states.speed, states.speed_before)
    last = np.searchsorted(asked, reach, side="right") - 1
    kept = (last >= 0) & (bound >= near * most[last])
    return np.flatnonzero(kept), near * most[np.searchsorted(asked, targets)]
