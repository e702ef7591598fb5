"""From a plan and what is lost of it to the plan on what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from moeplan.answers.fleet import FleetPlan
from moeplan.answers.fleet_build import fleet_plan
from moeplan.answers.replan import Move, Replan, UnservedDemand
from moeplan.plan_file import (
    PlacedPart,
    lost_gpus,
    parts_of_plan,
    problem_of,
    read_plan,
    running_of,
    serves,
)
from optimizer.replan import Replanned, replan
from presets import InputError


def replanned(
    path: Path,
    lost: Sequence[str],
    *,
    spares: int = 0,
    seconds: float,
    progress: Callable[[], None] | None = None,
) -> FleetPlan:
    """Plan anew on what is left of a plan's machines; see `moeplan.replan`."""
    before = read_plan(path)
    if not lost:
        raise InputError("--lost: nothing is named; give what is lost, such as 'domain 3'")
    every = tuple(dict.fromkeys((*before.question.lost, *lost)))
    question = before.question.model_copy(update={"lost": every, "spares": spares})
    lost_gpus(question, lost)  # refuses what is not there
    problem = problem_of(question, before.calibration)
    running = running_of(before, problem)
    found = replan(problem, running, seconds, progress)
    after = fleet_plan(found.answer, before.calibration, every)
    gone = sum(map(len, lost_gpus(question, lost)))
    said = after.search.proven if found.answer.plan is None else _proven(found)
    return after.model_copy(
        update={
            "replan": _changes(before, after, found, gone),
            "reason": _reason(after, found),
            "search": after.search.model_copy(update={"proven": said}),
        }
    )


def _changes(before: FleetPlan, after: FleetPlan, found: Replanned, gone: int) -> Replan:
    """Say which workers are lost, stopped and started."""
    problem, plan = found.answer.points.problem, found.answer.plan
    old, new = parts_of_plan(before), parts_of_plan(after)
    is_lost = {
        each: not problem.lost_of(each.machine).isdisjoint(each.placement.gpus) for each in old
    }
    stays = {
        (problem.machines.index(worker.cluster), worker.placement.gpus)
        for worker in (plan.workers[: plan.kept] if plan else ())
    }
    begun = [each for each in new if (each.machine, each.placement.gpus) not in stays]
    stopped = [
        each
        for each in old
        if plan and not is_lost[each] and (each.machine, each.placement.gpus) not in stays
    ]
    lost = [each for each in old if is_lost[each]]
    moves = [
        *(_move("lose", before, each) for each in lost),
        *(_move("stop", before, each) for each in stopped),
        *(_move("start", after, each) for each in begun),
    ]
    return Replan(
        lost_gpus=gone,
        kept=plan.kept if plan else 0,
        started=len(begun),
        stopped=len(stopped),
        lost=len(lost),
        started_at_least=found.least_started,
        moves=tuple(moves),
        unserved=tuple(
            UnservedDemand(
                tiers=tuple(problem.tiers[tier].name for tier in each.tiers),
                served_share=each.share,
                unserved_requests_per_s=(1.0 - each.share)
                * sum(problem.tiers[tier].rate for tier in each.tiers),
            )
            for each in found.unserved
        ),
    )


def _move(action: str, plan: FleetPlan, each: PlacedPart) -> Move:
    return Move.model_validate(
        {
            "action": action,
            "role": each.role,
            "serves": serves(plan, each),
            "sku": plan.question.machines[each.machine].sku,
            "domains": tuple(domain + 1 for domain in each.placement.domains),
            "gpu_numbers": each.placement.gpus,
        }
    )


def _reason(after: FleetPlan, found: Replanned) -> str | None:
    """Say what of the demand cannot be served."""
    if found.answer.plan is not None:
        return None
    tiers = found.answer.points.problem.tiers
    said = []
    for each in found.unserved:
        names = " and ".join(tiers[tier].name for tier in each.tiers)
        rate = sum(tiers[tier].rate for tier in each.tiers)
        served = f"{each.share * rate:,.4g} of {rate:,.4g} requests/s"
        said.append(f"{_percent(each.share)} of {names} ({served})")
    if not said:
        return after.reason or "what is left does not serve all tiers, and no cut of them was found"
    others = ", all else whole" if len(tiers) > len(found.unserved[0].tiers) else ""
    return f"what is left does not serve all tiers; it would serve {', or '.join(said)}{others}"


def _proven(found: Replanned) -> str:
    """Say what is proven of a plan on what is left."""
    stays = "workers that stay keep their GPUs, shape and slots"
    if found.answer.status == "OPTIMAL" and found.least_started is not None:
        what = {"cost": "is cheaper", "gpus": "takes fewer GPUs", "power": "takes less power"}
        better = what[found.answer.points.problem.objective]
        return f"Proven: no plan ({stays}) starts fewer workers, and none of those {better}."
    if found.least_started is None:
        return f"Not proven best: no plan in which {stays} serves all tiers."
    least = f"no plan ({stays}) starts fewer than {found.least_started}"
    return f"Not proven best: the search was cut short; {least}."


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"
