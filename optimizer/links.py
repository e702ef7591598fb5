"""Links of the workers of every fleet, placed side by side.

Workers of one size that stand beside others have other links than alone where they share cables
that are oversubscribed: as different workers they are searched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product

from optimizer.placement import NOBODY, Group, packs
from optimizer.problem import Problem
from optimizer.resources import Resources
from optimizer.space import Shape, Space
from presets import ClusterSpec
from topology import GroupPath, fleet_paths, group_table, shares_links

WIDER = 4
"""Doublings beyond the largest prefill worker of a space that are tried where none of it fits."""

Fleet = tuple[Group, Group]
"""Decode and prefill workers; those that do both are decode, and prefill has none."""


@dataclass(frozen=True)
class Links:
    """What fleets give their workers.

    Attributes
    ----------
    decode, prefill : dict
        From size of a worker to the distinct paths that it has in fleets.
    of_fleet : dict
        Place of a fleet's paths among those, decode first.
    """

    decode: dict[int, list[GroupPath]] = field(default_factory=dict)
    prefill: dict[int, list[GroupPath]] = field(default_factory=dict)
    of_fleet: dict[Fleet, tuple[int, int]] = field(default_factory=dict)


def links_of(problem: Problem) -> Links | None:
    """Find the links of all fleets of a problem; None where they depend on the sizes alone."""
    resources = problem.resources
    if not any(map(shares_links, {resources.cluster, resources.prefill_on})):
        return None
    return _links(resources, problem.limits.max_gpus, problem.space, problem.is_aggregated)


def apart_by_links(
    shapes: Sequence[Shape], known: Mapping[int, Sequence[GroupPath]] | None
) -> list[Shape]:
    """Tell workers of a size apart by each of the links `known` of it; as they are where none."""
    if known is None:
        return list(shapes)
    return [
        shape._replace(links=place)
        for shape in shapes
        for place in range(len(known.get(shape.gpus, ())))
    ]


def wider_sizes(space: Space) -> list[int]:
    """Sizes of prefill workers beyond the space, for weights too large for it [GPU]."""
    return [max(space.prefill_gpus) * 2**power for power in range(1, WIDER + 1)]


@lru_cache(maxsize=8)
def _links(resources: Resources, most: int, space: Space, is_aggregated: bool) -> Links:
    links = Links()
    clusters = resources.cluster, resources.prefill_cluster
    for decode, prefill in _fleets(resources, most, space, is_aggregated):
        here, there = fleet_paths(*clusters, decode, prefill)
        places = _place(links.decode, decode[0], here), _place(links.prefill, prefill[0], there)
        links.of_fleet[decode, prefill] = places
    _add_alone(links.decode, space.decode_gpus, resources.cluster)
    _add_alone(links.prefill, [*space.prefill_gpus, *wider_sizes(space)], resources.prefill_on)
    return links


def _add_alone(
    known: dict[int, list[GroupPath]], sizes: Iterable[int], cluster: ClusterSpec
) -> None:
    """Give workers that are in no fleet the links that they have alone."""
    for size in sizes:
        if size not in known and packs(cluster, (size, 1), NOBODY):
            known[size] = [group_table(cluster, [size])[size]]


def _fleets(resources: Resources, most: int, space: Space, is_aggregated: bool) -> Iterable[Fleet]:
    """Every fleet within the GPU budget that finds room."""
    decode = list(product(space.decode_gpus, space.decode_workers))
    prefill: list[Group] = [(0, 0)]
    if not is_aggregated:
        sizes = [*space.prefill_gpus, *wider_sizes(space)]
        prefill = list(product(sizes, space.prefill_workers))
    for here, there in product(decode, prefill):
        if here[0] * here[1] + there[0] * there[1] <= most and resources.has_room(here, there):
            yield here, there


def _place(known: dict[int, list[GroupPath]], size: int, path: GroupPath) -> int:
    paths = known.setdefault(size, [])
    if path not in paths:
        paths.append(path)
    return paths.index(path)
