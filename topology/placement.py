"""Which GPUs a worker gets, and so which NVLink domains it touches."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, NamedTuple

from presets import InputError
from topology.cluster import Layout, read_layout
from topology.paths import GroupPath, domain_path, group_paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from presets import ClusterSpec


class Placement(NamedTuple):
    """The GPUs of one worker.

    Attributes
    ----------
    gpus : tuple of int
        Numbers of the GPUs, rising.
    domains : tuple of int
        NVLink domains that they lie in, rising.
    """

    gpus: tuple[int, ...]
    domains: tuple[int, ...]


def place_group(spec: ClusterSpec, gpus_in_group: int, first_gpu: int = 0) -> tuple[int, ...]:
    """Place one group on consecutive GPUs, at the first fit place.

    A group never straddles two servers, or two NVLink domains, where it fits into one: it then
    starts at the next. A group larger than a server starts at a server, one larger than a domain at
    a domain.

    Parameters
    ----------
    spec : ClusterSpec
        The cluster.
    gpus_in_group : int
        Size of the group. [GPU]
    first_gpu : int, optional
        GPUs before this one are taken.

    Returns
    -------
    tuple of int
        Numbers of the GPUs.

    Raises
    ------
    InputError
        If the size or the first GPU is not valid, or too few GPUs follow.
    """
    layout = read_layout(spec)
    _check_size(spec, gpus_in_group)
    if not 0 <= first_gpu < spec.gpus:
        raise InputError(f"first_gpu: {first_gpu} is not valid; give 0 to {spec.gpus - 1}")
    start = first_gpu
    for unit in (layout.gpus_per_node, layout.gpus_per_domain):
        if start % unit + gpus_in_group > unit:
            start = -(-start // unit) * unit
    if start + gpus_in_group > spec.gpus:
        raise InputError(
            f"gpus_in_group: {gpus_in_group} GPUs do not fit from GPU {start} on; "
            f"the cluster has {spec.gpus}"
        )
    return tuple(range(start, start + gpus_in_group))


def pack_workers(spec: ClusterSpec, sizes: Sequence[int]) -> tuple[Placement, ...]:
    """Place several workers side by side, the largest first, each in the first domain with room.

    A worker larger than a domain takes whole domains, and room for the rest in one more. Within a
    domain a worker larger than a server takes servers that are empty; a smaller one does not
    straddle two.

    Parameters
    ----------
    spec : ClusterSpec
        The cluster, empty.
    sizes : sequence of int
        Size of each worker. [GPU]

    Returns
    -------
    tuple of Placement
        One per worker, in the order of `sizes`.

    Raises
    ------
    InputError
        If a size is not valid, or a worker finds no room.

    Notes
    -----
    First fit by falling size is exact for workers of powers of two no larger than a domain; for odd
    mixtures it may miss a packing that exists.
    """
    layout = read_layout(spec)
    for size in sizes:
        _check_size(spec, size)
    if sum(sizes) > spec.gpus:
        raise InputError(
            f"sizes: {len(sizes)} workers need {sum(sizes)} GPUs; the cluster has {spec.gpus}"
        )
    pieces = [
        (piece, worker)
        for worker, size in enumerate(sizes)
        for piece in _pieces(size, layout.gpus_per_domain)
    ]
    # A piece opens one domain at most: those beyond stay empty.
    free = _free_servers(layout, len(pieces))
    placed: list[list[int]] = [[] for _ in sizes]
    # Of equal pieces those of the larger worker come first: its domains then share leaf switches.
    pieces.sort(key=lambda entry: (-entry[0], -sizes[entry[1]], entry[1]))
    for size, equal in groupby(pieces, key=lambda entry: entry[0]):
        domain = 0
        for _, worker in equal:
            while domain < len(free) and not (
                taken := _take(free[domain], size, layout.gpus_per_node)
            ):
                domain += 1  # without room for this size now, without room later
            if domain == len(free):
                raise InputError(f"sizes: no NVLink domain has room left for {size} GPUs")
            placed[worker] += taken
    return tuple(_placement(layout, gpus) for gpus in placed)


def group_table(spec: ClusterSpec, sizes: Iterable[int]) -> dict[int, GroupPath]:
    """Paths of one worker of each size, alone in the cluster.

    Parameters
    ----------
    spec : ClusterSpec
        The cluster.
    sizes : iterable of int
        Sizes of worker. [GPU]

    Returns
    -------
    dict
        From size to `GroupPath`, sizes rising.

    Raises
    ------
    InputError
        If a size is not valid for the cluster.

    Notes
    -----
    The graph and each size are computed once per cluster and kept.
    """
    return {size: _path_of_size(spec, size) for size in sorted(set(sizes))}


@lru_cache(maxsize=4096)
def _path_of_size(spec: ClusterSpec, size: int) -> GroupPath:
    layout, group = read_layout(spec), place_group(spec, size)
    if group[0] // layout.gpus_per_domain == group[-1] // layout.gpus_per_domain:
        return domain_path(layout, size)
    return group_paths(spec, [group])[0]


Workers = tuple[int, int]
"""Size of a worker [GPU], and how many."""


def shares_links(spec: ClusterSpec) -> bool:
    """Whether workers may slow each other, or have other links elsewhere, by how they stand.

    In a fabric that is not oversubscribed no cable carries more than the NICs below it send.
    """
    layout = read_layout(spec)
    return layout.uplink_rate < layout.nic_rate and len(layout.leaf_sizes) > 1


@lru_cache(maxsize=65536)
def worker_paths(spec: ClusterSpec, groups: tuple[Workers, ...]) -> tuple[GroupPath, ...]:
    """Paths of the slowest worker of each group, all workers side by side and at work.

    Parameters
    ----------
    spec : ClusterSpec
        The cluster.
    groups : tuple of (int, int)
        Sizes of workers [GPU], and how many of each. [1]

    Returns
    -------
    tuple of GroupPath
        One for each group. Workers that cannot slow each other need no room.

    Raises
    ------
    InputError
        If a size is not valid, or a worker finds no room.
    """
    domain = read_layout(spec).gpus_per_domain
    if not shares_links(spec) or all(size <= domain for size, _ in groups):
        table = group_table(spec, [size for size, _ in groups])
        return tuple(table[size] for size, _ in groups)
    sizes = [size for size, count in groups for _ in range(count)]
    paths = placed_paths(spec, [each.gpus for each in pack_workers(spec, sizes)])
    ends = list(accumulate(count for _, count in groups))
    starts = [0, *ends[:-1]]
    return tuple(
        max(paths[start:end], key=lambda path: path.seconds_per_pair_byte)
        for start, end in zip(starts, ends, strict=True)
    )


def fleet_paths(
    spec: ClusterSpec, prefill_spec: ClusterSpec | None, decode: Workers, prefill: Workers
) -> tuple[GroupPath, GroupPath]:
    """Paths of the slowest decode and the slowest prefill worker of a fleet; see `worker_paths`.

    Parameters
    ----------
    spec, prefill_spec : ClusterSpec
        Where the fleet stands, and its prefill workers where that is elsewhere.
    decode, prefill : tuple of (int, int)
        Size of a worker [GPU], and how many; no prefill workers where decode workers do both. [1]
    """
    if not prefill[1]:
        (both,) = worker_paths(spec, (decode,))
        return both, both
    if prefill_spec is None:
        here, there = worker_paths(spec, (decode, prefill))
        return here, there
    return worker_paths(spec, (decode,))[0], worker_paths(prefill_spec, (prefill,))[0]


def placed_paths(spec: ClusterSpec, placed: Sequence[tuple[int, ...]]) -> list[GroupPath]:
    """Paths of workers that are all at work, each on its GPUs; `GroupPath.shared_with` are places.

    Raises
    ------
    InputError
        If a worker is not valid; see `group_paths`.
    """
    layout = read_layout(spec)
    domain = layout.gpus_per_domain
    crossing = [
        place for place, gpus in enumerate(placed) if gpus[0] // domain != gpus[-1] // domain
    ]
    found = {
        place: replace(path, shared_with=tuple(crossing[each] for each in path.shared_with))
        for place, path in zip(
            crossing,
            group_paths(spec, [placed[each] for each in crossing]) if crossing else (),
            strict=True,
        )
    }
    return [
        found[place] if place in found else domain_path(layout, len(gpus))
        for place, gpus in enumerate(placed)
    ]


def _check_size(spec: ClusterSpec, size: int) -> None:
    if not 1 <= size <= spec.gpus:
        raise InputError(f"group size: {size} GPUs is not valid; give 1 to {spec.gpus}")


def _pieces(size: int, domain: int) -> list[int]:
    """Split a worker's size into whole domains and the rest."""
    whole, rest = divmod(size, domain)
    return [domain] * whole + [rest] * (rest > 0)


def _free_servers(layout: Layout, domains: int) -> list[list[range]]:
    """Free GPUs of every server of the first domains, domain by domain."""
    free, step = [], layout.gpus_per_node
    end = min(layout.gpus, domains * layout.gpus_per_domain)
    for first in range(0, end, layout.gpus_per_domain):
        last = min(first + layout.gpus_per_domain, layout.gpus)
        free.append([range(a, min(a + step, last)) for a in range(first, last, step)])
    return free


def _placement(layout: Layout, gpus: list[int]) -> Placement:
    domains = sorted({gpu // layout.gpus_per_domain for gpu in gpus})
    return Placement(gpus=tuple(sorted(gpus)), domains=tuple(domains))


def _take(servers: list[range], size: int, gpus_per_node: int) -> list[int]:
    """Take GPUs out of one domain's servers and return them; none where there is no room."""
    if size <= gpus_per_node:
        chosen = [i for i, server in enumerate(servers) if len(server) >= size][:1]
    else:
        # GPUs are taken from the front, so an untouched server still starts where servers do.
        chosen = [
            i for i, server in enumerate(servers) if server and not server.start % gpus_per_node
        ]
    if sum(len(servers[i]) for i in chosen) < size:
        return []
    gpus: list[int] = []
    for i in chosen:
        taken = servers[i][: size - len(gpus)]
        servers[i] = servers[i][len(taken) :]
        gpus += taken
    return gpus
