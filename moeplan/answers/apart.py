"""How sure the ratios of answers are, the errors that they share left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations

from costmodel.ratios import Known, ratio_widths
from costmodel.results import Case, Prediction
from moeplan.answers.best import Best

Apart = Mapping[tuple[str, str], float]
"""Half of the 90 % interval of the ratio of two machines, of its logarithm, by their labels. [1]"""


def apart_90(rows: Sequence[Mapping[str, Best]]) -> list[Apart]:
    """Half of the 90 % interval of each ratio of modelled costs or throughputs, of the logarithm.

    Parameters
    ----------
    rows : sequence of mapping
        Answers by machine, of one target each; one without a deployment has no ratio.
    """
    met = [{sku: each for sku, each in row.items() if each.prediction} for row in rows]
    known: dict[tuple[Case, int], Known] = {}
    places: list[dict[str, int]] = []
    for row in met:
        keys = {sku: (_case(each), id(each.question.constants)) for sku, each in row.items()}
        for sku, key in keys.items():
            known.setdefault(key, _known(key[0], row[sku]))
        numbers = {key: place for place, key in enumerate(known)}
        places.append({sku: numbers[key] for sku, key in keys.items()})
    widths = ratio_widths([*known.values()])
    return [
        {(one, other): float(widths[row[one], row[other]]) for one, other in permutations(row, 2)}
        for row in places
    ]


def half_width(prediction: Prediction) -> float:
    """Half of the 90 % interval of a cost, of its logarithm [1]."""
    low, high = prediction.interval_90["usd_per_m_total_tokens"]
    return math.log(high / low) / 2.0


def _case(answer: Best) -> Case:
    problem = answer.problem
    assert problem is not None  # only asked of answers that have a deployment
    assert answer.config is not None
    return Case(answer.config, problem.scenario, problem.cluster, problem.prefill_cluster)


def _known(case: Case, answer: Best) -> Known:
    assert answer.prediction is not None  # as above
    return Known(case, half_width(answer.prediction), answer.question.constants)
