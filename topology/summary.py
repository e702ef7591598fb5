"""A cluster in a few tables: what `moeplan topology show` prints."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from presets import InputError
from topology.build import cached_fabric, cut_off
from topology.cluster import LINK_KINDS, PICOSECOND, Layout, LinkKind, out_of_use, read_layout
from topology.paths import GroupPath
from topology.placement import group_table

if TYPE_CHECKING:
    from presets import ClusterSpec
    from topology.fabric import Fabric


@dataclass(frozen=True)
class DomainGroup:
    """NVLink domains of one size.

    Attributes
    ----------
    domains : int
        How many there are.
    gpus : int
        GPUs of each. [GPU]
    """

    domains: int
    gpus: int


@dataclass(frozen=True)
class LinkGroup:
    """Links that are alike.

    Attributes
    ----------
    kind : {"nvlink", "nic", "leaf_spine"}
        Kind of link.
    count : int
        How many there are, each direction counted.
    rate : float
        One way. [B/s]
    latency : float
        Of this link; of a NIC's from the GPU to its leaf switch. [s]
    """

    kind: LinkKind
    count: int
    rate: float
    latency: float


@dataclass(frozen=True)
class GroupRate:
    """What a group of GPUs gets from the cluster.

    Attributes
    ----------
    gpus : int
        GPUs in the group: its EP width. [GPU]
    domains : int
        NVLink domains that it touches.
    per_gpu_rate : float
        What one GPU sends to all others in a uniform all-to-all. [B/s]
    latency : float
        Of the longest path in the group. [s]
    bottleneck : {"nvlink", "nic", "leaf_spine"} or None
        Kind of the worst link.
    """

    gpus: int
    domains: int
    per_gpu_rate: float
    latency: float
    bottleneck: LinkKind | None


@dataclass(frozen=True)
class ClusterSummary:
    """A cluster in a few tables.

    Attributes
    ----------
    gpus : int
        GPUs in all. [GPU]
    gpus_per_node : int
        GPUs of a server. [GPU]
    domains : tuple of DomainGroup
        NVLink domains, the largest first.
    unusable : dict
        GPUs that no worker gets, by why: "reserved or failed", and "cut off" from the fabric. [GPU]
    links : tuple of LinkGroup
        Links, from the GPU outwards.
    groups : tuple of GroupRate
        All-to-all rates, the smallest group first.
    """

    gpus: int
    gpus_per_node: int
    domains: tuple[DomainGroup, ...]
    unusable: dict[str, int]
    links: tuple[LinkGroup, ...]
    groups: tuple[GroupRate, ...]


def summarize_cluster(spec: ClusterSpec) -> ClusterSummary:
    """Describe a cluster: its domains, its links, and what groups of GPUs get from it.

    Parameters
    ----------
    spec : ClusterSpec
        The cluster.

    Returns
    -------
    ClusterSummary
        With groups of 4, 8, 16 and so on, of a whole domain and of the whole cluster, of those
        that find room.

    Raises
    ------
    InputError
        If the cluster cannot be built; see `topology.cluster.read_layout`.
    """
    layout = read_layout(spec)
    sizes = Counter(layout.domain_sizes)
    links = _links(cached_fabric(spec))
    outwards = sorted(
        links.items(), key=lambda entry: (LINK_KINDS.index(entry[0][0]), entry[0][1:])
    )
    return ClusterSummary(
        gpus=spec.gpus,
        gpus_per_node=layout.gpus_per_node,
        domains=tuple(DomainGroup(sizes[gpus], gpus) for gpus in sorted(sizes, reverse=True)),
        unusable={"reserved or failed": len(out_of_use(spec)), "cut off": len(cut_off(spec))},
        links=tuple(
            LinkGroup(kind, 2 * count, rate, latency * PICOSECOND)
            for (kind, rate, latency), count in outwards
        ),
        groups=tuple(
            GroupRate(size, path.domains, path.per_gpu_rate, path.latency, path.bottleneck)
            for size, path in _group_paths(spec, _group_sizes(layout)).items()
        ),
    )


def _group_paths(spec: ClusterSpec, sizes: list[int]) -> dict[int, GroupPath]:
    if spec.is_whole:
        return group_table(spec, sizes)
    found: dict[int, GroupPath] = {}
    for size in sorted(set(sizes)):
        try:
            found |= group_table(spec, [size])
        except InputError:  # no room between what is out of use
            continue
    return found


def _links(fabric: Fabric) -> Counter[tuple[LinkKind, float, int]]:
    """Count links by kind, rate [B/s] and latency [ps]."""
    links: Counter[tuple[LinkKind, float, int]] = Counter()
    for plane in (fabric.scale_up, fabric.scale_out):
        numbers, counts = np.unique(plane.of_gpu[plane.of_gpu >= 0], return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            for port in plane.attachments[number]:
                links[plane.kind, port.rate, port.latency] += count
        for *_, cables in plane.graph.edges(data=True):
            links[cables["kind"], cables["rate"], cables["latency"]] += cables["cables"]
    return links


def _group_sizes(layout: Layout) -> list[int]:
    """Powers of two from 4, a domain and the cluster; never 1, which moves nothing."""
    powers = [2**i for i in range(2, layout.gpus.bit_length())]
    return [n for n in [*powers, layout.gpus_per_domain, layout.gpus] if 2 <= n <= layout.gpus]
