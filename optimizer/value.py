"""What the objective makes of a deployment, and what it is charged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from costmodel.economics import tokens_per_joule
from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.results import Predicted, Scenario
from optimizer.billing import Bill
from optimizer.objective import UNITS, ObjectiveValue
from optimizer.placement import Group
from optimizer.problem import Problem
from optimizer.resources import MICRO, Resources
from presets import InputError


def units_of(problem: Problem) -> tuple[int, int]:
    """Say what a GPU of prefill and of decode weighs: millionths of a GPU, a watt or USD/h."""
    one = round(1.0 / MICRO)
    units = {"throughput": (one, one), "gpus": (one, one), "power": problem.resources.watts}
    return units.get(problem.objective.name, problem.resources.prices)


def weights_of(problem: Problem, fleets: Sequence[tuple[Group, Group]]) -> IntArray:
    """Weigh one replica of fleets, workers of decode and of prefill: what the objective divides by.

    Raises
    ------
    InputError
        If whole domains are charged and a fleet finds no room in them.
    """
    prefill_unit, decode_unit = units_of(problem)
    objective, most = problem.objective, problem.limits.max_gpus
    if objective.billing == "gpu" or objective.name == "power":
        weights = [
            prefill_unit * prefill[0] * prefill[1] + decode_unit * decode[0] * decode[1]
            for decode, prefill in fleets
        ]
        return np.array(weights, dtype=np.int64)
    weights = []
    for decode, prefill in fleets:
        bill = problem.resources.bill(decode, prefill, most)
        if bill is None:
            raise InputError(
                f"max_gpus {most}: {prefill[1]}x{prefill[0]} prefill and "
                f"{decode[1]}x{decode[0]} decode GPUs find no room in whole domains; allow more"
            )
        charged = prefill_unit * bill.prefill_gpus + decode_unit * bill.decode_gpus
        weights.append(round(charged / bill.replicas))
    return np.array(weights, dtype=np.int64)


def replicas_for(rate: float, throughput: FloatArray, scenario: Scenario) -> IntArray:
    """Count the copies of a deployment that serve a request rate together [1].

    Parameters
    ----------
    rate : float
        [1/s]
    throughput : array of float
        Input and output tokens of one copy. [token/s]
    """
    # A copy that misses the rate by less than a millionth serves it.
    copies = np.ceil(rate * request_tokens(scenario) / throughput * (1.0 - 1e-6))
    return np.asarray(np.maximum(copies, 1.0)).astype(np.int64)


def serves(problem: Problem, throughput: FloatArray, gpus: IntArray) -> BoolArray:
    """Whether copies of a deployment serve the rate within the GPU budget; all do without a rate.

    Parameters
    ----------
    problem : Problem
        With the rate and the budget.
    throughput : array of float
        Input and output tokens of one copy. [token/s]
    gpus : array of int
        Of one copy. [GPU]
    """
    rate = problem.objective.rate
    if rate is None:
        return np.ones(np.shape(throughput), dtype=np.bool_)
    copies = replicas_for(rate, throughput, problem.scenario)
    return np.asarray(copies * gpus <= problem.budget)


def request_tokens(scenario: Scenario) -> float:
    """Input and output tokens of a request, on average [1]."""
    return float(scenario.workload.input_tokens + scenario.workload.output_tokens)


def output_share(scenario: Scenario) -> float:
    """Share of the tokens that is output [1]."""
    return float(scenario.workload.output_tokens) / request_tokens(scenario)


def at_bill(predicted: Predicted, bill: Bill | None, resources: Resources) -> Predicted:
    """Charge a deployment for its share of whole domains; without a bill it stays as predicted."""
    if bill is None:
        return predicted
    configuration, prediction = predicted.configuration, predicted.prediction
    prefill, decode = resources.prices
    used = prefill * configuration.prefill_gpus + decode * configuration.decode_gpus
    charged = prefill * bill.prefill_gpus + decode * bill.decode_gpus
    factor = charged / bill.replicas / used
    low, high = prediction.interval_90["usd_per_m_total_tokens"]
    paid = prediction.model_copy(
        update={
            "usd_per_m_total_tokens": prediction.usd_per_m_total_tokens * factor,
            "interval_90": prediction.interval_90
            | {"usd_per_m_total_tokens": (low * factor, high * factor)},
        }
    )
    return predicted._replace(prediction=paid)


def value_of(problem: Problem, predicted: Predicted, bill: Bill | None) -> ObjectiveValue:
    """Say what the objective makes of a deployment as it is charged."""
    objective, scenario = problem.objective, problem.scenario
    configuration, prediction = predicted.configuration, predicted.prediction
    throughput = prediction.total_tok_s_per_gpu * configuration.gpus
    counted = bill.charged / bill.replicas if bill else configuration.gpus
    replicas = served = None
    if objective.name == "throughput":
        amount = throughput / counted
    elif objective.name == "power":
        prefill, decode = problem.resources.watts
        micro = prefill * configuration.prefill_gpus + decode * configuration.decode_gpus
        amount = tokens_per_joule(MICRO * micro, throughput)
    elif objective.rate is not None:
        replicas = int(replicas_for(objective.rate, np.asarray(throughput), scenario))
        amount = float(replicas * configuration.gpus)
        served = replicas * throughput / request_tokens(scenario)
    else:
        amount = prediction.usd_per_m_total_tokens
        if objective.name == "output-cost":
            amount /= output_share(scenario)
    return ObjectiveValue(
        name=objective.name,
        amount=amount,
        unit=UNITS[objective.name],
        replicas=replicas,
        served=served,
    )
