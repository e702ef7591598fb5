"""What the objective makes of a deployment, and what it is charged."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from costmodel.economics import tokens_per_joule
from costmodel.inputs import BoolArray, FloatArray
from costmodel.results import Predicted, Scenario
from optimizer.billing import Bill
from optimizer.goal import Goal, Objective
from optimizer.ground import MICRO, Ground
from optimizer.states import IntArray

UNITS: dict[Objective, str] = {
    "cost": "USD per million tokens",
    "throughput": "token/s/GPU",
    "output-cost": "USD per million output tokens",
    "power": "token/J",
    "gpus": "GPU",
}
"""Unit of each objective."""

MORE_IS_BETTER: tuple[Objective, ...] = ("throughput", "power")


@dataclass(frozen=True)
class Value:
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
    """

    amount: float
    unit: str
    more_is_better: bool
    bill: Bill | None = None
    replicas: int | None = None


def replicas_for(rate: float, throughput: FloatArray, scenario: Scenario) -> IntArray:
    """Count the copies of a deployment that serve a request rate together [1].

    Parameters
    ----------
    rate : float
        [1/s]
    throughput : array of float
        Input and output tokens of one copy. [token/s]
    """
    workload = scenario.workload
    tokens = workload.input_tokens + workload.output_tokens
    # A copy that misses the rate by less than a millionth serves it.
    copies = np.ceil(rate * tokens / throughput * (1.0 - 1e-6))
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
    return replace(predicted, prediction=paid)


def value_of(
    goal: Goal, predicted: Predicted, bill: Bill | None, scenario: Scenario, ground: Ground
) -> Value:
    """Say what the objective makes of a deployment as it is charged."""
    configuration, prediction = predicted.configuration, predicted.prediction
    throughput = prediction.total_tok_s_per_gpu * configuration.gpus
    counted = bill.charged / bill.replicas if bill else configuration.gpus
    workload, replicas = scenario.workload, None
    output_share = workload.output_tokens / (workload.input_tokens + workload.output_tokens)
    if goal.objective == "throughput":
        amount = throughput / counted
    elif goal.objective == "power":
        prefill, decode = ground.watts
        micro = prefill * configuration.prefill_gpus + decode * configuration.decode_gpus
        amount = tokens_per_joule(MICRO * micro, throughput)
    elif goal.rate is not None:
        replicas = int(replicas_for(goal.rate, np.asarray(throughput), scenario))
        amount = float(replicas * configuration.gpus)
    else:
        amount = prediction.usd_per_m_total_tokens
        if goal.objective == "output-cost":
            amount /= float(output_share)
    return Value(
        amount=amount,
        unit=UNITS[goal.objective],
        more_is_better=goal.objective in MORE_IS_BETTER,
        bill=bill,
        replicas=replicas,
    )
