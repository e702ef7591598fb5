"""From what the rooms find to the records that the public functions give."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from costmodel.results import Predicted, Scenario
from moeplan.measured import (
    above_measured,
    measured_point,
    nearest_measured,
    why_not_measured,
)
from moeplan.placement import placement_of
from moeplan.results import (
    Best,
    Billed,
    Conflict,
    Deployment,
    Links,
    Objective,
    RunnerUp,
    ScenarioSummary,
    Search,
)
from moeplan.scenario import groups_of
from presets import ClusterSpec
from topology import group_table

if TYPE_CHECKING:
    from optimizer import Answer
    from optimizer.ground import Ground


def summary_of(scenario: Scenario) -> ScenarioSummary:
    """Name what is served."""
    return ScenarioSummary(
        model=scenario.model.name,
        precision=scenario.precision,
        isl=scenario.isl,
        osl=scenario.osl,
        engine=scenario.engine,
    )


def best_of(
    answer: Answer,
    by_gpu: Answer | None,
    scenario: Scenario,
    cluster: ClusterSpec,
    prefill_cluster: ClusterSpec | None,
    given_gpus: int | None = None,
) -> Best:
    """Put an answer of the search beside what was measured.

    The cluster has `given_gpus` where a user described it; None means as many as it takes. [GPU]
    """
    from optimizer.ground import Ground

    target, winner, failed = answer.limits.target, answer.predicted, answer.infeasibility
    mixed = prefill_cluster is not None
    ground = Ground(cluster, prefill_cluster, answer.limits.max_gpus)
    deployment = deployment_of(winner, ground, _replicas(answer, ground)) if winner else None
    budget = answer.limits.max_gpus
    measured = None if mixed else measured_point(scenario, cluster, target, budget)
    nearest = None if mixed or measured else nearest_measured(scenario, cluster, target, budget)
    return Best(
        status=answer.status,
        sku=cluster.sku,
        target_tok_s_per_user=target,
        scenario=summary_of(scenario),
        config=winner.configuration if winner else None,
        prediction=winner.prediction if winner else None,
        measured=measured,
        nearest_measured=nearest,
        search=_search(answer),
        runners_up=tuple(
            RunnerUp(config=other.configuration, prediction=other.prediction, lost_by=other.lost_by)
            for other in answer.runners_up
        ),
        breakdown_ms=winner.breakdown_ms if winner else None,
        objective=_objective(answer),
        placement=deployment.placement if deployment else (),
        prefill_sku=prefill_cluster.sku if prefill_cluster else None,
        billing=_billed(answer, by_gpu),
        reason=answer.reason or None,
        conflicts=tuple(Conflict(**vars(each)) for each in failed.conflicts) if failed else (),
        nearest_target_tok_s_per_user=failed.highest_target if failed else None,
        deployment=deployment,
        not_measured=(
            "the published rows ran prefill and decode on one machine"
            if mixed
            else why_not_measured(scenario, cluster, target, budget)
        ),
        above_measured=not mixed and above_measured(scenario, cluster, target),
        title=cluster.hardware().title,
        price_usd_per_hour=cluster.hardware().price_usd_per_hour.value,
        prefill_price_usd_per_hour=ground.prefill_on.hardware().price_usd_per_hour.value,
        max_gpus=answer.limits.max_gpus,
        given_gpus=given_gpus,
    )


def _search(answer: Answer) -> Search:
    found = vars(answer.search) | {"seconds": round(answer.search.seconds, 3)}
    if answer.goal.objective != "cost":  # the bound is one of the cost
        found["bound"] = None
    return Search(**found)


def _objective(answer: Answer) -> Objective:
    from optimizer.value import UNITS

    name, value = answer.goal.objective, answer.value
    return Objective(
        name=name,
        amount=value.amount if value else None,
        unit=UNITS[name],
        replicas=value.replicas if value else None,
        served=value.served if value else None,
    )


def _replicas(answer: Answer, ground: Ground) -> int:
    """Count the copies that an answer puts side by side: those of the bill, or of the rate.

    The replicas of a rate are counted by their GPUs alone. Where they find no room side by side
    they would stand apart: then one is placed.
    """
    value, config = answer.value, answer.configuration
    if value is None or config is None:
        return 1
    if value.bill is not None:
        return value.bill.replicas
    copies = value.replicas or 1
    return copies if ground.has_room(*groups_of(config, copies)) else 1


def _billed(answer: Answer, by_gpu: Answer | None) -> Billed | None:
    bill = answer.value.bill if answer.value else None
    if bill is None or by_gpu is None:
        return None
    return Billed(
        replicas=bill.replicas,
        charged_gpus=bill.charged,
        used_gpus=bill.used,
        stranded_gpus=bill.stranded,
        best_by_gpu=by_gpu.configuration,
        usd_per_m_total_tokens_by_gpu=(
            by_gpu.prediction.usd_per_m_total_tokens if by_gpu.prediction else None
        ),
    )


def deployment_of(predicted: Predicted, ground: Ground, replicas: int = 1) -> Deployment:
    """Put a prediction beside the links of its decode worker, and where its workers stand.

    Raises
    ------
    InputError
        If they find no room.
    """
    return Deployment(
        config=predicted.configuration,
        prediction=predicted.prediction,
        breakdown_ms=predicted.breakdown_ms,
        batch_in_flight=predicted.batch_in_flight,
        prefill_load=predicted.prefill_load,
        links=_links(ground.cluster, predicted.configuration.decode_gpus_per_worker),
        placement=placement_of(predicted.configuration, ground, replicas),
        hidden_communication_ms=predicted.hidden_communication_ms,
        batch_limit=predicted.batch_limit,
    )


def _links(cluster: ClusterSpec, gpus: int) -> Links:
    path = group_table(cluster, [gpus])[gpus]
    rate = path.per_gpu_rate
    return Links(
        gpus=gpus,
        domains=path.domains,
        bottleneck=path.bottleneck,
        all_to_all_gb_s=rate / 1e9 if math.isfinite(rate) else None,
        latency_us=1e6 * path.latency,
    )
