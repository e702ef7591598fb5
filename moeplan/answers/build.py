"""From what the rooms find to the records that the public functions give."""

from __future__ import annotations

import math
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from costmodel.results import Predicted, Scenario
from moeplan.answers.best import Best, Billing, Deployment, Links, RunnerUp, ScenarioSummary
from moeplan.answers.measured import (
    above_measured,
    measured_point,
    nearest_measured,
    why_not_measured,
)
from moeplan.answers.placement import placement_of
from moeplan.answers.predicted import KeptDrafts, PredictedDeployment
from moeplan.answers.reasons import behind, explain_infeasibility, lost_by
from moeplan.answers.safe import SafeChoice
from moeplan.clusters import groups_of, price_of
from moeplan.question import Question
from optimizer.confidence import chance_to_meet
from optimizer.objective import UNITS, ObjectiveValue
from optimizer.resources import Resources
from optimizer.safe import SAFE, safe_problem
from topology import fleet_paths
from topology.cluster import read_layout

if TYPE_CHECKING:
    from optimizer.answer import Answer, Ranked
    from optimizer.billing import Bill
    from optimizer.problem import Limits, Problem
    from optimizer.safe import WithSafe


@cache
def version() -> str:
    """Version of the package that answers."""
    return metadata.version("moeplan")


def summary_of(scenario: Scenario) -> ScenarioSummary:
    """Name what is served."""
    return ScenarioSummary(
        model=scenario.model.name,
        precision=scenario.precision,
        isl=scenario.isl,
        osl=scenario.osl,
        engine=scenario.engine,
        cached_share=scenario.cached_share,
    )


def best_of(found: WithSafe, by_gpu: Answer | None, question: Question) -> Best:
    """Put an answer of the search beside what was measured.

    Parameters
    ----------
    found : optimizer.safe.WithSafe
        Answer to one target, and the safe choice.
    by_gpu : optimizer.Answer or None
        Under billing by domain, what is best where only GPUs that serve are paid.
    question : Question
        What was asked.
    """
    answer = found.answer
    problem, winner, failed = answer.problem, answer.winner, answer.infeasibility
    scenario, cluster, target = problem.scenario, problem.cluster, problem.limits.target
    there, budget = problem.prefill_cluster, problem.limits.max_gpus
    differs = _unlike_published(problem)
    measured = None if differs else measured_point(scenario, cluster, target, budget)
    nearest = None if there or measured else nearest_measured(scenario, cluster, target, budget)
    deployment = None
    if winner is not None:
        deployment = deployment_of(winner.predicted, problem.resources, _replicas(answer))
    name = problem.objective.name
    return Best(
        status=answer.status,
        sku=cluster.sku,
        target_tok_s_per_user=target,
        scenario=summary_of(scenario),
        config=winner.configuration if winner else None,
        prediction=winner.prediction if winner else None,
        measured=measured,
        nearest_measured=nearest,
        search=answer.search,
        runners_up=tuple(
            RunnerUp(
                config=other.configuration,
                prediction=other.prediction,
                lost_by=lost_by(winner, other, scenario),
            )
            for other in answer.runners_up
            if winner is not None
        ),
        breakdown_ms=winner.predicted.breakdown_ms if winner else None,
        objective=(
            winner.value if winner else ObjectiveValue(name=name, amount=None, unit=UNITS[name])
        ),
        chance_to_meet=_chance(winner, problem.limits) if winner else None,
        percentiles_ms=winner.predicted.percentiles_ms if winner else None,
        safe_choice=_safe_choice(found),
        placement=deployment.placement if deployment else (),
        prefill_sku=there.sku if there else None,
        billing=_billing(answer, by_gpu),
        reason=explain_infeasibility(failed) if failed else None,
        conflicts=failed.conflicts if failed else (),
        nearest_target_tok_s_per_user=failed.highest_target if failed else None,
        question=question,
        gpus=winner.configuration.gpus if winner else None,
        version=version(),
        problem=problem,
        deployment=deployment,
        not_measured=differs or why_not_measured(scenario, cluster, target, budget),
        above_measured=not differs and above_measured(scenario, cluster, target),
        title=cluster.hardware().title,
        price_usd_per_hour=price_of(cluster),
        prefill_price_usd_per_hour=price_of(problem.resources.prefill_on),
    )


def _unlike_published(problem: Problem) -> str | None:
    """Say why no published row can answer a problem, by what else it asks."""
    if problem.prefill_cluster is not None:
        return "the published rows ran prefill and decode on one machine"
    if problem.limits.target_percentile is not None:
        return "the published rows have the median interactivity, no percentile of it"
    return None


def _chance(ranked: Ranked, limits: Limits) -> dict[Literal["target", "max_ttft"], float]:
    return chance_to_meet(ranked.prediction, limits, ranked.predicted.percentiles_ms)


def predicted_of(predicted: Predicted, question: Question) -> PredictedDeployment:
    """Put the prediction of a given configuration beside what was asked."""
    return PredictedDeployment(
        **dict(deployment_of(predicted, Resources(question.cluster, question.prefill_cluster))),
        sku=question.sku,
        scenario=summary_of(question.scenario),
        question=question,
        gpus=predicted.configuration.gpus,
        acceptance=_kept_drafts(predicted, question.scenario),
        percentiles_ms=predicted.percentiles_ms,
        version=version(),
        title=question.cluster.hardware().title,
        price_usd_per_hour=price_of(question.cluster),
    )


def _kept_drafts(predicted: Predicted, scenario: Scenario) -> KeptDrafts | None:
    draft, depth = predicted.configuration.draft, predicted.configuration.mtp_depth
    if draft == "none":
        return None
    known, length = scenario.acceptance_of(draft), predicted.tokens_per_step
    return KeptDrafts(
        tokens_per_step=length,
        interval_90=known.interval(length, depth),
        source=known.source,
    )


def _replicas(answer: Answer) -> int:
    """Count the copies that an answer puts side by side: those of the bill, or of the rate.

    The replicas of a rate are counted by their GPUs alone. Where they find no room side by side
    they would stand apart: then one is placed.
    """
    winner = answer.winner
    if winner is None:
        return 1
    if winner.bill is not None:
        return winner.bill.replicas
    copies = winner.value.replicas or 1
    return copies if answer.problem.has_room(*groups_of(winner.configuration, copies)) else 1


def _safe_choice(found: WithSafe) -> SafeChoice | None:
    answer, safe = found.answer, found.safe
    if answer.winner is None:
        return None
    confidence = safe_problem(answer.problem).limits.min_confidence or SAFE
    if safe is None:
        return SafeChoice(confidence=confidence, reason=found.outside)
    if safe.winner is None:
        why = safe.infeasibility
        reason = f"inside the data {explain_infeasibility(why)}" if why else None
        return SafeChoice(confidence=confidence, reason=reason)
    return SafeChoice(
        confidence=confidence,
        is_best=safe is answer,
        config=safe.winner.configuration,
        prediction=safe.winner.prediction,
        objective=safe.winner.value,
        chance_to_meet=_chance(safe.winner, answer.problem.limits),
        gpus=safe.winner.configuration.gpus,
        behind=behind(answer.winner.value, safe.winner.value),
    )


def _billing(answer: Answer, by_gpu: Answer | None) -> Billing | None:
    bill = answer.winner.bill if answer.winner else None
    if bill is None or by_gpu is None:
        return None
    return Billing(
        replicas=bill.replicas,
        charged_gpus=bill.charged,
        used_gpus=bill.used,
        stranded_gpus=bill.stranded,
        domains=_domains(answer.problem.resources, bill),
        best_by_gpu=by_gpu.configuration,
        usd_per_m_total_tokens_by_gpu=(
            by_gpu.prediction.usd_per_m_total_tokens if by_gpu.prediction else None
        ),
    )


def _domains(resources: Resources, bill: Bill) -> int:
    """Count the NVLink domains of a bill [1]."""
    sides = (resources.prefill_on, bill.prefill_gpus), (resources.cluster, bill.decode_gpus)
    return sum(-(-gpus // read_layout(on).gpus_per_domain) for on, gpus in sides)


def deployment_of(predicted: Predicted, resources: Resources, replicas: int = 1) -> Deployment:
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
        links=_links(resources, predicted),
        placement=placement_of(predicted.configuration, resources, replicas),
        hidden_communication_ms=predicted.hidden_communication_ms,
        batch_limit=predicted.batch_limit,
    )


def _links(resources: Resources, predicted: Predicted) -> Links:
    decode, prefill = groups_of(predicted.configuration)
    path, _ = fleet_paths(resources.cluster, resources.prefill_cluster, decode, prefill)
    rate = path.per_gpu_rate
    workers = [f"decode {number + 1}" for number in range(decode[1])]
    workers += [f"prefill {number + 1}" for number in range(prefill[1])]
    return Links(
        gpus=path.gpus,
        domains=path.domains,
        bottleneck=path.bottleneck,
        all_to_all_gb_s=rate / 1e9 if math.isfinite(rate) else None,
        latency_us=1e6 * path.latency,
        slowest_link=path.worst_link,
        slowdown=path.slowdown,
        shared_with=tuple(workers[place] for place in path.shared_with),
        exchange=predicted.crossing,
    )
