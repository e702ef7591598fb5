"""What the objective makes of a deployment, and what it is charged."""

from __future__ import annotations

import numpy as np

from costmodel.economics import tokens_per_joule
from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.results import Predicted, Scenario
from optimizer.billing import Bill, cheapest
from optimizer.objective import UNITS, ObjectiveValue
from optimizer.problem import Problem
from optimizer.resources import MICRO, Resources
from presets import InputError
from topology.packing import Groups

NO_ROOM = 2**40
"""Stands for the GPUs of copies that find no room; more than any cluster has. [GPU]"""


def units_of(problem: Problem) -> tuple[int, int]:
    """Say what a GPU of prefill and of decode weighs: millionths of a GPU, a watt or USD/h."""
    one = round(1.0 / MICRO)
    units = {"throughput": (one, one), "gpus": (one, one), "power": problem.resources.watts}
    return units.get(problem.objective.name, problem.resources.prices)


def weights_of(problem: Problem, decode: Groups, prefill: Groups) -> IntArray:
    """Weigh one replica of fleets: what the objective divides by.

    Parameters
    ----------
    problem : Problem
        What is made best, on what.
    decode, prefill : tuple of array of int
        Sizes of workers [GPU], and how many.

    Raises
    ------
    InputError
        If whole domains are charged and a fleet finds no room in them.
    """
    units, most = units_of(problem), problem.limits.max_gpus
    # Whole domains of the copies that serve a rate are charged by how many it takes: `charged`.
    if problem.objective.billing == "gpu" or problem.objective.name in ("power", "gpus"):
        return np.asarray(
            units[0] * prefill[0] * prefill[1] + units[1] * decode[0] * decode[1], dtype=np.int64
        )
    copies, found = cheapest(decode, prefill, *problem.resources, problem.resources.prices, most)
    if not found.has_room.all():
        place = int(np.flatnonzero(~found.has_room)[0])
        sizes = (np.broadcast_to(each, copies.shape)[place] for each in (*prefill, *decode))
        size, count, other, others = sizes
        raise InputError(
            f"max_gpus {most}: {count}x{size} prefill and {others}x{other} decode GPUs find no "
            "room in whole domains; allow more"
        )
    paid = units[0] * found.prefill + units[1] * found.decode
    return np.rint(paid / copies).astype(np.int64)


def copies_of(problem: Problem, throughput: FloatArray) -> IntArray:
    """Count the copies of deployments that serve the rate [1]; one without a rate.

    Parameters
    ----------
    problem : Problem
        With the rate.
    throughput : array of float
        Input and output tokens of one copy. [token/s]
    """
    rate = problem.objective.rate
    if rate is None:
        return np.ones(np.shape(throughput), dtype=np.int64)
    return replicas_for(rate, throughput, problem.scenario)


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


def charged(problem: Problem, decode: Groups, prefill: Groups, copies: IntArray) -> IntArray:
    """Count the GPUs that copies of deployments are charged [GPU]; `NO_ROOM` where none is.

    Parameters
    ----------
    problem : Problem
        With the billing: GPUs that serve, or whole domains in which the copies share room.
    decode, prefill : tuple of array of int
        Sizes of workers [GPU], and how many, of one copy.
    copies : array of int
        [1]
    """
    if problem.objective.billing == "gpu":
        return np.asarray(copies * (decode[0] * decode[1] + prefill[0] * prefill[1]))
    many = (decode[0], decode[1] * copies), (prefill[0], prefill[1] * copies)
    found = problem.resources.charged(*many)
    return np.where(found.has_room, found.gpus, NO_ROOM)


def serves(problem: Problem, throughput: FloatArray, decode: Groups, prefill: Groups) -> BoolArray:
    """Whether copies of a deployment serve the rate within the GPU budget.

    The budget is one of GPUs as they are charged.

    Parameters
    ----------
    problem : Problem
        With the rate and the budget.
    throughput : array of float
        Input and output tokens of one copy. [token/s]
    decode, prefill : tuple of array of int
        Sizes of workers [GPU], and how many, of one copy.
    """
    copies = copies_of(problem, throughput)
    # Of a described cluster that ends inside a domain, that domain is charged whole.
    by_gpu = problem.objective.billing == "gpu"
    most = problem.budget if by_gpu else problem.limits.max_gpus
    return np.asarray(charged(problem, decode, prefill, copies) <= most)


def bill_of(problem: Problem, predicted: Predicted) -> Bill | None:
    """Charge a deployment whole domains where those are paid: None where GPUs that serve are.

    With a rate the copies are those that serve it; else as many as make one cheapest.
    """
    objective, configuration = problem.objective, predicted.configuration
    if objective.billing == "gpu":
        return None
    decode = configuration.decode_gpus_per_worker, configuration.decode_workers
    prefill = configuration.prefill_gpus_per_worker, configuration.prefill_workers
    if objective.rate is None:
        return problem.resources.bill(decode, prefill, problem.limits.max_gpus)
    throughput = np.asarray(predicted.prediction.total_tok_s_per_gpu * configuration.gpus)
    copies = int(copies_of(problem, throughput))
    many = [(np.asarray(size), np.asarray(count * copies)) for size, count in (decode, prefill)]
    found = problem.resources.charged(*many)
    used = copies * configuration.gpus
    return Bill(copies, int(found.prefill), int(found.decode), used)


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
        replicas = int(copies_of(problem, np.asarray(throughput)))
        amount = float(bill.charged if bill else replicas * configuration.gpus)
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
