"""Shadow prices: what one limit a little wider would give, by solving again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from costmodel.calibration import Calibration
from costmodel.results import Configuration, Prediction, Scenario
from optimizer.goal import Goal
from optimizer.ground import Ground
from optimizer.limits import Limits
from optimizer.search import Answer, best
from optimizer.space import Space
from presets import ClusterSpec
from presets.files import validated
from topology.cluster import MAX_GPUS

WIDER = 1.1
"""Factor on a rate, a memory or a limit on TTFT. [1]"""

MORE_GPUS = 4
"""[GPU]"""

SLOWER = 5.0
"""By how much a lower target is asked for. [token/s]"""

RESOURCES = {
    "nic_bandwidth": ("nic_gb_s", "nic_rate"),
    "nvlink_bandwidth": ("nvlink_gb_s", "nvlink_rate"),
    "hbm_capacity": ("hbm_gb", "hbm_bytes"),
}
"""What a cluster file may widen: its key, and the fact of the machine. It has no rate of memory."""


@dataclass(frozen=True)
class ShadowPrice:
    """The answer with one limit wider.

    Attributes
    ----------
    limit : str
        Name of the limit.
    before, after : float
        Its value, in the unit that people use. [GB/s, GB, GPU, tok/s/user or s]
    configuration : Configuration
        The new answer.
    prediction : Prediction
        Of the new answer.
    throughput_change, cost_change : float
        Relative to the old answer. [1]
    amount : float
        What the objective comes to, in its unit.
    same : bool
        Whether the configuration stays.
    """

    limit: str
    before: float
    after: float
    configuration: Configuration
    prediction: Prediction
    throughput_change: float
    cost_change: float
    amount: float
    same: bool


@dataclass(frozen=True)
class Wider:
    """One limit as it is and as it would be, and the question that this makes."""

    limit: str
    before: float
    after: float
    cluster: ClusterSpec
    limits: Limits


def wider_questions(
    cluster: ClusterSpec, limits: Limits, prefill_cluster: ClusterSpec | None = None
) -> Iterator[Wider]:
    """Widen each limit that is set, one at a time; what cannot be wider is left out.

    Links and memory are those of `cluster`, of decode where prefill stands elsewhere; the budget
    counts the GPUs of both.
    """
    hardware = cluster.hardware()
    # Another machine than the measured one is outside the data.
    resources = {} if limits.within_data else RESOURCES
    for name, (key, fact) in resources.items():
        now = float(f"{getattr(hardware, fact).value / 1e9:.9g}")
        more = float(f"{WIDER * now:.9g}")
        yield Wider(name, now, more, _changed(cluster, key, more), limits)
    budget = Ground(cluster, prefill_cluster, limits.max_gpus).budget
    if budget + MORE_GPUS <= MAX_GPUS:
        gpus = budget + MORE_GPUS
        elsewhere = 0 if prefill_cluster is None else prefill_cluster.gpus
        larger = _changed(cluster, "gpus", max(cluster.gpus, gpus - elsewhere))
        yield Wider("max_gpus", budget, gpus, larger, replace(limits, max_gpus=gpus))
    if limits.target > SLOWER:
        slower = limits.target - SLOWER
        yield Wider("target", limits.target, slower, cluster, replace(limits, target=slower))
    if limits.max_ttft is not None:
        longer = float(f"{WIDER * limits.max_ttft:.9g}")
        yield Wider("max_ttft", limits.max_ttft, longer, cluster, replace(limits, max_ttft=longer))


def shadow_prices(
    configuration: Configuration,
    prediction: Prediction,
    scenario: Scenario,
    cluster: ClusterSpec,
    limits: Limits,
    calibration: Calibration,
    space: Space | None = None,
    progress: Callable[[], None] | None = None,
    *,
    goal: Goal | None = None,
    prefill_cluster: ClusterSpec | None = None,
) -> tuple[ShadowPrice, ...]:
    """Solve again with each limit a little wider.

    Parameters
    ----------
    configuration, prediction
        The answer under the limits as they are.
    scenario, cluster, limits, calibration, space
        What it answers.
    progress : callable, optional
        Called after each of the `wider_questions`.
    goal, prefill_cluster
        As in `best`.

    Raises
    ------
    InputError
        As the search does.
    """
    found: list[ShadowPrice] = []
    for question in wider_questions(cluster, limits, prefill_cluster):
        answer = best(
            scenario,
            question.cluster,
            question.limits,
            calibration,
            space,
            goal=goal,
            prefill_cluster=prefill_cluster,
        )
        found += _prices(question, answer, configuration, prediction)
        if progress is not None:
            progress()
    return tuple(found)


def _prices(
    question: Wider, answer: Answer, configuration: Configuration, prediction: Prediction
) -> Iterator[ShadowPrice]:
    """Compare one new answer with the old one; none only where rounding made it unreachable."""
    if answer.prediction is None or answer.configuration is None or answer.value is None:
        return
    new = answer.prediction
    yield ShadowPrice(
        limit=question.limit,
        before=question.before,
        after=question.after,
        configuration=answer.configuration,
        prediction=new,
        throughput_change=new.total_tok_s_per_gpu / prediction.total_tok_s_per_gpu - 1.0,
        cost_change=new.usd_per_m_total_tokens / prediction.usd_per_m_total_tokens - 1.0,
        amount=answer.value.amount,
        same=answer.configuration == configuration,
    )


def _changed(cluster: ClusterSpec, key: str, value: float) -> ClusterSpec:
    return validated(ClusterSpec, cluster.model_dump() | {key: value})
