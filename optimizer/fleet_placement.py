"""Where the workers of a fleet stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from optimizer.fleet_counts import Counts
from optimizer.fleet_points import FleetPoints, Pool
from optimizer.placement import PlacedWorker, Role
from presets import InputError
from topology import Placement, pack_workers


def pools_of(counts: Counts) -> list[Pool]:
    """List the prefill pools that a plan has; their order numbers them."""
    return [pool for pool in counts.prefill if not pool.is_own]


class Placed(NamedTuple):
    """Where the workers of a plan stand.

    Attributes
    ----------
    workers : tuple of PlacedWorker
    kept : int
        How many of them stand as they stood before: the first ones. [1]
    """

    workers: tuple[PlacedWorker, ...]
    kept: int = 0


class WorkerGroup(NamedTuple):
    """Workers of a plan that are alike.

    Attributes
    ----------
    role : {"prefill", "decode", "both"}
    owner : int
        Place of the tier, or of the pool among those of the plan.
    machine : int
        Its place.
    gpus : int
        Of one worker. [GPU]
    """

    role: Role
    owner: int
    machine: int
    gpus: int


def groups_of(points: FleetPoints, counts: Counts) -> dict[WorkerGroup, int]:
    """Count the workers of each kind that a plan has [1]."""
    ways = points.problem.ways
    found = {
        WorkerGroup(
            "both" if ways[way].is_aggregated else "decode", tier, ways[way].machine, gpus
        ): count
        for (tier, way, gpus), count in counts.decode.items()
    }
    for number, pool in enumerate(pools_of(counts)):
        group = WorkerGroup("prefill", number, ways[pool.way].machine, pool.kind.gpus)
        found[group] = counts.prefill[pool]
    return found


def placed(
    points: FleetPoints,
    counts: Counts,
    pinned: Mapping[WorkerGroup, Sequence[Placement]] = MappingProxyType({}),
) -> Placed | None:
    """Place workers side by side, the largest first; None where one finds no room.

    The `replica` of a worker is the number of its tier, or of its pool in the plan, from 1.

    Parameters
    ----------
    points : FleetPoints
    counts : Counts
    pinned : mapping, optional
        Where some workers of a group stand already.
    """
    kept: list[PlacedWorker] = []
    others: list[PlacedWorker] = []
    groups = groups_of(points, counts)
    for machine, cluster in enumerate(points.problem.machines):
        here = {group: count for group, count in groups.items() if group.machine == machine}
        stays = [each.gpus for group in here for each in pinned.get(group, ())]
        taken = points.problem.lost_of(machine).union(*stays)
        sizes = [
            group.gpus
            for group, count in here.items()
            for _ in range(count - len(pinned.get(group, ())))
        ]
        try:
            places = iter(pack_workers(cluster, sizes, taken))
        except InputError:
            return None
        numbers: Counter[tuple[Role, int]] = Counter()
        for group, count in here.items():
            stay = pinned.get(group, ())
            for number in range(count):
                numbers[group.role, group.owner] += 1
                whose = group.role, group.owner + 1, numbers[group.role, group.owner], cluster
                if number < len(stay):
                    kept.append(PlacedWorker(*whose, stay[number]))
                else:
                    others.append(PlacedWorker(*whose, next(places)))
    workers = (*kept, *others)
    racks = {(each.cluster, domain) for each in workers for domain in each.placement.domains}
    if len(racks) > (points.problem.max_racks or len(racks)):
        return None
    return Placed(workers, len(kept))
