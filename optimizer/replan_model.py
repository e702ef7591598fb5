"""The integer program of a fleet beside workers that run: which of them stay where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from optimizer.fleet_counts import Counts
from optimizer.fleet_placement import Placed, WorkerGroup, groups_of, placed, pools_of
from optimizer.fleet_points import FleetPoints, Pool, PrefillKind, sharing
from optimizer.integer_model import FilledKind, IntegerModel, integer_model
from optimizer.program import Terms
from optimizer.space import Shape
from topology import Placement

SEVERAL = -1
"""Stands for the kind of domain of workers that spread over several."""


class Running(NamedTuple):
    """Workers that run and are alike.

    Attributes
    ----------
    way : int
        Place of their machine and mode.
    tier : int
        Place of the tier that they decode for, or of one that they prefill for.
    kind : PrefillKind or Shape
        Shape of prefill workers, or of workers that decode.
    slots : int
        Of workers that decode. [1]
    placements : tuple of Placement
        One for each.
    """

    way: int
    tier: int
    kind: PrefillKind | Shape
    slots: int
    placements: tuple[Placement, ...]

    @property
    def gpus(self) -> int:
        """GPUs of one worker [GPU]."""
        return self.kind.gpus


@dataclass(frozen=True)
class KeptCounts(Counts):
    """What a plan takes, and what of that stays.

    Attributes
    ----------
    values : tuple of int
        Of all variables.
    """

    values: Sequence[int]


@dataclass
class ReplanModel(IntegerModel):
    """The program of a fleet in which some workers run.

    Attributes
    ----------
    running : sequence of Running
    goes_on : list of tuple of int
        Variables that count what workers that run may go on as.
    kept : dict
        Variable of those that stay, by their place and the kind of their domain.
    """

    running: Sequence[Running] = ()
    goes_on: list[tuple[int, ...]] = field(default_factory=list)
    kept: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def started(self) -> dict[int, int]:
        """Sum of the workers that are started, or moved [1]."""
        workers = [*self.decode.values(), *self.prefill.values()]
        return dict.fromkeys(workers, 1) | dict.fromkeys(self.kept.values(), -1)

    def counts_of(self, values: Sequence[int]) -> KeptCounts:
        """Read what the solver chose."""
        counts = super().counts_of(values)
        return KeptCounts(counts.decode, counts.prefill, values)

    def places_of(self, counts: Counts) -> dict[int, int]:
        """Give the counts of the variables that a choice is made of, those that stay included."""
        places = super().places_of(counts)
        if isinstance(counts, KeptCounts):
            places |= {place: counts.values[place] for place in self.kept.values()}
        return places

    def settle(self, fewest: int, weight: Terms) -> None:
        """Make the weight least of plans that start no more workers than some number."""
        self.program.row("fewest", self.started, most=fewest)
        self.program.minimise(weight)

    def machine_of(self, number: int) -> int:
        """Place of the machine that workers run on."""
        return self.points.problem.ways[self.running[number].way].machine

    def place(self, counts: Counts) -> Placed | None:
        """Place the workers of a choice, as many as may be where they stand."""
        pinned: dict[WorkerGroup, list[Placement]] = {}
        groups = groups_of(self.points, counts)
        room = dict(groups)
        pools = pools_of(counts)
        for number, stays in enumerate(self._staying(counts)):
            for group in groups:
                if not stays:
                    break
                if self._is(number, group, pools):
                    chosen = stays[: room[group]]
                    pinned.setdefault(group, []).extend(chosen)
                    room[group] -= len(chosen)
                    stays = stays[len(chosen) :]
        return placed(self.points, counts, pinned)

    def _is(self, number: int, group: WorkerGroup, pools: Sequence[Pool]) -> bool:
        """Whether workers that run may go on as those of a group."""
        if group.role == "prefill":
            place = self.points.option(pools[group.owner])
            return self.prefill[place] in self.goes_on[number]
        each = self.running[number]
        key = group.owner, each.way, group.gpus
        here = group.machine == self.machine_of(number)
        return here and self.decode.get(key) in self.goes_on[number]

    def _staying(self, counts: Counts) -> list[list[Placement]]:
        """Choose the workers that stay: all that may, or as the patterns of domains say."""
        if not isinstance(counts, KeptCounts):
            return [list(each.placements) for each in self.running]
        stays: list[list[Placement]] = [
            _spread(each)[: counts.values[self.kept[number, SEVERAL]]]
            if (number, SEVERAL) in self.kept
            else []
            for number, each in enumerate(self.running)
        ]
        for machine, kinds in self.filled.items():
            for place, filled in enumerate(kinds):
                self._fill(counts.values, machine, place, filled, stays)
        return stays

    def _fill(
        self,
        values: Sequence[int],
        machine: int,
        place: int,
        filled: FilledKind,
        stays: list[list[Placement]],
    ) -> None:
        """Choose those that stay in the domains of a kind, which a pattern each is given to."""
        left = {
            number: values[variable]
            for (number, kind), variable in self.kept.items()
            if kind == place and self.machine_of(number) == machine
        }
        patterns = [
            pattern
            for pattern, variable in zip(filled.kind.patterns, filled.places, strict=True)
            for _ in range(values[variable])
        ]
        for domain, pattern in zip(filled.kind.domains, patterns, strict=False):
            pieces, rest = dict(zip(self.large[machine], pattern.pieces, strict=True)), pattern.rest
            for number in left:
                gpus = self.running[number].gpus
                for each in _inside(self.running[number], domain):
                    fits = pieces[gpus] > 0 if gpus in pieces else rest >= gpus
                    if not left[number] or not fits:
                        break
                    stays[number].append(each)
                    left[number] -= 1
                    if gpus in pieces:
                        pieces[gpus] -= 1
                    else:
                        rest -= gpus


def replan_model(points: FleetPoints, running: Sequence[Running]) -> ReplanModel:
    """Write the program of a fleet in which some workers run."""
    content: dict[int, dict[int, tuple[int, ...]]] = {}
    ways = points.problem.ways
    for number, each in enumerate(running):
        here = content.setdefault(ways[each.way].machine, {})
        for stands in each.placements:
            if len(stands.domains) == 1:
                (domain,) = stands.domains
                here[domain] = (*here.get(domain, ()), number)
    model = ReplanModel(points, running=running)
    integer_model(points, model, content)
    for number, each in enumerate(running):
        model.goes_on.append(_goes_on(model, each))
        if model.goes_on[number]:
            _add_kept(model, number)
    for machine, kinds in model.filled.items():
        for place, filled in enumerate(kinds):
            _add_stays(model, machine, place, filled)
    return model


def _goes_on(model: ReplanModel, each: Running) -> tuple[int, ...]:
    """Find the variables that count what workers may go on as."""
    points = model.points
    if isinstance(each.kind, Shape):
        place = model.decode.get((each.tier, each.way, each.gpus))
        return () if place is None else (place,)
    if (each.tier, each.way) not in points.of:
        return ()
    alike = sharing(points.of[each.tier, each.way].problem)
    return tuple(
        workers
        for place, workers in model.prefill.items()
        if (points.pools[place].way, points.pools[place].kind) == (each.way, each.kind)
        and sharing(points.of[min(points.pools[place].needs), each.way].problem) == alike
    )


def _add_kept(model: ReplanModel, number: int) -> None:
    """Count those that stay, in each kind of domain."""
    program, each = model.program, model.running[number]
    for place, filled in enumerate(model.filled[model.machine_of(number)]):
        inside = sum(len(_inside(each, domain)) for domain in filled.kind.domains)
        if inside:
            name = f"kept[{number},{place}]"
            model.kept[number, place] = program.variable(name, 0, inside)
    if spread := _spread(each):
        name = f"kept[{number},several]"
        model.kept[number, SEVERAL] = program.variable(name, 0, len(spread))
    terms = {variable: 1 for (other, _), variable in model.kept.items() if other == number}
    program.row("kept", terms | dict.fromkeys(model.goes_on[number], -1), most=0)


def _add_stays(model: ReplanModel, machine: int, place: int, filled: FilledKind) -> None:
    """Let no more stay in the domains of a kind than the patterns that fill them hold."""
    here = {
        number: variable
        for (number, kind), variable in model.kept.items()
        if kind == place and model.machine_of(number) == machine
    }
    first = filled.kind.domains[0]  # what stands in one stands in all
    held = {number: len(_inside(model.running[number], first)) for number in here}
    large = model.large[machine]
    for index, size in enumerate(large):
        of_size = [number for number in here if model.running[number].gpus == size]
        for some in [[number] for number in of_size] + [of_size] * (len(of_size) > 1):
            most = sum(held[number] for number in some)
            terms = {here[number]: 1 for number in some}
            for pattern, variable in zip(filled.kind.patterns, filled.places, strict=True):
                if fits := min(most, pattern.pieces[index]):
                    terms[variable] = -fits
            model.program.row("stays", terms, most=0)
    small = {number: model.running[number].gpus for number in here}
    small = {number: gpus for number, gpus in small.items() if gpus not in large}
    if small:
        most = sum(held[number] * gpus for number, gpus in small.items())
        terms = {here[number]: gpus for number, gpus in small.items()}
        for pattern, variable in zip(filled.kind.patterns, filled.places, strict=True):
            if fits := min(most, pattern.rest):
                terms[variable] = -fits
        model.program.row("stays", terms, most=0)


def _inside(each: Running, domain: int) -> list[Placement]:
    return [stands for stands in each.placements if stands.domains == (domain,)]


def _spread(each: Running) -> list[Placement]:
    return [stands for stands in each.placements if len(stands.domains) > 1]
