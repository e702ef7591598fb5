"""From what the search for a plan found to the answer of ``moeplan fleet``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from moeplan.answers.build import summary_of, version
from moeplan.answers.fleet import (
    DecodeGroup,
    FleetPlan,
    OtherMode,
    PlannedMachine,
    PlannedTier,
    PlanObjective,
    PlanSearch,
    PrefillPool,
)
from moeplan.answers.placement import Domain, domains_of
from moeplan.answers.plan_question import PlanQuestion
from optimizer.confidence import chance_to_meet
from optimizer.fleet_placement import pools_of
from topology import shares_links
from topology.cluster import read_layout
from topology.placement import unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.fleet import FleetProblem, Tier
    from optimizer.fleet_points import Pool
    from optimizer.fleet_rounds import Plan
    from optimizer.fleet_search import FleetAnswer
    from presets import ClusterSpec

UNITS = {"cost": "USD/h", "gpus": "GPUs", "power": "W"}
"""Unit of each objective."""


def fleet_plan(answer: FleetAnswer, calibration: str, lost: Sequence[str] = ()) -> FleetPlan:
    """Write what a search found as an answer."""
    problem, plan = answer.points.problem, answer.plan
    domains = _domains(problem, plan) if plan else ()
    statuses: dict[str, Literal["optimal", "feasible"]] = {
        "OPTIMAL": "optimal",
        "FEASIBLE": "feasible",
    }
    return FleetPlan(
        status=statuses.get(answer.status, "infeasible"),
        objective=PlanObjective(
            name=problem.objective,
            amount=plan.weight * problem.unit if plan else None,
            unit=UNITS[problem.objective],
            bound=None if answer.bound is None else answer.bound * problem.unit,
            gap=answer.gap,
        ),
        tiers=tuple(_tier(number, tier, answer, plan) for number, tier in enumerate(problem.tiers)),
        prefill_pools=_pools(problem, plan) if plan else (),
        machines=tuple(
            _machine(cluster, problem.lost_of(place), plan, domains)
            for place, cluster in enumerate(problem.machines)
        ),
        placement=domains,
        spares=problem.spares,
        budget_usd_per_hour=problem.budget,
        max_power_w=problem.max_power,
        search=PlanSearch(
            status=answer.status,
            rounds=answer.rounds,
            cuts=answer.cuts,
            variables=answer.variables,
            constraints=answer.constraints,
            seconds=answer.seconds,
            proven=proven(answer),
        ),
        reason=answer.reason,
        calibration=calibration,
        version=version(),
        question=_question(problem, lost),
    )


def _question(problem: FleetProblem, lost: Sequence[str]) -> PlanQuestion:
    return PlanQuestion(
        tiers=problem.tiers,
        machines=problem.machines,
        objective=problem.objective,
        spares=problem.spares,
        budget=problem.budget,
        max_power=problem.max_power,
        max_racks=problem.max_racks,
        lost=tuple(lost),
    )


def proven(answer: FleetAnswer) -> str:
    """Say in a sentence what a search has proven, and in another what it has not."""
    problem = answer.points.problem
    what = {"cost": "is cheaper", "gpus": "takes fewer GPUs", "power": "takes less power"}
    rules = "each tier on one machine, fed by one prefill pool, decode workers of a size alike"
    if answer.status == "OPTIMAL":
        text = f"Proven: no plan of these rules ({rules}) {what[problem.objective]}."
    elif answer.status == "FEASIBLE":
        text = (
            "Not proven best: the search was cut short; no plan of these rules "
            f"({rules}) is below bound."
        )
    elif answer.status == "INFEASIBLE":
        text = f"Proven: no plan of these rules ({rules}) serves all tiers."
    else:
        text = "Nothing is proven: the search was cut short."
    beyond = []
    if not all(len(tier.servings) > 1 for tier in problem.tiers):
        beyond.append("modes of serving that no tier asks for")
    if any(map(shares_links, problem.machines)):
        beyond.append("how tiers slow each other on oversubscribed links")
    return f"{text} Not looked at: {', '.join(beyond)}." if beyond else text


def _tier(number: int, tier: Tier, answer: FleetAnswer, plan: Plan | None) -> PlannedTier:
    problem = answer.points.problem
    pool = plan.pools[number] if plan else None
    scenario = tier.scenario if pool is None else problem.problem(number, pool.way).scenario
    return PlannedTier(
        name=tier.name,
        number=number + 1,
        scenario=summary_of(scenario),
        target_tok_s_per_user=tier.target,
        requests_per_s=tier.rate,
        max_ttft_s=tier.max_ttft,
        sku=None if pool is None else problem.cluster(pool.way).sku,
        serving=None if pool is None else problem.ways[pool.way].serving,
        other_serving=_other(number, answer),
        pool=_number(plan, pool) if plan and pool and not pool.is_own else None,
        decode=tuple(
            DecodeGroup(
                config=each.configuration,
                prediction=each.prediction,
                chance_to_meet=chance_to_meet(
                    each.prediction, problem.problem(number, pool.way if pool else 0).limits
                ),
                requests_per_s=each.rate,
                most_requests_per_s=each.most_rate,
                batch_in_flight=each.batch_in_flight,
            )
            for each in (plan.served[number] if plan else ())
        ),
    )


def _other(number: int, answer: FleetAnswer) -> OtherMode | None:
    """Say what the mode that was not chosen would take."""
    if answer.plan is None or number not in answer.others:
        return None
    problem, least = answer.points.problem, answer.others[number]
    chosen = problem.ways[answer.plan.pools[number].way].serving
    (other,) = (each for each in problem.tiers[number].servings if each != chosen)
    return OtherMode(serving=other, amount_at_least=None if least is None else least * problem.unit)


def _number(plan: Plan, pool: Pool) -> int:
    """Give the number of a pool among those of the plan, from 1."""
    return pools_of(plan.counts).index(pool) + 1


def _pools(problem: FleetProblem, plan: Plan) -> tuple[PrefillPool, ...]:
    return tuple(
        PrefillPool(
            number=_number(plan, pool),
            sku=problem.cluster(pool.way).sku,
            workers=plan.counts.prefill[pool],
            gpus_per_worker=pool.kind.gpus,
            attention=pool.kind.attention,
            feeds=tuple(problem.tiers[tier].name for tier in pool.tiers),
            load=max(each.prefill_load for t in pool.tiers for each in plan.served[t]),
        )
        for pool in pools_of(plan.counts)
    )


def _domains(problem: FleetProblem, plan: Plan) -> tuple[Domain, ...]:
    """Say what stands in each domain; GPUs that are lost are not free."""
    lost = {each.sku: problem.lost_of(place) for place, each in enumerate(problem.machines)}
    layouts = {each.sku: read_layout(each) for each in problem.machines}
    return tuple(
        each.model_copy(
            update={
                "free_gpus": each.free_gpus
                - len(lost[each.sku].intersection(layouts[each.sku].gpus_of(each.domain - 1)))
            }
        )
        for each in domains_of(plan.workers)
    )


def _machine(
    cluster: ClusterSpec, lost: frozenset[int], plan: Plan | None, domains: tuple[Domain, ...]
) -> PlannedMachine:
    hardware, layout = cluster.hardware(), read_layout(cluster)
    workers = plan.workers if plan else ()
    used = sum(len(each.placement.gpus) for each in workers if each.cluster == cluster)
    here = [domain for domain in domains if domain.sku == cluster.sku]
    price = hardware.price_usd_per_hour.value
    return PlannedMachine(
        sku=cluster.sku,
        gpus=cluster.gpus - len(unusable(cluster) | lost),
        gpus_in_use=used,
        gpus_per_domain=layout.gpus_per_domain,
        domains=len(layout.domain_sizes),
        domains_in_use=len(here),
        stranded_gpus=sum(domain.free_gpus for domain in here),
        usd_per_gpu_hour=price,
        usd_per_hour=used * price,
        kilowatts=used * hardware.power_watts.value / 1e3,
    )
