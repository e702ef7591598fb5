"""Why a runner-up lost: GPU time per token, split into what takes it."""

from __future__ import annotations

from costmodel.results import Predicted, Scenario
from costmodel.serving import MOST_LOAD
from optimizer.value import Value

PART_NAMES = {
    "projection": "attention projections",
    "attention": "attention",
    "experts": "experts",
    "dispatch": "dispatch",
    "combine": "combine",
    "all_reduce": "all-reduce",
    "draft": "drafting",
    "head": "the LM head",
    "launch": "launch",
    "host": "the host",
    "wait": "waiting for the slowest rank",
}
"""Parts of a step in words; those not named here are said as they are."""

GROUPS = {"dispatch": "dispatch and combine", "combine": "dispatch and combine"}
"""Parts of a step that belong together."""

FED_OUT = 0.97 * MOST_LOAD
"""Share of its capacity from which prefill, and nothing of decode, bounds a deployment [1]."""

EQUAL = 0.0005
"""Relative difference that prints as 0.0 %. [1]"""

ALIKE = "equal"
"""What is said of a runner-up that falls short by nothing that shows."""

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
    short = behind(winner[1], other[1])
    if short == ALIKE:
        return short
    if other[0].prefill_load >= FED_OUT and prefill_share(other[0]) <= prefill_share(winner[0]):
        return f"{short}: {_fed_out(winner[0], other[0])}"
    ours, theirs = gpu_time(*winner, scenario), gpu_time(*other, scenario)
    growth = {name: theirs.get(name, 0.0) - ours.get(name, 0.0) for name in theirs | ours}
    if prefill_share(other[0]) <= prefill_share(winner[0]):
        del growth["prefill"]  # the same prefill for fewer tokens: decode is what made them fewer
    for cause in sorted(growth, key=lambda name: (-growth[name], name)):
        reason = _reason(cause, winner, other, (ours, theirs))
        if growth[cause] > 0.0 and reason is not None:
            return f"{short}: {reason}"
    return short


def behind(winner: Value, other: Value) -> str:
    """Say by how much a value falls short of the winner's."""
    if winner.served is not None and other.served is not None:
        if other.amount > winner.amount:
            return f"{other.amount - winner.amount:.0f} GPUs more"
        fewer = 100.0 * (1.0 - other.served / winner.served)
        return f"as many GPUs, {fewer:.1f} % fewer requests/s"
    ratio = other.amount / winner.amount
    if abs(ratio - 1.0) < EQUAL:
        return ALIKE
    if winner.more_is_better:
        return f"{100.0 * (1.0 - ratio):.1f} % fewer {winner.unit}"
    return f"{100.0 * (ratio - 1.0):.1f} % dearer"


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
    winner: tuple[Predicted, Value],
    other: tuple[Predicted, Value],
    times: tuple[dict[str, float], dict[str, float]],
) -> str | None:
    """Put a cause into words; None where both sides would read alike.

    `times` are those of `gpu_time`, of the winner and of the other.
    """
    sides = [
        _side(cause, *each, time) for each, time in zip((other, winner), times[::-1], strict=True)
    ]
    if sides[0] == sides[1]:
        return None
    return _LEADS.get(cause, f"{cause}: ") + ", against ".join(sides)


_LEADS = {
    "prefill": "prefill takes ",
    "idle": "share of GPU time lost to ramp-up, drain and empty slots: ",
    "stranded": "GPUs paid and left over: ",
}
"""How a cause that is no part of a step begins."""


def _side(cause: str, predicted: Predicted, value: Value, times: dict[str, float]) -> str:
    """Write what a cause comes to in one deployment."""
    configuration = predicted.configuration
    if cause == "prefill":
        return f"{configuration.prefill_gpus} of {configuration.gpus} GPUs"
    if cause == "idle":
        share = times["idle"] / sum(times.values())
        return f"{100.0 * max(share, 0.0):.1f} %"  # where nothing is lost, rounding may add
    if cause == "stranded":
        assert value.bill is not None  # only whole domains strand GPUs
        return f"{value.bill.stranded} of {value.bill.charged}"
    milliseconds = step_parts(predicted).get(cause, 0.0)
    tokens = tokens_per_gpu_step(predicted)
    return f"{milliseconds:.1f} ms of a step that gives each GPU {tokens:.1f} tokens"
