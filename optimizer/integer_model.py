"""The integer program of a fleet: how many workers of which shape, and where there is room.

It promises no less than the exact evaluation gives: rates are those of full batches, rounded up,
and prefill pools are as small as their load and the wait before them allow. What it chose and the
exact evaluation refuses is cut off, with all that has no more workers.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from optimizer.domain_patterns import DomainKind, Domains, domains_of
from optimizer.fleet import FleetObjective, FleetProblem
from optimizer.fleet_counts import Choice, Counts
from optimizer.fleet_points import FleetPoints, Pool
from optimizer.program import Program, Row, Terms
from optimizer.program_rules import RATE
from optimizer.resources import MICRO
from presets.pools import Serving

MORE = 2
"""How many times the workers that a tier takes at full batches it may have, and `MORE` besides."""

TIES = 1.0
"""Time for the choice among equally light plans. [s]"""


class FilledKind(NamedTuple):
    """Domains of a kind and the variables that count those filled by each of its patterns."""

    kind: DomainKind
    places: tuple[int, ...]


@dataclass
class IntegerModel:
    """The program of a fleet, and where its variables stand.

    Attributes
    ----------
    points : FleetPoints
    program : Program
    decode : dict
        Variable of each (tier, way, GPUs of a worker).
    prefill : dict
        Variable that counts the workers of each pool, by its place.
    feeds : list of dict
        Of each pool, from the tiers that it may feed to whether it does.
    domains : list of int
        Variables that count domains.
    filled, large : dict
        Of each machine the kinds of its domains, and the sizes of pieces that patterns count.
    weights : list of int
        Units of the objective of one GPU, by way.
    """

    points: FleetPoints
    program: Program = field(default_factory=Program)
    decode: dict[tuple[int, int, int], int] = field(default_factory=dict)
    prefill: dict[int, int] = field(default_factory=dict)
    feeds: list[dict[int, int]] = field(default_factory=list)
    domains: list[int] = field(default_factory=list)
    filled: dict[int, list[FilledKind]] = field(default_factory=dict)
    large: dict[int, tuple[int, ...]] = field(default_factory=dict)
    weights: list[int] = field(default_factory=list)
    cuts: int = 0

    def weight_of(self, counts: Counts) -> int:
        """Weigh what a plan takes."""
        decode = sum(self.weights[w] * g * n for (_, w, g), n in counts.decode.items())
        return decode + sum(
            self.weights[pool.way] * pool.kind.gpus * n for pool, n in counts.prefill.items()
        )

    def solve(self, seconds: float = math.inf, gap: float = 0.0) -> Choice:
        """Choose the lightest counts that keep all rows, or some within a gap of the bound."""
        solved = self.program.solve(seconds, gap)
        if solved.values is None:
            return Choice(None, solved.bound, solved.is_optimal, None, solved.was_stopped)
        values = self._in_few_domains(solved.values) if solved.is_optimal else solved.values
        promised = sum(factor * values[place] for place, factor in self.program.objective.items())
        counts = self.counts_of(values)
        return Choice(counts, solved.bound, solved.is_optimal, promised, solved.was_stopped)

    def counts_of(self, values: Sequence[int]) -> Counts:
        """Read what the solver chose."""
        prefill: dict[Pool, int] = {}
        for place, feeds in enumerate(self.feeds):
            if tiers := [tier for tier, variable in feeds.items() if values[variable]]:
                workers = values[self.prefill[place]] if place in self.prefill else 1
                prefill[self.points.pools[place].pool(tiers)] = workers
        decode = {key: values[place] for key, place in self.decode.items() if values[place]}
        return Counts(decode, prefill)

    def _in_few_domains(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """Of equally light choices take the one in fewest domains, as far as soon found.

        As a second term of the objective these ties would make the proof many times as long.
        """
        lightest = sum(factor * values[place] for place, factor in self.program.objective.items())
        ties = Program(
            self.program.variables,
            [*self.program.rows, Row("lightest", self.program.objective, None, lightest)],
            dict.fromkeys(self.domains, 1),
        )
        return ties.solve(TIES).values or values

    def least_without(self, tier: int, serving: Serving, seconds: float) -> int | None:
        """Bound plans that do not serve a tier in some mode, in units of the objective.

        None where there is no such plan.
        """
        ways = self.points.problem.ways
        barred = {
            feeds[tier]: 1
            for feeds, pool in zip(self.feeds, self.points.pools, strict=True)
            if tier in feeds and ways[pool.way].serving == serving
        }
        rows = [*self.program.rows, Row("other", barred, None, 0)]
        return Program(self.program.variables, rows, self.program.objective).solve(seconds).bound

    def cut(
        self,
        decode: Mapping[tuple[int, int, int], int],
        pool: Pool | None = None,
        workers: int = 0,
    ) -> None:
        """Ask for more of something than what was refused, where its pool is there.

        Parameters
        ----------
        decode : mapping
            Counts of decode workers, with 0 for those that are not there but could be.
        pool : Pool, optional
            That feeds the tier; None where no pool would do.
        workers : int
            Of the pool. [1]
        """
        program, terms, least = self.program, dict[int, int](), 1
        counts = [(self.decode[key], count) for key, count in decode.items()]
        if pool is not None:
            place = self.points.option(pool)
            feeds = self.feeds[place]
            # Without one of its tiers the pool waits less; nothing was said of that.
            terms = {feeds[tier]: -1 for tier in pool.tiers}
            least -= len(pool.tiers)
            if not pool.is_own:
                terms |= {feeds[tier]: 1 for tier in self.points.shorter(pool)}
                counts.append((self.prefill[place], workers))
        for variable, count in counts:
            if count < program.variables[variable].high:
                name = f"beyond[{self.cuts},{program.variables[variable].name}]"
                more = program.variable(name, 0, 1)
                program.row("most", {variable: 1, more: -(count + 1)}, least=0)
                terms[more] = 1
        program.row("cut", terms, least=least)
        self.cuts += 1

    def enlarge(self, pool: Pool, workers: int) -> None:
        """Ask for so many workers where a pool feeds all of its tiers, and none that helps it."""
        place = self.points.option(pool)
        feeds = self.feeds[place]
        least = min(workers, self.program.variables[self.prefill[place]].high + 1)
        terms = {self.prefill[place]: 1, **{feeds[tier]: -least for tier in pool.tiers}}
        terms |= {feeds[tier]: least for tier in self.points.shorter(pool)}
        self.program.row("together", terms, least=least * (1 - len(pool.tiers)))
        self.cuts += 1

    def places_of(self, counts: Counts) -> dict[int, int]:
        """Give the counts of the variables that a choice is made of."""
        places = {self.decode[key]: count for key, count in counts.decode.items()}
        for pool, count in counts.prefill.items():
            if not pool.is_own:
                places[self.prefill[self.points.option(pool)]] = count
        return places

    def cut_room(self, counts: Counts) -> None:
        """Ask for less of something than what found no room."""
        places = self.places_of(counts)
        program, terms = self.program, dict[int, int]()
        for place, count in places.items():
            high = program.variables[place].high
            fewer = program.variable(f"below[{self.cuts},{program.variables[place].name}]", 0, 1)
            program.row("fewer", {place: 1, fewer: high - count + 1}, most=high)
            terms[fewer] = 1
        program.row("no room", terms, least=1)
        self.cuts += 1


def integer_model(
    points: FleetPoints,
    model: IntegerModel | None = None,
    content: Mapping[int, Mapping[int, Hashable]] = MappingProxyType({}),
) -> IntegerModel:
    """Write the program of a fleet.

    Parameters
    ----------
    points : FleetPoints
        Operating points.
    model : IntegerModel, optional
        An empty one to fill.
    content : mapping, optional
        What tells the domains of a machine apart, by their numbers, besides what is free in them.
    """
    model, problem = model or IntegerModel(points), points.problem
    divisor = math.gcd(*map(problem.weight, problem.machines))
    model.weights = [weight // divisor for weight in _weights(problem)]
    _add_decode(model)
    _add_pools(model)
    for machine, cluster in enumerate(problem.machines):
        sizes = _sizes(model, machine)
        several, lost = sorted(set(sizes.values())), problem.lost_of(machine)
        domains = domains_of(cluster, several, lost, content.get(machine, {}))
        _add_room(model, machine, sizes, domains)
    _add_limits(model)
    model.program.minimise(_weighed(model, model.weights))
    return model


def _add_decode(model: IntegerModel) -> None:
    """Decode workers of each tier, and the rate that they yield."""
    points, program = model.points, model.program
    yields: dict[int, dict[int, int]] = {}
    for (tier, way), each in points.of.items():
        for gpus, rate in each.sizes.items():
            wanted = points.steady_rate(tier, way)
            part = min(math.ceil(rate / wanted * RATE * (1.0 + 1e-9)), RATE)
            most = MORE * -(-RATE // part) + MORE + points.problem.spares
            most = min(most, points.problem.cluster(way).gpus // gpus)
            place = program.variable(f"decode[{tier},{way},{gpus}]", 0, most)
            model.decode[tier, way, gpus] = place
            yields.setdefault(tier, {})[place] = part
    for tier in range(len(points.problem.tiers)):
        program.row("demand", yields.get(tier, {}), least=RATE)
    if points.problem.spares:
        _add_spares(model, yields)


def _add_spares(model: IntegerModel, yields: Mapping[int, Mapping[int, int]]) -> None:
    """Serve the demand while spare workers of any one size of a tier are away."""
    program, spares = model.program, model.points.problem.spares
    for (tier, way, gpus), place in model.decode.items():
        used = program.variable(f"used[{tier},{way},{gpus}]", 0, 1)
        program.row("left", {place: 1, used: -(spares + 1)}, least=0)
        program.row("used", {place: 1, used: -program.variables[place].high}, most=0)
        lost = spares * yields[tier][place]
        program.row("spare", {**yields[tier], used: -lost}, least=RATE)


def _add_pools(model: IntegerModel) -> None:
    """Prefill pools, of which each tier has one, in its way; or workers that prefill their own."""
    points, program = model.points, model.program
    tiers = range(len(points.problem.tiers))
    fed: dict[int, dict[int, int]] = {tier: {} for tier in tiers}
    on: dict[tuple[int, int], list[int]] = {}
    for place, option in enumerate(points.pools):
        shape = "own" if option.is_own else f"{option.kind.gpus}{option.kind.attention}"
        leader = "any" if option.leader is None else option.leader
        name = f"{leader};{option.way},{shape}"
        feeds = {tier: program.variable(f"feeds[{name},{tier}]", 0, 1) for tier in option.needs}
        model.feeds.append(feeds)
        for tier, is_fed in feeds.items():
            fed[tier][is_fed] = 1
            on.setdefault((tier, option.way), []).append(is_fed)
        if not option.is_own:
            _add_prefill(model, place, name)
    for tier in tiers:
        program.row("fed", fed[tier], least=1, most=1)
    for (tier, way, _), place in model.decode.items():
        most = program.variables[place].high
        there = dict.fromkeys(on.get((tier, way), ()), -most)
        program.row("stands", {place: 1, **there}, most=0)


def _add_prefill(model: IntegerModel, place: int, name: str) -> None:
    """Workers of a pool: as many as the tiers that it feeds ask for."""
    program, spares = model.program, model.points.problem.spares
    option, feeds = model.points.pools[place], model.feeds[place]
    needs = option.needs.values()
    fewest = max(math.ceil(sum(need.load for need in needs)), *(need.fewest for need in needs))
    most = MORE * fewest + MORE + spares
    workers = program.variable(f"prefill[{name}]", 0, most)
    model.prefill[place] = workers
    busy = {
        is_fed: -math.floor(option.needs[tier].load * RATE * (1.0 - 1e-9))
        for tier, is_fed in feeds.items()
    }
    for is_fed in feeds.values() if spares else [None]:
        spared = {} if is_fed is None else {is_fed: busy[is_fed] - spares * RATE}
        program.row("load", {workers: RATE, **busy, **spared}, least=0)
    for tier, is_fed in feeds.items():
        program.row("alone", {workers: 1, is_fed: -(option.needs[tier].fewest + spares)}, least=0)
        if option.leader not in (None, tier):
            program.row("led", {is_fed: 1, feeds[option.leader or 0]: -1}, most=0)
    there = feeds if option.leader is None else {option.leader: feeds[option.leader]}
    program.row("empty", {workers: 1, **dict.fromkeys(there.values(), -most)}, most=0)


def _sizes(model: IntegerModel, machine: int) -> dict[int, int]:
    """GPUs of a worker of each variable that counts workers on a machine [GPU]."""
    points = model.points
    every = [(place, way, gpus) for (_, way, gpus), place in model.decode.items()]
    pools = ((workers, points.pools[place]) for place, workers in model.prefill.items())
    every += [(workers, pool.way, pool.kind.gpus) for workers, pool in pools]
    ways = points.problem.ways
    return {place: gpus for place, way, gpus in every if ways[way].machine == machine}


def _add_room(
    model: IntegerModel, machine: int, sizes: Mapping[int, int], domains: Domains
) -> None:
    """Fill the domains of one machine by patterns."""
    program = model.program
    parts = {place: domains.pieces(gpus) for place, gpus in sizes.items()}
    model.filled[machine], model.large[machine] = [], domains.large
    held: list[dict[int, int]] = [{} for _ in domains.large]
    rest: dict[int, int] = {}
    for number, kind in enumerate(domains.kinds):
        filled: dict[int, int] = {}
        for pattern in kind.patterns:
            name = "+".join(
                f"{count}x{size}"
                for size, count in zip(domains.large, pattern.pieces, strict=True)
                if count
            )
            place = program.variable(
                f"domains[{machine},{number},{name or 'rest'}]", 0, len(kind.domains)
            )
            filled[place] = 1
            rest[place] = pattern.rest
            for of_size, count in zip(held, pattern.pieces, strict=True):
                of_size[place] = count
        program.row("room", filled, most=len(kind.domains))
        model.domains += filled
        model.filled[machine].append(FilledKind(kind, tuple(filled)))
    for number, of_size in enumerate(held):
        taken = {place: -pieces[number] for place, (pieces, _) in parts.items() if pieces[number]}
        program.row("pieces", {**_without_zeros(of_size), **taken}, least=0)
    small = {place: -gpus for place, (_, gpus) in parts.items() if gpus}
    program.row("rest", {**_without_zeros(rest), **small}, least=0)


def _without_zeros(terms: Terms) -> dict[int, int]:
    return {place: factor for place, factor in terms.items() if factor}


def _add_limits(model: IntegerModel) -> None:
    """Keep the budget, the power and the racks."""
    problem = model.points.problem
    if problem.max_racks is not None:
        model.program.row("racks", dict.fromkeys(model.domains, 1), most=problem.max_racks)
    limits: tuple[tuple[str, float | None, FleetObjective], ...] = (
        ("budget", problem.budget, "cost"),
        ("power", problem.max_power, "power"),
    )
    for rule, most, objective in limits:
        if most is not None:
            weighed = _weighed(model, _weights(problem, objective))
            model.program.row(rule, weighed, most=math.floor(most / MICRO))


def _weighed(model: IntegerModel, weights: Sequence[int]) -> dict[int, int]:
    """Weigh all workers, by what one GPU weighs in each way."""
    terms = {place: weights[way] * gpus for (_, way, gpus), place in model.decode.items()}
    for place, workers in model.prefill.items():
        pool = model.points.pools[place]
        terms[workers] = weights[pool.way] * pool.kind.gpus
    return _without_zeros(terms)


def _weights(problem: FleetProblem, objective: FleetObjective | None = None) -> list[int]:
    """Weigh one GPU in each way; see `FleetProblem.weight`."""
    return [problem.weight(problem.cluster(way), objective) for way in range(len(problem.ways))]
