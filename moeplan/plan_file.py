"""Plans of fleets as ``moeplan fleet --json`` prints them, read back as what they were made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from costmodel.results import Scenario
from moeplan.answers.fleet import FleetPlan, PlannedTier, PrefillPool
from moeplan.answers.placement import MOST_BYTES
from moeplan.answers.plan_question import PlanQuestion
from moeplan.question import SHIPPED, calibration_file
from optimizer.fleet import FleetProblem, Way
from optimizer.fleet_points import PrefillKind
from optimizer.replan_model import Running
from optimizer.space import shape_of
from presets import DataFileError, InputError
from presets.errors import shown
from presets.files import explained, read_text
from presets.parts import OF_GPUS, parts_of
from topology import Placement
from topology.cluster import read_layout, servers_of


class PlacedPart(NamedTuple):
    """A worker of a plan and its GPUs.

    Attributes
    ----------
    role : {"prefill", "decode", "both"}
    owner : int
        Number of its tier, or of its pool. [1]
    machine : int
        Place of its machine.
    placement : Placement
    """

    role: str
    owner: int
    machine: int
    placement: Placement


def read_plan(path: Path) -> FleetPlan:
    """Read a plan that ``moeplan fleet --json`` printed.

    Raises
    ------
    DataFileError
        Where the file is none, or there was no plan.
    """
    text = read_text(path, MOST_BYTES)  # whose refusals say more
    try:
        plan = FleetPlan.model_validate_json(json.dumps(json.loads(text)))
    except (ValueError, RecursionError) as error:
        reason = "is no plan; give what moeplan fleet printed with --json"
        if isinstance(error, ValidationError) and error.errors()[0]["type"] == "value_error":
            reason = explained(error.errors()[0], FleetPlan)  # names what is not valid
        raise DataFileError(reason, path) from None
    if not plan.placement:
        raise DataFileError("holds no plan: no worker stands anywhere", path, key="placement")
    faults = list(_faults(plan))
    if faults:
        raise DataFileError(faults[0], path)
    return plan


def problem_of(question: PlanQuestion, calibration: str) -> FleetProblem:
    """Pose the problem of a plan anew.

    Parameters
    ----------
    question : PlanQuestion
        As the plan has it.
    calibration : str
        Name of the shipped one, or path.
    """
    constants = calibration_file(None if calibration == SHIPPED else calibration).calibration
    return FleetProblem(
        tiers=question.tiers,
        machines=question.machines,
        calibration=constants,
        objective=question.objective,
        spares=question.spares,
        budget=question.budget,
        max_power=question.max_power,
        max_racks=question.max_racks,
        lost=lost_gpus(question, question.lost) if question.lost else (),
    )


def lost_gpus(question: PlanQuestion, names: Sequence[str]) -> tuple[frozenset[int], ...]:
    """Read what is lost, such as ``gb200/domain 3``: the GPUs of each machine.

    Parameters
    ----------
    question : PlanQuestion
        That names the machines.
    names : sequence of str
        Parts as `failed` of a cluster file names them, numbered from 0; the machine may be left out
        where there is one alone.

    Raises
    ------
    InputError
        Where one names nothing that is there.
    """
    skus = [machine.sku for machine in question.machines]
    lost: list[set[int]] = [set() for _ in skus]
    for name in names:
        sku, slash, part = name.rpartition("/")
        if not slash and len(skus) > 1:
            raise InputError(
                f"--lost: {shown(name)} names no machine; give {skus[0]}/{name}, or another of "
                f"{', '.join(skus)}"
            )
        if slash and sku not in skus:
            raise InputError(
                f"--lost: {shown(name)} is not valid; the machines of the plan are "
                f"{', '.join(skus)}"
            )
        place = skus.index(sku) if slash else 0
        lost[place] |= _gpus_of(question, place, part)
    return tuple(map(frozenset, lost))


def _gpus_of(question: PlanQuestion, machine: int, part: str) -> set[int]:
    """GPUs of a part of a machine."""
    layout = read_layout(question.machines[machine])
    try:
        parts = parts_of([part], OF_GPUS)
    except ValueError as error:
        raise InputError(f"--lost: {error}, or 'domain 2'") from None
    spans = {
        "gpu": [range(gpu, gpu + 1) for gpu in range(layout.gpus)] if parts.gpu else [],
        "server": servers_of(layout) if parts.server else [],
        "domain": [layout.gpus_of(number) for number in range(len(layout.domain_sizes))],
    }
    found: set[int] = set()
    for kind in OF_GPUS:
        for number in getattr(parts, kind):
            if number >= len(spans[kind]):
                raise InputError(
                    f"--lost: there is no {kind} {number}; {question.machines[machine].sku} has "
                    f"{len(spans[kind])}, numbered from 0"
                )
            found.update(spans[kind][number])
    return found


def parts_of_plan(plan: FleetPlan) -> list[PlacedPart]:
    """List the workers of a plan, each whole."""
    skus = [machine.sku for machine in plan.question.machines]
    gpus: dict[tuple[str, int, int, int], list[int]] = {}
    for domain in plan.placement:
        for worker in domain.workers:
            key = worker.role, worker.replica, worker.worker, skus.index(domain.sku)
            gpus.setdefault(key, []).extend(worker.gpu_numbers)
    found = []
    for (role, owner, _, machine), numbers in gpus.items():
        layout = read_layout(plan.question.machines[machine])
        domains = sorted({layout.domain_of(gpu) for gpu in numbers})
        placement = Placement(tuple(sorted(numbers)), tuple(domains))
        found.append(PlacedPart(role, owner, machine, placement))
    return found


def running_of(plan: FleetPlan, problem: FleetProblem) -> list[Running]:
    """Find the workers of a plan that stand on no GPU that is lost, those alike together."""
    found: dict[tuple[object, ...], Running] = {}
    for each in parts_of_plan(plan):
        if problem.lost_of(each.machine).isdisjoint(each.placement.gpus):
            one = _running(plan, problem, each)
            same = (one.way, one.kind, one.slots, _served(problem, one))
            before = found.get(same, one._replace(placements=()))
            found[same] = before._replace(placements=(*before.placements, *one.placements))
    return list(found.values())


def _running(plan: FleetPlan, problem: FleetProblem, each: PlacedPart) -> Running:
    serving = "aggregated" if each.role == "both" else "disaggregated"
    way = problem.ways.index(Way(each.machine, serving))  # type: ignore[arg-type]
    if each.role == "prefill":
        pool = _pool(plan, each.owner)
        names = [tier.name for tier in plan.tiers]
        kind = PrefillKind(pool.gpus_per_worker, pool.attention)
        return Running(way, names.index(pool.feeds[0]), kind, 0, (each.placement,))
    (config,) = (
        group.config
        for group in _tier(plan, each.owner).decode
        if group.config.decode_gpus_per_worker == len(each.placement.gpus)
    )
    shape = shape_of(config)
    return Running(way, each.owner - 1, shape, config.max_batch, (each.placement,))


def _served(problem: FleetProblem, each: Running) -> object:
    """Give what tells workers of a shape apart: their tier, or what they prefill."""
    if not isinstance(each.kind, PrefillKind):
        return each.tier
    scenario = problem.tiers[each.tier].scenarios[problem.ways[each.way].machine]
    assert isinstance(scenario, Scenario)
    return scenario.model, scenario.precision, scenario.engine, scenario.frontends


def _pool(plan: FleetPlan, number: int) -> PrefillPool:
    return next(pool for pool in plan.prefill_pools if pool.number == number)


def _tier(plan: FleetPlan, number: int) -> PlannedTier:
    return plan.tiers[number - 1]


def serves(plan: FleetPlan, each: PlacedPart) -> tuple[str, ...]:
    """Names of the tiers that a worker serves."""
    if each.role == "prefill":
        return _pool(plan, each.owner).feeds
    return (_tier(plan, each.owner).name,)


def _faults(plan: FleetPlan) -> Iterator[str]:
    """Say where a plan that was edited does not agree with itself."""
    machines = {machine.sku: machine for machine in plan.question.machines}
    if len(machines) < len(plan.question.machines):
        yield "two of its machines have one name; give them names of their own"
    names = [tier.name for tier in plan.tiers]
    if names != [tier.name for tier in plan.question.tiers]:
        yield "tiers and question.tiers are not the same"
    pools = {pool.number for pool in plan.prefill_pools}
    if not all(pool.feeds and set(pool.feeds) <= set(names) for pool in plan.prefill_pools):
        yield "prefill_pools: feeds names a tier that is not there"
    taken: set[tuple[str, int]] = set()
    for domain in plan.placement:
        if domain.sku not in machines:
            yield f"placement: {shown(domain.sku)} is none of its machines"
            return
        for worker in domain.workers:
            owners = pools if worker.role == "prefill" else range(1, len(names) + 1)
            if worker.replica not in owners:
                yield f"placement: there is no {worker.role} owner {worker.replica}"
            gpus = {(domain.sku, gpu) for gpu in worker.gpu_numbers}
            away = [gpu for _, gpu in gpus if not 0 <= gpu < machines[domain.sku].gpus]
            if away or gpus & taken or len(gpus) < len(worker.gpu_numbers):
                yield f"placement: domain {domain.domain} has a GPU twice, or one that is not there"
            taken |= gpus
