"""Why a runner-up lost: GPU time per token, split into what takes it."""

from __future__ import annotations

from costmodel.results import Predicted, Scenario
from costmodel.serving import MOST_LOAD
from optimizer.infeasible import PART_NAMES
from optimizer.value import Value

GROUPS = {"dispatch": "dispatch and combine", "combine": "dispatch and combine"}
"""Parts of a step that belong together."""

FED_OUT = 0.97 * MOST_LOAD
"""Share of its capacity from which prefill, and nothing of decode, bounds a deployment [1]."""

NOT_A_PART = "exposed_communication"
"""Entry of a breakdown that repeats others."""


def lost_by(
    winner: tuple[Predicted, Value], other: tuple[Predicted, Value], scenario: Scenario
) -> str:
    """Say by how much a deployment falls short of the winner, and what makes it so.

    The GPU time of a token is split into prefill, the parts of the decode step, the rest of the
    decode GPUs' time, and the GPUs that are paid and do not serve; the part that grew most is
    named. Where prefill feeds no more, a shorter step would not help: then prefill is named.
    """
    if other[0].prefill_load >= FED_OUT and prefill_share(other[0]) <= prefill_share(winner[0]):
        return f"{behind(winner[1], other[1])}: {_fed_out(winner[0], other[0])}"
    ours, theirs = gpu_time(*winner, scenario), gpu_time(*other, scenario)
    growth = {name: theirs.get(name, 0.0) - ours.get(name, 0.0) for name in theirs | ours}
    if prefill_share(other[0]) <= prefill_share(winner[0]):
        del growth["prefill"]  # the same prefill for fewer tokens: decode is what made them fewer
    cause = max(sorted(growth), key=lambda name: growth[name])
    if cause == "stranded":
        reason = " against ".join(_strands(value) for _, value in (other, winner))
    else:
        reason = _reason(cause, winner[0], other[0], ours, theirs)
    return f"{behind(winner[1], other[1])}: {reason}"


def behind(winner: Value, other: Value) -> str:
    """Say by how much a value falls short of the winner's."""
    if winner.served is not None and other.served is not None:
        if other.amount > winner.amount:
            return f"{other.amount - winner.amount:.0f} GPUs more"
        fewer = 100.0 * (1.0 - other.served / winner.served)
        return f"as many GPUs, {fewer:.1f} % fewer requests/s"
    ratio = other.amount / winner.amount
    if winner.more_is_better:
        return f"{100.0 * (1.0 - ratio):.1f} % fewer {winner.unit}"
    return f"{100.0 * (ratio - 1.0):.1f} % dearer"


def _strands(value: Value) -> str:
    bill = value.bill
    assert bill is not None  # only whole domains strand GPUs
    return f"{bill.stranded} of {bill.charged} GPUs stranded"


def gpu_time(predicted: Predicted, value: Value, scenario: Scenario) -> dict[str, float]:
    """GPU time per token, input and output, by what takes it [s]; the sum is all that is paid."""
    configuration = predicted.configuration
    total = 1.0 / predicted.prediction.total_tok_s_per_gpu
    prefill = total * configuration.prefill_gpus / configuration.gpus
    # A step yields the output tokens; each goes with its share of input tokens.
    output_share = scenario.osl / (scenario.isl + scenario.osl)
    per_gpu = tokens_per_gpu_step(predicted)
    times = {"prefill": prefill}
    for name, milliseconds in step_parts(predicted).items():
        times[name] = 1e-3 * milliseconds / per_gpu * output_share
    times["idle"] = total - sum(times.values())
    if value.bill is not None:
        times["stranded"] = total * value.bill.stranded / value.bill.used
    return times


def step_parts(predicted: Predicted) -> dict[str, float]:
    """Parts of a decode step in words, those that belong together summed [ms]."""
    parts: dict[str, float] = {}
    for name, milliseconds in predicted.breakdown_ms.items():
        if name != NOT_A_PART:
            label = GROUPS.get(name, PART_NAMES.get(name, name))
            parts[label] = parts.get(label, 0.0) + milliseconds
    return parts


def tokens_per_gpu_step(predicted: Predicted) -> float:
    """Tokens that one decode step yields to users, per decode GPU [1]."""
    configuration = predicted.configuration
    accepted = sum(step_parts(predicted).values()) / predicted.prediction.tpot_ms
    ranks = configuration.decode_gpus_per_worker if configuration.decode_attention == "dp" else 1
    return predicted.batch_in_flight * ranks * accepted / configuration.decode_gpus_per_worker


def prefill_share(predicted: Predicted) -> float:
    """Share of the GPUs that prefill takes [1]."""
    return predicted.configuration.prefill_gpus / predicted.configuration.gpus


def _fed_out(winner: Predicted, other: Predicted) -> str:
    ours, theirs = winner.configuration, other.configuration
    if prefill_share(other) == prefill_share(winner):
        return f"prefill is {100.0 * other.prefill_load:.0f} % busy and feeds it no more"
    return (
        f"prefill, {100.0 * other.prefill_load:.0f} % busy, is {theirs.prefill_gpus} of "
        f"{theirs.gpus} GPUs, against {ours.prefill_gpus} of {ours.gpus}"
    )


def _reason(
    cause: str,
    winner: Predicted,
    other: Predicted,
    ours: dict[str, float],
    theirs: dict[str, float],
) -> str:
    if cause == "prefill":
        return (
            f"prefill takes {other.configuration.prefill_gpus} of {other.configuration.gpus} GPUs, "
            f"against {winner.configuration.prefill_gpus} of {winner.configuration.gpus}"
        )
    if cause == "idle":
        idle = [100.0 * times["idle"] / sum(times.values()) for times in (theirs, ours)]
        return (
            f"ramp-up, drain and empty slots are {idle[0]:.1f} % of its GPU time, "
            f"against {idle[1]:.1f} %"
        )
    milliseconds = step_parts(other).get(cause, 0.0), step_parts(winner).get(cause, 0.0)
    tokens = tokens_per_gpu_step(other), tokens_per_gpu_step(winner)
    if tokens[0] > 0.98 * tokens[1]:
        return f"{cause}: {milliseconds[0]:.1f} ms of a step, against {milliseconds[1]:.1f} ms"
    return (
        f"{cause}: {milliseconds[0]:.1f} ms of a step for {tokens[0]:.1f} tokens per GPU, against "
        f"{milliseconds[1]:.1f} ms for {tokens[1]:.1f}"
    )
