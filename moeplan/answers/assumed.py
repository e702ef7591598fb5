"""Ratios of machines were an assumed fact of one of them otherwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import Field

from costmodel.results import Prediction
from moeplan.answers.best import Best
from optimizer.assumed import AssumedFact, suppositions
from presets.record import Record

EQUAL = 1e-9
"""Change of the logarithm of a ratio that is none. [1]"""


class Assumed(Record):
    """The assumed fact that moves a modelled ratio most, and what the ratio would be.

    Attributes
    ----------
    sku, fact, unit : str
        Machine, name of the fact in its preset, and SI unit.
    value, alternative : float
        As assumed, and as another source has it, in the unit.
    modelled_throughput, modelled_cost : float or None
        The ratios with the alternative, the search repeated with it; None where the machine then
        meets the target no more. [1]
    """

    sku: str
    fact: str
    unit: str
    value: float
    alternative: float
    modelled_throughput: float | None
    modelled_cost: float | None
    moves_by: Annotated[float, Field(exclude=True)]  # of the throughput ratio's logarithm [1]


class Otherwise(NamedTuple):
    """What a machine gives at one target were a fact of it otherwise."""

    fact: AssumedFact
    value: float
    prediction: Prediction | None


def otherwise(answers: Sequence[Best]) -> dict[float, list[Otherwise]]:
    """Say by target what a machine gives were each of its assumed facts otherwise.

    Targets that it does not meet as the facts are, and so have no ratio, are left out.
    """
    met = {
        answer.target_tok_s_per_user: (answer.config, answer.prediction)
        for answer in answers
        if answer.config is not None and answer.prediction is not None
    }
    result: dict[float, list[Otherwise]] = {target: [] for target in met}
    problem = answers[0].problem
    if not met or problem is None:
        return result
    for supposed in suppositions(problem, [*met], [*met.values()]):
        for target, prediction in zip(met, supposed.predictions, strict=True):
            result[target].append(Otherwise(supposed.fact, supposed.value, prediction))
    return result


def most_telling(
    first: Prediction | None,
    second: Prediction | None,
    of_first: Sequence[Otherwise],
    of_second: Sequence[Otherwise],
) -> Assumed | None:
    """Find the fact that moves the ratio of throughputs most; None where none moves it."""
    if first is None or second is None:
        return None
    now = first.total_tok_s_per_gpu / second.total_tok_s_per_gpu
    # A fact of a machine that both stand on changes under both at once.
    shared = {(each.fact, each.value): each.prediction for each in of_second}
    found = [
        _assumed(each, each.prediction, shared.pop((each.fact, each.value), second), now)
        for each in of_first
    ]
    found += [
        _assumed(each, first, each.prediction, now)
        for each in of_second
        if (each.fact, each.value) in shared
    ]
    moved = [each for each in found if each.moves_by > EQUAL]
    return max(moved, key=lambda each: each.moves_by, default=None)


def _assumed(
    supposed: Otherwise, first: Prediction | None, second: Prediction | None, now: float
) -> Assumed:
    """Say what the ratio becomes; without one it moves without end."""
    throughput = cost = None
    if first is not None and second is not None:
        throughput = first.total_tok_s_per_gpu / second.total_tok_s_per_gpu
        cost = second.usd_per_m_total_tokens / first.usd_per_m_total_tokens
    fact = supposed.fact
    return Assumed(
        sku=fact.sku,
        fact=fact.fact,
        unit=fact.unit,
        value=fact.value,
        alternative=supposed.value,
        modelled_throughput=throughput,
        modelled_cost=cost,
        moves_by=math.inf if throughput is None else abs(math.log(throughput / now)),
    )
