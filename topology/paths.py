"""The load that a group of GPUs puts on the links between them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from presets import InputError
from presets.errors import shown
from topology.cluster import LINK_KINDS, Layout, LinkKind, Node

if TYPE_CHECKING:
    from collections.abc import Sequence

    import networkx as nx


@dataclass(frozen=True)
class GroupPath:
    """What the links give to a group whose GPUs all talk to each other.

    Attributes
    ----------
    gpus : int
        GPUs in the group. [GPU]
    domain_sizes : tuple of int
        GPUs of the group in each NVLink domain that it touches, largest first. [GPU]
    seconds_per_pair_byte : float
        Time of a uniform all-to-all in which each ordered pair of distinct GPUs moves one byte: the
        load of the worst link over its rate. [s/B]
    latency : float
        Of the longest shortest path between two GPUs of the group. [s]
    bottleneck : {"nvlink", "nic", "leaf_spine"} or None
        Kind of the worst link, the one nearer to the GPU where two are equal. None for one GPU.
    load_by_kind : dict
        `seconds_per_pair_byte` of the worst link of each kind, 0 where none is used. [s/B]
    nvlink_rate : float
        Rate of a GPU inside its domain. [B/s]
    nic_rate : float
        Rate that every GPU of the group has between domains when all send at once: that of the NIC
        or, where the group spans oversubscribed leaves, its share of the uplinks. [B/s]
    domain_latency : float
        Of the path between two GPUs of one domain, whether or not the group has two there. [s]
    """

    gpus: int
    domain_sizes: tuple[int, ...]
    seconds_per_pair_byte: float
    latency: float
    bottleneck: LinkKind | None
    load_by_kind: dict[LinkKind, float] = field(hash=False)
    nvlink_rate: float
    nic_rate: float
    domain_latency: float

    @property
    def domains(self) -> int:
        """NVLink domains that the group touches."""
        return len(self.domain_sizes)

    @property
    def per_gpu_rate(self) -> float:
        """What one GPU sends to all others in the all-to-all; infinite for a single GPU [B/s]."""
        if self.gpus == 1:
            return math.inf
        return (self.gpus - 1) / self.seconds_per_pair_byte


def group_path(graph: nx.DiGraph[Node], gpus: Sequence[int]) -> GroupPath:
    """Load, latency and bottleneck of a uniform all-to-all in a group of GPUs.

    Parameters
    ----------
    graph : networkx.DiGraph
        From `build_cluster`.
    gpus : sequence of int
        Distinct numbers of the group's GPUs.

    Returns
    -------
    GroupPath
        For one GPU: no load, no latency, no bottleneck.

    Raises
    ------
    InputError
        If the group is empty, names a GPU twice, or one that the cluster does not have.

    Notes
    -----
    Traffic takes the path of least latency: GPU, NVLink switch, GPU inside a domain; GPU, NIC, leaf
    (spine, leaf), NIC, GPU between domains, split evenly over the spines. GPUs do not forward for
    each other. GPUs with the same domain and leaf load their links alike, so loads are counted for
    such classes and not pair by pair. With `n` GPUs in the group, `d` of them in the GPU's domain,
    a GPU moves d - 1 bytes each way over NVLink and n - d over its NIC.
    """
    classes = _classes(graph, gpus)
    domains: Counter[int] = Counter()
    leaves: Counter[int] = Counter()
    for (domain, leaf), count in classes.items():
        domains[domain] += count
        leaves[leaf] += count
    # Bytes that each leaf's GPUs send to GPUs of other leaves and other domains.
    sent: Counter[int] = Counter()
    for (domain, leaf), count in classes.items():
        sent[leaf] += count * (len(gpus) - domains[domain] - leaves[leaf] + count)
    uplinks = {leaf: _uplinks(graph, leaf) for leaf in leaves if sent[leaf]}

    gpu: Node = ("gpu", gpus[0])
    nvlink = graph.edges[gpu, ("nvswitch", graph.nodes[gpu]["domain"])]
    nic = graph.edges[gpu, ("nic", gpus[0])]
    load: dict[LinkKind, float] = {
        "nvlink": (max(domains.values()) - 1) / nvlink["rate"],
        "nic": (len(gpus) - min(domains.values())) / nic["rate"],
        "leaf_spine": max((sent[leaf] / up.rate for leaf, up in uplinks.items()), default=0.0),
    }
    worst = max(load.values())
    # Equal loads may differ in the last bit: take the first within rounding, not the larger one.
    bottleneck = next(kind for kind in LINK_KINDS if load[kind] >= worst * (1 - 1e-12))
    latency = 0.0
    if uplinks:
        latency = 4 * nic["latency"] + 2 * max(up.latency for up in uplinks.values())
    elif len(domains) > 1:
        latency = 4 * nic["latency"]
    elif len(gpus) > 1:
        latency = 2 * nvlink["latency"]
    shares = [up.rate / leaves[leaf] for leaf, up in uplinks.items()]
    return GroupPath(
        gpus=len(gpus),
        domain_sizes=tuple(sorted(domains.values(), reverse=True)),
        seconds_per_pair_byte=worst,
        latency=latency,
        bottleneck=bottleneck if worst else None,
        load_by_kind=load,
        nvlink_rate=nvlink["rate"],
        nic_rate=min([nic["rate"], *shares]),
        domain_latency=2 * nvlink["latency"],
    )


def domain_path(layout: Layout, gpus: int) -> GroupPath:
    """Load and latency of a group inside one NVLink domain, a star whose arms are alike.

    As `group_path`, without the graph: half of the questions ask for nothing else, and networkx
    takes a tenth of the time of a short command to import.

    Parameters
    ----------
    layout : Layout
        Of the cluster.
    gpus : int
        In the group, all in one domain. [GPU]
    """
    load = (gpus - 1) / layout.nvlink_rate
    latency = 2 * (layout.nvlink_latency / 2)
    return GroupPath(
        gpus=gpus,
        domain_sizes=(gpus,),
        seconds_per_pair_byte=load,
        latency=latency if gpus > 1 else 0.0,
        bottleneck="nvlink" if gpus > 1 else None,
        load_by_kind={"nvlink": load, "nic": 0.0, "leaf_spine": 0.0},
        nvlink_rate=layout.nvlink_rate,
        nic_rate=layout.nic_rate,
        domain_latency=latency,
    )


class _Uplinks(NamedTuple):
    """All links from one leaf to the spines together."""

    rate: float  # [B/s]
    latency: float  # [s]


def _classes(graph: nx.DiGraph[Node], gpus: Sequence[int]) -> Counter[tuple[int, int]]:
    """Count the group's GPUs by (domain, leaf)."""
    class_of = graph.graph["class_of_gpu"]
    if not gpus:
        raise InputError("gpus: the group is empty; name at least one GPU")
    if len(set(gpus)) < len(gpus):
        raise InputError(f"gpus: {shown(tuple(gpus))} names a GPU twice")
    if not 0 <= min(gpus) <= max(gpus) < len(class_of):
        raise InputError(
            f"gpus: {shown(tuple(gpus))} is not within the cluster's GPUs, 0 to {len(class_of) - 1}"
        )
    return Counter(map(class_of.__getitem__, gpus))


def _uplinks(graph: nx.DiGraph[Node], leaf: int) -> _Uplinks:
    # A leaf's uplinks are alike, so the first stands for all.
    first = graph.edges[("leaf", leaf), ("spine", 0)]
    return _Uplinks(first["rate"] * graph.graph["spines"], first["latency"])
