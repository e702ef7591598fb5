"""Sensitivity of an answer: what one limit a little wider would give, by solving again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from costmodel.results import Configuration, Prediction
from optimizer.assumed import assumed_facts, supposing
from optimizer.problem import Problem
from optimizer.search import best
from presets import ClusterSpec
from presets.cluster import in_unit_of_file
from presets.files import validated
from presets.record import Record
from presets.scale_out import MAX_GPUS

WIDER = 1.1
"""Factor on a rate, a memory or a limit on TTFT; a latency is divided by it. [1]"""

MORE_GPUS = 4
"""[GPU]"""

SLOWER = 5.0
"""By how much a lower target is asked for. [token/s]"""


class Resource(NamedTuple):
    """What a cluster file may better: its key, the fact of the machine, and SI units of the key."""

    key: str
    fact: str
    unit: float
    factor: float = WIDER


RESOURCES = {
    "nic_bandwidth": Resource("nic_gb_s", "scale_out_rate", 1e9),
    "nic_latency": Resource("nic_latency_us", "scale_out_latency", 1e-6, 1.0 / WIDER),
    "nvlink_bandwidth": Resource("nvlink_gb_s", "scale_up_rate", 1e9),
    "nvlink_latency": Resource("nvlink_latency_us", "scale_up_latency", 1e-6, 1.0 / WIDER),
    "hbm_capacity": Resource("hbm_gb", "hbm_bytes", 1e9),
}
"""Links and memory, each latency beside its rate. A cluster file has no rate of memory."""


UNITS = {
    "nic_bandwidth": "GB/s",
    "nic_latency": "us",
    "nvlink_bandwidth": "GB/s",
    "nvlink_latency": "us",
    "hbm_capacity": "GB",
    "max_gpus": "GPU",
    "target": "tok/s/user",
    "max_ttft": "s",
}
"""Limits that can be wider, with their units."""


class Sensitivity(Record):
    """The answer with one limit a little wider, or with an assumed fact as another source has it.

    Attributes
    ----------
    limit, unit : str
        One of `UNITS`, or the name of the fact in its preset.
    before, after : float
        Value of the limit, in its unit.
    config_changes : bool
        Whether it is another configuration.
    throughput_change, cost_change : float
        Relative to the old answer. [1]
    objective_amount : float
        What the objective comes to, in its unit.
    objective_change : float
        Relative to the old answer. [1]
    config, prediction
        The new answer.
    """

    limit: str
    unit: str
    before: float
    after: float
    config_changes: bool
    throughput_change: float
    cost_change: float
    objective_amount: float
    objective_change: float
    config: Configuration
    prediction: Prediction


@dataclass(frozen=True)
class Wider:
    """One limit or fact as it is and as it would be, and the problem that this makes."""

    limit: str
    before: float
    after: float
    problem: Problem
    unit: str


def wider_problems(problem: Problem) -> Iterator[Wider]:
    """Widen each limit that is set, one at a time; what cannot be wider is left out.

    Links and memory are those of decode where prefill stands elsewhere; the budget counts the GPUs
    of both.
    """
    cluster, limits = problem.cluster, problem.limits
    hardware = cluster.hardware()
    # Another machine than the measured one is outside the data.
    resources = {} if limits.within_data else RESOURCES
    for name, (key, fact, unit, factor) in resources.items():
        now = float(f"{getattr(hardware, fact).value / unit:.9g}")
        more = float(f"{factor * now:.9g}")
        grown = replace(problem, cluster=changed_cluster(cluster, key, more))
        yield Wider(name, now, more, grown, UNITS[name])
    budget, there = problem.budget, problem.prefill_cluster
    if budget + MORE_GPUS <= MAX_GPUS:
        gpus = budget + MORE_GPUS
        elsewhere = 0 if there is None else there.gpus
        larger = changed_cluster(cluster, "gpus", max(cluster.gpus, gpus - elsewhere))
        grown = replace(problem, cluster=larger, limits=replace(limits, max_gpus=gpus))
        yield Wider("max_gpus", budget, gpus, grown, UNITS["max_gpus"])
    if limits.target > SLOWER:
        slower = limits.target - SLOWER
        yield Wider("target", limits.target, slower, problem.at(slower), UNITS["target"])
    if limits.max_ttft is not None:
        longer = float(f"{WIDER * limits.max_ttft:.9g}")
        relaxed = problem.within(replace(limits, max_ttft=longer))
        yield Wider("max_ttft", limits.max_ttft, longer, relaxed, UNITS["max_ttft"])


def otherwise_problems(problem: Problem) -> Iterator[Wider]:
    """Take each assumed fact that the cost model reads as other sources have it, one at a time."""
    for fact in assumed_facts(problem):
        before, unit = in_unit_of_file(fact.fact, fact.value, fact.unit)
        for value in fact.alternatives:
            after, _ = in_unit_of_file(fact.fact, value, fact.unit)
            yield Wider(fact.fact, before, after, supposing(problem, {fact: value}), unit)


def sensitivities(
    changed: Iterable[Wider],
    configuration: Configuration,
    prediction: Prediction,
    amount: float,
    progress: Callable[[], None] | None = None,
) -> tuple[Sensitivity, ...]:
    """Solve again with each limit a little wider, or each fact otherwise.

    Parameters
    ----------
    changed : iterable of Wider
        From `wider_problems` or `otherwise_problems`.
    configuration, prediction, amount
        The answer, and what the objective comes to.
    progress : callable, optional
        Called after each of them.

    Raises
    ------
    InputError
        As the search does.
    """
    found: list[Sensitivity] = []
    for wider in changed:
        answer = best(wider.problem)
        if progress is not None:
            progress()
        if answer.winner is None:  # where rounding or a fact made it unreachable
            continue
        winner = answer.winner
        new, value = winner.prediction, winner.amount
        found.append(
            Sensitivity(
                limit=wider.limit,
                unit=wider.unit,
                before=wider.before,
                after=wider.after,
                config_changes=winner.configuration != configuration,
                throughput_change=new.total_tok_s_per_gpu / prediction.total_tok_s_per_gpu - 1.0,
                cost_change=new.usd_per_m_total_tokens / prediction.usd_per_m_total_tokens - 1.0,
                objective_amount=value,
                objective_change=value / amount - 1.0 if amount else 0.0,
                config=winner.configuration,
                prediction=new,
            )
        )
    return tuple(found)


def changed_cluster(cluster: ClusterSpec, key: str, value: float) -> ClusterSpec:
    """Give a cluster one key of a cluster file otherwise.

    Raises
    ------
    InputError
        Where the value is not valid.
    """
    return validated(ClusterSpec, cluster.model_dump() | {key: value})
