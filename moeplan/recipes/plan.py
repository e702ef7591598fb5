"""Recipes of a whole plan: a folder for each deployment of each tier that a format can express.

A recipe has one pool of prefill workers and one of decode workers. Where a plan has tiers, or sizes
of decode worker, that share a pool, each gets the prefill workers that it needs alone, which may be
more than the pool has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from costmodel.results import Configuration, Scenario
from moeplan.answers.fleet import DecodeGroup, FleetPlan, PlannedTier, PrefillPool
from moeplan.options import Options
from moeplan.plan_file import problem_of
from moeplan.recipes.directory import PLAN
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.markdown import code, prose
from moeplan.recipes.question import NAME, Request, recipe_for_configuration
from moeplan.recipes.recipe import Recipe
from moeplan.recipes.writing import README, recipe_files
from moeplan.render.common import count
from optimizer.check import serve_tier
from optimizer.fleet import FleetProblem, Tier
from optimizer.fleet_points import FleetPoints, Pool, PrefillKind, fleet_points
from optimizer.replan import as_they_run
from optimizer.replan_model import Running
from optimizer.space import shape_of
from presets import InputError, load_model, model_names

LONGEST_NAME = 30
"""Of a folder: with the name of the plan before it, it names a deployment."""


class Part(NamedTuple):
    """Decode workers of one size of a tier, and the prefill pool that feeds them.

    Attributes
    ----------
    tier : PlannedTier
    group : DecodeGroup
    pool : PrefillPool or None
        None where the workers prefill what they decode.
    """

    tier: PlannedTier
    group: DecodeGroup
    pool: PrefillPool | None

    @property
    def name(self) -> str:
        """Name of its folder, before it is made unique."""
        several = len(self.tier.decode) > 1
        size = f"-{self.group.config.decode_gpus_per_worker}gpu" if several else ""
        words = re.sub(r"[^a-z0-9]+", "-", self.tier.name.lower()).strip("-")
        first = words if words[:1].isalpha() else f"tier-{words}".rstrip("-")
        return f"{first[: LONGEST_NAME - len(size)].rstrip('-')}{size}"


class PlanRecipes(NamedTuple):
    """What of a plan is written.

    Attributes
    ----------
    recipes : dict
        Recipe of each folder.
    tiers : dict
        Name of the tier of each folder.
    rates : dict
        Requests that each folder is to be given. [1/s]
    left_out : dict
        From names of tiers to why no format expresses them.
    more : list of str
        What is written beyond the plan, as pools cannot be shared.
    """

    recipes: dict[str, Recipe]
    tiers: dict[str, str]
    rates: dict[str, float]
    left_out: dict[str, str]
    more: list[str]


def plan_recipes(plan: FleetPlan, request: Request, format_name: str | None) -> PlanRecipes:
    """Make all tiers of a plan recipes that a format can express.

    Parameters
    ----------
    plan : FleetPlan
        As `moeplan.plan_file.read_plan` gave it.
    request : Request
        What is chosen besides; its format is not looked at.
    format_name : str or None
        Of tiers of its engine; None takes the first format of each tier's engine.

    Raises
    ------
    InputError
        Where no tier can be written.
    """
    problem = problem_of(plan.question, plan.calibration)
    recipes: dict[str, Recipe] = {}
    tiers: dict[str, str] = {}
    rates: dict[str, float] = {}
    left_out: dict[str, str] = {}
    more: list[str] = []
    for parts in _by_pool(plan):
        try:
            configurations = _configurations(plan, problem, parts)
        except InputError as error:
            left_out |= {part.tier.name: str(error) for part in parts}
            continue
        more += _more(parts, configurations)
        for part, configuration in zip(parts, configurations, strict=True):
            if part.tier.name in left_out:
                continue
            try:
                folder = _unique(part.name, recipes)
                named = replace(
                    request,
                    format=_format_of(part.tier.scenario.engine, format_name),
                    name=f"{request.name or NAME}-{folder}",
                )
                recipes[folder] = _recipe(plan, part, configuration, named)
                tiers[folder] = part.tier.name
                rates[folder] = part.group.requests_per_s
            except InputError as error:
                left_out[part.tier.name] = str(error)
    whole = {folder for folder, tier in tiers.items() if tier not in left_out}
    if not whole:
        reasons = "; ".join(f"tier {name!r}: {why}" for name, why in left_out.items())
        raise InputError(f"--plan: no tier can be written: {reasons}")
    return PlanRecipes(
        {folder: recipes[folder] for folder in recipes if folder in whole},
        {folder: tiers[folder] for folder in tiers if folder in whole},
        {folder: rates[folder] for folder in rates if folder in whole},
        left_out,
        more,
    )


def plan_files(plan: FleetPlan, written: PlanRecipes) -> dict[str, str]:
    """Write all files of a plan, by their path in its folder.

    Exceptions are those of `recipe_files`.
    """
    text = json.dumps(plan.to_json(), indent=2, allow_nan=False) + "\n"
    files = {PLAN: text, README: _readme(written)}
    for folder, recipe in written.recipes.items():
        files |= {f"{folder}/{name}": text for name, text in recipe_files(recipe).items()}
    return files


def _by_pool(plan: FleetPlan) -> list[list[Part]]:
    """Sort what decodes by the pool that feeds it; what prefills its own stands alone."""
    pools = {pool.number: pool for pool in plan.prefill_pools}
    found: dict[object, list[Part]] = {}
    for tier in plan.tiers:
        pool = None if tier.pool is None else pools[tier.pool]
        key = f"tier {tier.number}" if pool is None else pool.number
        found.setdefault(key, []).extend(Part(tier, group, pool) for group in tier.decode)
    return list(found.values())


def _format_of(engine: str, asked: str | None) -> str:
    """Find the format of an engine.

    Raises
    ------
    InputError
        Where the one that is asked for is of another.
    """
    if asked is not None and FORMATS[asked].engine != engine:
        raise InputError(f"--format {asked} is of {FORMATS[asked].engine}, the tier of {engine}")
    found = asked or next((each.name for each in FORMATS.values() if each.engine == engine), None)
    if found is None:
        raise InputError(f"engine {engine!r} has no recipes")
    return found


def _configurations(
    plan: FleetPlan, problem: FleetProblem, parts: list[Part]
) -> list[Configuration]:
    """Give each part its prefill workers: those of the pool, split where several share them.

    Raises
    ------
    InputError
        Where no number of them would do.
    """
    pool = parts[0].pool
    if pool is None or len(parts) == 1:
        return [part.group.config for part in parts]
    fewest: list[Configuration] = []
    for part in parts:
        points = _points(plan, problem, part)
        found = _served(points, part, pool, range(1, 2 * pool.workers + 1))
        if found is None:
            raise InputError(_unsplit(pool))
        fewest.append(found)
    more = pool.workers - sum(each.prefill_workers for each in fewest)
    while more > 0:  # those left over go where the fewest requests have a worker
        busiest = max(
            range(len(parts)),
            key=lambda place: parts[place].group.requests_per_s / fewest[place].prefill_workers,
        )
        workers = fewest[busiest].prefill_workers + 1
        points = _points(plan, problem, parts[busiest])
        grown = _served(points, parts[busiest], pool, range(workers, workers + 1))
        if grown is None:
            raise InputError(_unsplit(pool))
        fewest[busiest] = grown
        more -= 1
    return fewest


def _unsplit(pool: PrefillPool) -> str:
    return f"pool {pool.number} of the plan is shared, which a recipe cannot say, nor split"


def _more(parts: list[Part], configurations: list[Configuration]) -> list[str]:
    """Say how many prefill workers are written beyond those of a pool."""
    pool = parts[0].pool
    more = sum(each.prefill_workers for each in configurations) - (pool.workers if pool else 0)
    if pool is None or more <= 0:
        return []
    several = len(dict.fromkeys(part.tier.name for part in parts)) > 1
    who = " and ".join(pool.feeds) if several else f"the sizes of decode worker of {pool.feeds[0]}"
    return [
        f"Pool {pool.number} of the plan is shared, which recipes cannot say: {who} get "
        f"{count(more, 'prefill worker')} of {count(pool.gpus_per_worker, 'GPU')} more than it has"
    ]


def _points(plan: FleetPlan, problem: FleetProblem, part: Part) -> FleetPoints:
    """Ask for one part alone, in the shape and with the slots that it has."""
    tier = problem.tiers[part.tier.number - 1]
    machine = next(each for each in problem.machines if each.sku == part.tier.sku)
    scenario = tier.scenarios[problem.machines.index(machine)]
    config = part.group.config
    alone = Tier(tier.name, (scenario,), tier.target, part.group.requests_per_s, tier.max_ttft)
    asked = replace(
        problem,
        tiers=(alone,),
        machines=(machine,),
        lost=(),
        budget=None,
        max_power=None,
        max_racks=None,
        spares=0,
    )
    runs = Running(0, 0, shape_of(config), config.max_batch, ())
    return as_they_run(fleet_points(asked), [runs])


def _served(
    points: FleetPoints, part: Part, pool: PrefillPool, workers: range
) -> Configuration | None:
    """Serve a part with the fewest of some numbers of prefill workers."""
    config = part.group.config
    kind = PrefillKind(pool.gpus_per_worker, pool.attention)
    own = Pool(0, (0,), kind)
    decode = {config.decode_gpus_per_worker: config.decode_workers}
    for number in workers:
        if found := serve_tier(points, 0, own, number, decode):
            return found[0].configuration
    return None


def _recipe(plan: FleetPlan, part: Part, configuration: Configuration, request: Request) -> Recipe:
    """Make a part a recipe, predicted as it is written."""
    asked = plan.question.tiers[part.tier.number - 1]
    place = [machine.sku for machine in plan.question.machines].index(str(part.tier.sku))
    scenario = asked.scenarios[place]
    assert isinstance(scenario, Scenario)
    name = scenario.model.name
    if name not in model_names() or load_model(name) != scenario.model:
        raise InputError(f"model {name!r} is none of moeplan's; a recipe needs its path")
    options = Options(
        model=name,
        precision=scenario.precision,
        engine=scenario.engine,
        isl=scenario.isl,
        osl=scenario.osl,
        cached_share=scenario.cached_share,
        cluster=plan.question.machines[place],
        calibration=None if plan.calibration == "shipped" else plan.calibration,
    )
    return recipe_for_configuration(None, configuration, options, request)


def _unique(name: str, taken: Mapping[str, object]) -> str:
    """Give a folder a name that none has."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found


def _readme(written: PlanRecipes) -> str:
    """Say what stands in which folder."""
    lines = [
        "# Recipes of a plan",
        "",
        "| folder | tier | format | prefill | decode | requests/s | users |",
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for folder, recipe in written.recipes.items():
        one = recipe.config
        lines.append(
            f"| {code(folder)} | {prose(written.tiers[folder])} | {recipe.format} | "
            f"{one.prefill_workers} x {one.prefill_gpus_per_worker} GPUs | "
            f"{one.decode_workers} x {one.decode_gpus_per_worker} GPUs | "
            f"{written.rates[folder]:,.4g} | {one.concurrency:,} |"
        )
    lines += ["", f"{code(PLAN)} is the plan."]
    lines += [f"\n{prose(each)}." for each in written.more]
    lines += [f"\nNot written: {prose(f'{name}: {why}')}" for name, why in written.left_out.items()]
    return "\n".join(lines) + "\n"
