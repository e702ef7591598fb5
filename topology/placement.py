"""Which GPUs a worker gets, and so which NVLink domains it touches."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import accumulate, groupby, islice
from typing import TYPE_CHECKING, NamedTuple

from presets import InputError
from topology.cluster import Layout, out_of_use, read_layout
from topology.paths import GroupPath, domain_path, group_paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from presets import ClusterSpec


NOTHING = frozenset[int]()


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


@lru_cache(maxsize=64)
def unusable(spec: ClusterSpec) -> frozenset[int]:
    """Numbers of the GPUs that no worker gets: out of use, or without the others in reach."""
    away = out_of_use(spec)
    if spec.is_whole:
        return away
    # The graph needs networkx, which takes 0.1 s; whole clusters do without.
    from topology.build import cut_off

    return away | cut_off(spec)


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


def pack_workers(
    spec: ClusterSpec, sizes: Sequence[int], taken: frozenset[int] = NOTHING
) -> tuple[Placement, ...]:
    """Place several workers side by side, the largest first, each in the first domain with room.

    A worker larger than a domain takes whole domains, and room for the rest in one more. Within a
    domain a worker larger than a server takes servers that are empty; a smaller one does not
    straddle two.

    Parameters
    ----------
    spec : ClusterSpec
        The cluster.
    sizes : sequence of int
        Size of each worker. [GPU]
    taken : frozenset of int, optional
        Numbers of GPUs that these workers cannot have.

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
    usable = spec.gpus - len(unusable(spec) | taken)
    if sum(sizes) > usable:
        raise InputError(
            f"sizes: {len(sizes)} workers need {sum(sizes)} GPUs; the cluster has {usable}"
        )
    pieces = [
        (piece, worker)
        for worker, size in enumerate(sizes)
        for piece in pieces_of(size, layout.gpus_per_domain)
    ]
    free: list[list[Server]] = []
    more = _free_servers(spec, taken)  # opened one by one: those beyond the last stay empty
    placed: list[list[int]] = [[] for _ in sizes]
    # Of equal pieces those of the larger worker come first: its domains then share leaf switches.
    pieces.sort(key=lambda entry: (-entry[0], -sizes[entry[1]], entry[1]))
    for size, equal in groupby(pieces, key=lambda entry: entry[0]):
        domain = 0
        for _, worker in equal:
            while True:
                if domain == len(free):
                    free += islice(more, 1)
                if domain == len(free):
                    raise InputError(f"sizes: no NVLink domain has room left for {size} GPUs")
                if gpus := _take(free[domain], size, layout.server):
                    break
                domain += 1  # without room for this size now, without room later
            placed[worker] += gpus
    return tuple(_placement(layout, each) for each in placed)


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
    group = place_group(spec, size) if spec.is_whole else pack_workers(spec, [size])[0].gpus
    return placed_paths(spec, [group])[0]


Workers = tuple[int, int]
"""Size of a worker [GPU], and how many."""


def shares_links(spec: ClusterSpec) -> bool:
    """Whether workers may slow each other, or have other links elsewhere, by how they stand.

    In two tiers that are not oversubscribed no cable carries more than the NICs below it send.
    """
    layout = read_layout(spec)
    if not spec.is_whole or not spec.scale_out.has_two_tiers:
        return True
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
    inside = spec.is_whole and all(size <= domain for size, _ in groups)
    if inside or not shares_links(spec):
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
    crossing = [
        place
        for place, gpus in enumerate(placed)
        if (layout.torus and len(gpus) > 1)  # whose links depend on where its GPUs stand
        or layout.domain_of(gpus[0]) != layout.domain_of(gpus[-1])
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


def pieces_of(size: int, domain: int) -> list[int]:
    """Split a worker's size into whole domains and the rest [GPU].

    >>> pieces_of(20, 8), pieces_of(4, 8)
    ([8, 8, 4], [4])
    """
    whole, rest = divmod(size, domain)
    return [domain] * whole + [rest] * (rest > 0)


Server = range | tuple[int, ...]
"""Free GPUs of a server, rising; a range while it is whole and nobody has any of it."""


def _free_servers(spec: ClusterSpec, taken: frozenset[int]) -> Iterator[list[Server]]:
    """Free GPUs of every server, domain by domain."""
    layout, away = read_layout(spec), unusable(spec) | taken
    for domain in range(len(layout.domain_sizes)):
        gpus, step = layout.gpus_of(domain), layout.server
        servers = (gpus[first : first + step] for first in range(0, len(gpus), step))
        yield [
            tuple(gpu for gpu in server if gpu not in away)
            if away and not away.isdisjoint(server)
            else server
            for server in servers
        ]


Domain = tuple[tuple[int, bool], ...]
"""Of each server of a domain the free GPUs [GPU], and whether it is whole."""


def domains_by_kind(spec: ClusterSpec, taken: frozenset[int] = NOTHING) -> dict[Domain, list[int]]:
    """Sort the NVLink domains of a cluster by what is free in them beside GPUs that are taken.

    Examples
    --------
    >>> from presets import default_cluster
    >>> for servers, numbers in domains_by_kind(default_cluster("b200", 20)).items():
    ...     print(servers, numbers)
    ((8, True),) [0, 1]
    ((4, True),) [2]
    """
    found: dict[Domain, list[int]] = {}
    for number, servers in enumerate(_free_servers(spec, taken)):
        kind = tuple((len(server), isinstance(server, range)) for server in servers)
        found.setdefault(kind, []).append(number)
    return found


def _placement(layout: Layout, gpus: list[int]) -> Placement:
    domains = sorted({layout.domain_of(gpu) for gpu in gpus})
    return Placement(gpus=tuple(sorted(gpus)), domains=tuple(domains))


def _take(servers: list[Server], size: int, gpus_per_server: int) -> list[int]:
    """Take GPUs out of one domain's servers and return them; none where there is no room.

    More than a server holds come from servers that are whole and untouched: ranges.
    """
    if size <= gpus_per_server:
        chosen = [i for i, server in enumerate(servers) if len(server) >= size][:1]
    else:
        chosen = [i for i, server in enumerate(servers) if server and isinstance(server, range)]
    if sum(len(servers[i]) for i in chosen) < size:
        return []
    gpus: list[int] = []
    for i in chosen:
        if len(gpus) == size:
            break
        taken = servers[i][: size - len(gpus)]
        servers[i] = tuple(servers[i][len(taken) :])
        gpus += taken
    return gpus
