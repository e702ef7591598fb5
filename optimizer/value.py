"""What the objective makes of a deployment, and what it is charged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from costmodel.economics import tokens_per_joule
from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.results import Predicted, Scenario
from optimizer.billing import Bill
from optimizer.goal import Goal, Objective
from optimizer.ground import MICRO, Ground
from optimizer.placement import Group
from presets import InputError

UNITS: dict[Objective, str] = {
    "cost": "USD per million tokens",
    "throughput": "token/s/GPU",
    "output-cost": "USD per million output tokens",
    "power": "token/J",
    "gpus": "GPU",
}
"""Unit of each objective."""

MORE_IS_BETTER: tuple[Objective, ...] = ("throughput", "power")


class Value(NamedTuple):
    """What an objective makes of a deployment.

    Attributes
    ----------
    amount : float
        In `unit`.
    unit : str
    more_is_better : bool
    bill : Bill or None
        Under billing by domain, whole domains and the replicas that share them.
    replicas : int or None
        Under the objective "gpus", copies that serve the rate together. [1]
    served : float or None
        What those copies could serve together. [1/s]
    """

    amount: float
    unit: str
    more_is_better: bool
    bill: Bill | None = None
    replicas: int | None = None
    served: float | None = None


def units_of(goal: Goal, ground: Ground) -> tuple[int, int]:
    """Say what a GPU of prefill and of decode weighs: millionths of a GPU, a watt or USD/h."""
    one = round(1.0 / MICRO)
    units = {"throughput": (one, one), "gpus": (one, one), "power": ground.watts}
    return units.get(goal.objective, ground.prices)


def weights_of(goal: Goal, ground: Ground, fleets: Sequence[tuple[Group, Group]]) -> IntArray:
    """Weigh one replica of fleets, workers of decode and of prefill: what the objective divides by.

    Raises
    ------
    InputError
        If whole domains are charged and a fleet finds no room in them.
    """
    prefill_unit, decode_unit = units_of(goal, ground)
    if goal.billing == "gpu" or goal.objective == "power":
        weights = [
            prefill_unit * prefill[0] * prefill[1] + decode_unit * decode[0] * decode[1]
            for decode, prefill in fleets
        ]
        return np.array(weights, dtype=np.int64)
    weights = []
    for decode, prefill in fleets:
        bill = ground.bill(decode, prefill)
        if bill is None:
            raise InputError(
                f"max_gpus {ground.max_gpus}: {prefill[1]}x{prefill[0]} prefill and "
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


def serves(
    rate: float, throughput: FloatArray, gpus: IntArray, budget: int, scenario: Scenario
) -> BoolArray:
    """Whether copies of a deployment serve a request rate within a GPU budget.

    Parameters
    ----------
    rate : float
        [1/s]
    throughput : array of float
        Input and output tokens of one copy. [token/s]
    gpus : array of int
        Of one copy. [GPU]
    budget : int
        [GPU]
    """
    return np.asarray(replicas_for(rate, throughput, scenario) * gpus <= budget)


def request_tokens(scenario: Scenario) -> float:
    """Input and output tokens of a request, on average [1]."""
    return float(scenario.workload.input_tokens + scenario.workload.output_tokens)


def output_share(scenario: Scenario) -> float:
    """Share of the tokens that is output [1]."""
    return float(scenario.workload.output_tokens) / request_tokens(scenario)


def at_bill(predicted: Predicted, bill: Bill | None, ground: Ground) -> Predicted:
    """Charge a deployment for its share of whole domains; without a bill it stays as predicted."""
    if bill is None:
        return predicted
    configuration, prediction = predicted.configuration, predicted.prediction
    prefill, decode = ground.prices
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


def value_of(
    goal: Goal, predicted: Predicted, bill: Bill | None, scenario: Scenario, ground: Ground
) -> Value:
    """Say what the objective makes of a deployment as it is charged."""
    configuration, prediction = predicted.configuration, predicted.prediction
    throughput = prediction.total_tok_s_per_gpu * configuration.gpus
    counted = bill.charged / bill.replicas if bill else configuration.gpus
    replicas = served = None
    if goal.objective == "throughput":
        amount = throughput / counted
    elif goal.objective == "power":
        prefill, decode = ground.watts
        micro = prefill * configuration.prefill_gpus + decode * configuration.decode_gpus
        amount = tokens_per_joule(MICRO * micro, throughput)
    elif goal.rate is not None:
        replicas = int(replicas_for(goal.rate, np.asarray(throughput), scenario))
        amount = float(replicas * configuration.gpus)
        served = replicas * throughput / request_tokens(scenario)
    else:
        amount = prediction.usd_per_m_total_tokens
        if goal.objective == "output-cost":
            amount /= output_share(scenario)
    return Value(
        amount=amount,
        unit=UNITS[goal.objective],
        more_is_better=goal.objective in MORE_IS_BETTER,
        bill=bill,
        replicas=replicas,
        served=served,
    )
