"""Reasons in words: why a runner-up lost, and why nothing meets the limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from costmodel.results import Predicted, Scenario
from costmodel.serving import MOST_LOAD
from optimizer.answer import rounded
from presets.scale_out import MAX_GPUS

if TYPE_CHECKING:
    from optimizer.answer import Conflict, Infeasibility, LimitName, Ranked
    from optimizer.objective import ObjectiveValue
    from optimizer.problem import Limits

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
    "interleaved_prefill": "prefill of other requests",
    "wait": "waiting for the slowest rank",
}
"""Parts of a step in words; those not named here are said as they are."""

GROUPS = {"dispatch": "dispatch and combine", "combine": "dispatch and combine"}
"""Parts of a step that belong together."""

FED_OUT = 0.97 * MOST_LOAD
"""Share of its capacity from which prefill, or the NICs of decode, and no step bounds a deployment
[1]."""

EQUAL = 0.0005
"""Relative difference that prints as 0.0 %. [1]"""

ALIKE = "equal"
"""What is said of a runner-up that falls short by nothing that shows."""

NOT_A_PART = "exposed_communication"
"""Entry of a breakdown that repeats others."""


def lost_by(winner: Ranked, other: Ranked, scenario: Scenario) -> str:
    """Say by how much a deployment falls short of the winner, and what makes it so.

    The GPU time of a token is split into prefill, the parts of the decode step, the rest of the
    decode GPUs' time, and the GPUs that are paid and do not serve; the part that grew most is
    named. Where prefill feeds no more, a shorter step would not help: then prefill is named.
    """
    short = behind(winner.value, other.value)
    if short == ALIKE:
        return short
    first, second = winner.predicted, other.predicted
    no_larger = prefill_share(second) <= prefill_share(first)
    if second.prefill_load >= FED_OUT and no_larger:
        return f"{short}: {_fed_out(first, second)}"
    if second.decode_nic_load >= FED_OUT > first.decode_nic_load:
        busy = 100.0 * second.decode_nic_load
        return f"{short}: its decode NICs are {busy:.0f} % busy and take no more KV caches"
    ours, theirs = gpu_time(winner, scenario), gpu_time(other, scenario)
    growth = {name: theirs.get(name, 0.0) - ours.get(name, 0.0) for name in theirs | ours}
    if no_larger:
        del growth["prefill"]  # the same prefill for fewer tokens: decode is what made them fewer
    for cause in sorted(growth, key=lambda name: (-growth[name], name)):
        reason = _reason(cause, winner, other, (ours, theirs))
        if growth[cause] > 0.0 and reason is not None:
            return f"{short}: {reason}"
    return short


def behind(ours: ObjectiveValue, theirs: ObjectiveValue) -> str:
    """Say by how much a deployment falls short of the winner, by what the objective makes of it."""
    assert ours.amount is not None  # only an answer without a deployment has none
    assert theirs.amount is not None
    if ours.served is not None and theirs.served is not None:
        if theirs.amount > ours.amount:
            return f"{theirs.amount - ours.amount:.0f} GPUs more"
        fewer = 100.0 * (1.0 - theirs.served / ours.served)
        return f"as many GPUs, {fewer:.1f} % fewer requests/s"
    ratio = theirs.amount / ours.amount
    if abs(ratio - 1.0) < EQUAL:
        return ALIKE
    if ours.more_is_better:
        return f"{100.0 * (1.0 - ratio):.1f} % fewer {ours.unit}"
    return f"{100.0 * (ratio - 1.0):.1f} % dearer"


def gpu_time(ranked: Ranked, scenario: Scenario) -> dict[str, float]:
    """GPU time per token, input and output, by what takes it [s]; the sum is all that is paid."""
    predicted, configuration = ranked.predicted, ranked.configuration
    total = 1.0 / predicted.prediction.total_tok_s_per_gpu
    prefill = total * configuration.prefill_gpus / configuration.gpus
    # A step yields the output tokens; each goes with its share of input tokens.
    output_share = scenario.osl / (scenario.isl + scenario.osl)
    per_gpu = tokens_per_gpu_step(predicted)
    times = {"prefill": prefill}
    for name, milliseconds in step_parts(predicted).items():
        times[name] = 1e-3 * milliseconds / per_gpu * output_share
    times["idle"] = total - sum(times.values())
    if ranked.bill is not None:
        times["stranded"] = total * ranked.bill.stranded / ranked.bill.used
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
    winner: Ranked,
    other: Ranked,
    times: tuple[dict[str, float], dict[str, float]],
) -> str | None:
    """Put a cause into words; None where both sides would read alike.

    `times` are those of `gpu_time`, of the winner and of the other.
    """
    sides = [
        _side(cause, each, time) for each, time in zip((other, winner), times[::-1], strict=True)
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


def _side(cause: str, ranked: Ranked, times: dict[str, float]) -> str:
    """Write what a cause comes to in one deployment."""
    configuration = ranked.configuration
    if cause == "prefill":
        return f"{configuration.prefill_gpus} of {configuration.gpus} GPUs"
    if cause == "idle":
        share = times["idle"] / sum(times.values())
        return f"{100.0 * max(share, 0.0):.1f} %"  # where nothing is lost, rounding may add
    if cause == "stranded":
        assert ranked.bill is not None  # only whole domains strand GPUs
        return f"{ranked.bill.stranded} of {ranked.bill.charged}"
    milliseconds = step_parts(ranked.predicted).get(cause, 0.0)
    tokens = tokens_per_gpu_step(ranked.predicted)
    return f"{milliseconds:.1f} ms of a step that gives each GPU {tokens:.1f} tokens"


def explain_infeasibility(found: Infeasibility) -> str:
    """Say in one sentence what failed and what would work."""
    first, *further = [
        list(conflicts) for _, conflicts in groupby(found.conflicts, lambda each: each.without)
    ]
    text = _failed(first, found)
    if found.highest_target is not None:
        nearest = f"{floored(found.highest_target)} tok/s/user"
        # Said already where the target is one of those in conflict, or the fastest step reaches it.
        return text if nearest in text else f"{text}; the nearest target that works is {nearest}"
    text += "; no target works with the other limits"
    for conflicts in further:
        left_out = " and ".join(WITHOUT[limit] for limit in conflicts[0].without)
        text += f"; {left_out}, {_failed(conflicts, found)}"
    return text


def _failed(conflicts: Sequence[Conflict], found: Infeasibility) -> str:
    """Say which limits are not met, and what each would have to be."""
    said = [_said(conflict, found.limits) for conflict in conflicts]
    if len(conflicts) > 1:
        ways = "; or ".join(_way_out(conflict) for conflict in conflicts)
        listed = f"{', '.join(said[:-1])} and {said[-1]}"
        return f"{listed} cannot be met together: with all other limits kept {ways}"
    if conflicts[0].limit != "target":
        return f"{said[0]} is out of reach: {_way_out(conflicts[0])}"
    part = PART_NAMES.get(found.largest_part, found.largest_part)
    return (
        f"{said[0]} is out of reach: the fastest step of the whole space takes "
        f"{found.step_ms:.1f} ms for {found.tokens_per_step:.1f} tokens, "
        f"{floored(found.tok_s_per_user)} tok/s/user"
        f"{_target_promise(found.limits)}; the largest part of it is {part}, "
        f"{found.largest_part_ms:.1f} ms"
    )


def _said(conflict: Conflict, limits: Limits) -> str:
    """Name a limit and its value."""
    value = f"{conflict.asked:g}"
    return {
        "target": f"{value} tok/s/user{_target_promise(limits)}",
        "max_ttft": f"TTFT {value} s{of_requests(limits.ttft_percentile)}{_promise(limits)}",
        "concurrency": f"concurrency {value}",
        "rate": f"{value} requests/s",
        "max_gpus": (
            f"the {value} GPUs of the cluster"
            if conflict.asked < limits.max_gpus
            else f"a budget of {value} GPUs"
        ),
    }[conflict.limit]


def _way_out(conflict: Conflict) -> str:
    """Say what a limit would have to be."""
    limit, needed = conflict.limit, conflict.needed
    name = WAYS[limit]
    if needed is None and limit == "max_gpus":
        return f"the {name} would have to be more than {MAX_GPUS:,} GPUs"
    if needed is None:
        return f"no {name} would do"
    value = rounded(limit, needed)
    written = {
        "target": f"{value:.1f} tok/s/user",
        "max_ttft": f"{value:g} s",
        "concurrency": f"{value:.0f}",
        "rate": f"{value:g} requests/s",
        "max_gpus": f"{value:.0f} GPUs",
    }[limit]
    return f"the {name} would have to be {written}"


WAYS: dict[LimitName, str] = {
    "target": "target",
    "max_ttft": "TTFT",
    "concurrency": "concurrency",
    "rate": "rate",
    "max_gpus": "budget",
}
"""Limits in words."""


WITHOUT: dict[LimitName, str] = {
    "target": "at any target",
    "max_ttft": "without a limit on TTFT",
    "concurrency": "without a given concurrency",
    "rate": "without a rate",
    "max_gpus": "with all GPUs of the cluster",
}
"""What is left out, in words."""


def of_requests(percentile: float | None) -> str:
    """Say of how many requests a limit is asked; nothing where of the median, or the mean.

    >>> of_requests(99.0), of_requests(None)
    (' for 99 % of requests', '')
    """
    return "" if percentile is None else f" for {percentile:g} % of requests"


def _target_promise(limits: Limits) -> str:
    return of_requests(limits.target_percentile) + _promise(limits)


def _promise(limits: Limits) -> str:
    if limits.min_confidence is None:
        return ""
    return f" with confidence {limits.min_confidence:g}"


def floored(value: float) -> str:
    """Write a reachable target so that asking for it works: rounded down to one decimal.

    Examples
    --------
    >>> floored(286.48)
    '286.4'
    """
    return f"{math.floor(10.0 * value) / 10.0:.1f}"
