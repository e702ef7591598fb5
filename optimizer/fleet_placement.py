"""Where the workers of a fleet stand."""

from __future__ import annotations

from collections import Counter

from optimizer.fleet_points import FleetPoints
from optimizer.integer_model import Counts
from optimizer.placement import PlacedWorker, Role
from presets import InputError
from topology import pack_workers


def pools_of(points: FleetPoints, counts: Counts) -> list[int]:
    """Places of the prefill pools that a plan has; their order numbers them."""
    return [pool for pool in counts.prefill if not points.pools[pool].is_own]


def placed(points: FleetPoints, counts: Counts) -> tuple[PlacedWorker, ...] | None:
    """Place all workers side by side, the largest first; None where one finds no room.

    The `replica` of a worker is the number of its tier, or of its pool in the plan, from 1.
    """
    found: list[PlacedWorker] = []
    ways = points.problem.ways
    for machine, cluster in enumerate(points.problem.machines):
        groups: list[tuple[Role, int, int, int]] = [
            ("both" if ways[way].is_aggregated else "decode", tier, gpus, count)
            for (tier, way, gpus), count in counts.decode.items()
            if ways[way].machine == machine
        ]
        groups += [
            ("prefill", number, points.pools[pool].kind.gpus, counts.prefill[pool])
            for number, pool in enumerate(pools_of(points, counts))
            if ways[points.pools[pool].way].machine == machine
        ]
        sizes = [gpus for _, _, gpus, count in groups for _ in range(count)]
        try:
            places = iter(pack_workers(cluster, sizes))
        except InputError:
            return None
        numbers: Counter[tuple[Role, int]] = Counter()
        for role, owner, _, count in groups:
            for _ in range(count):
                numbers[role, owner] += 1
                number = numbers[role, owner]
                found.append(PlacedWorker(role, owner + 1, number, cluster, next(places)))
    return tuple(found)
