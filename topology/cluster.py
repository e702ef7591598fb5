"""A cluster as a graph, derived from its facts.

Every GPU hangs on the NVLink switch of its domain and on a NIC of its own; NICs hang on leaf
switches, leaves on spines. GPUs are numbered from 0 through the domains, and leaves and servers
hold consecutive GPUs, so that every attribute follows from a GPU's number.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from presets import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import networkx as nx  # 0.1 s, and one NVLink domain needs no graph

    from presets import ClusterSpec

LinkKind = Literal["nvlink", "nic", "leaf_spine"]
Node = tuple[str, int]
Link = tuple[Node, Node, float, float, LinkKind]

LINK_KINDS: tuple[LinkKind, ...] = ("nvlink", "nic", "leaf_spine")
"""Kinds of link, from the GPU outwards."""

MAX_GPUS = 65_536
"""The largest cluster that is built. [GPU]"""

SPINE_HOP_LATENCY = 0.5e-6
"""One hop between leaf and spine, a switch and its cable: assumed. [s]

Of the order of an Ethernet switch, above what is quoted for InfiniBand ones (some 0.15 us).
Published RDMA all-to-all latencies rise smoothly from 16 to 256 GPUs, so a hop is small beside the
latency of the NICs.
"""


class Layout(NamedTuple):
    """What of a cluster its graph and its placements depend on, in plain numbers.

    Attributes
    ----------
    gpus, gpus_per_domain, gpus_per_node, gpus_per_leaf : int
        [GPU]
    spines : int
        Spine switches. [1]
    nvlink_rate, nic_rate : float
        One way, per GPU. [B/s]
    nvlink_latency, nic_latency : float
        One way, GPU to GPU. [s]
    uplink_rate : float
        One way, from a leaf to the spines together, for each GPU on the leaf. [B/s]
    """

    gpus: int
    gpus_per_domain: int
    gpus_per_node: int
    gpus_per_leaf: int
    spines: int
    nvlink_rate: float
    nic_rate: float
    nvlink_latency: float
    nic_latency: float
    uplink_rate: float

    @property
    def domain_sizes(self) -> tuple[int, ...]:
        """GPUs of every NVLink domain; the last holds what remains [GPU]."""
        return _shares(self.gpus, self.gpus_per_domain)

    @property
    def leaf_sizes(self) -> tuple[int, ...]:
        """GPUs of every leaf switch; the last holds what remains [GPU]."""
        return _shares(self.gpus, self.gpus_per_leaf)


@lru_cache(maxsize=64)
def read_layout(spec: ClusterSpec) -> Layout:
    """Take from a cluster what its links depend on.

    Parameters
    ----------
    spec : ClusterSpec
        The cluster.

    Raises
    ------
    InputError
        If the cluster has more than `MAX_GPUS` GPUs, or NVLink is not the shorter way.
    """
    if spec.gpus > MAX_GPUS:
        raise InputError(f"gpus: {spec.gpus} is not valid; a cluster has at most {MAX_GPUS} GPUs")
    machine, fabric = spec.hardware(), spec.scale_out
    nvlink_latency, nic_latency = machine.nvlink_latency.value, machine.nic_latency.value
    if nvlink_latency >= nic_latency:
        raise InputError(
            f"nvlink_latency: {nvlink_latency:g} s is not valid; it must be below nic_latency, "
            f"{nic_latency:g} s, since GPUs of one domain talk over NVLink"
        )
    return Layout(
        gpus=spec.gpus,
        gpus_per_domain=int(machine.gpus_per_domain.value),
        gpus_per_node=int(machine.gpus_per_node.value),
        gpus_per_leaf=fabric.gpus_per_leaf,
        spines=fabric.spines,
        nvlink_rate=machine.nvlink_rate.value,
        nic_rate=machine.nic_rate.value,
        nvlink_latency=nvlink_latency,
        nic_latency=nic_latency,
        uplink_rate=machine.nic_rate.value / fabric.oversubscription,
    )


def build_cluster(spec: ClusterSpec) -> nx.DiGraph[Node]:
    """Derive the graph of a cluster.

    Parameters
    ----------
    spec : ClusterSpec
        The machine, how many GPUs, and the fabric between NVLink domains.

    Returns
    -------
    networkx.DiGraph
        Frozen, nodes and edges sorted. A node is ``(kind, index)`` with kind ``gpu``, ``nvswitch``
        (one logical switch per NVLink domain), ``nic`` (one per GPU), ``leaf`` or ``spine``, again
        as its attribute ``kind``; a GPU also has ``domain``, ``node`` (server), ``rank`` (place in
        its domain) and ``leaf``. Every link is two edges, one per direction, with ``rate`` [B/s],
        ``latency`` [s] and ``kind`` (``nvlink``, ``nic``, ``leaf_spine``).

    Raises
    ------
    InputError
        If the cluster has more than `MAX_GPUS` GPUs, or NVLink is not the shorter way.

    Notes
    -----
    The fabric, unless the cluster says otherwise, is that of `presets.ScaleOut`: non-blocking.
    Spines exist only above two or more leaves. The uplinks of a leaf carry the sum of the NIC rates
    below it over the oversubscription, shared evenly by the spines. The latencies of a machine are
    those of a whole path between two GPUs, spread evenly over its hops: two over NVLink, four over
    NICs and one leaf; a way over a spine has two hops of `SPINE_HOP_LATENCY` more. A GPU-to-NIC
    link is taken as fast as the NIC.
    """
    import networkx as nx  # 0.1 s, and one NVLink domain needs no graph

    layout = read_layout(spec)
    graph: nx.DiGraph[Node] = nx.DiGraph()
    for node, attributes in sorted(_nodes(layout), key=lambda entry: entry[0]):
        graph.add_node(node, kind=node[0], **attributes)
    for tail, head, rate, latency, kind in sorted(_links(layout)):
        graph.add_edge(tail, head, rate=rate, latency=latency, kind=kind)
    # What decides a GPU's share of the load, GPU by GPU: two with equal entries are alike.
    graph.graph["class_of_gpu"] = tuple(
        (gpu // layout.gpus_per_domain, gpu // layout.gpus_per_leaf) for gpu in range(layout.gpus)
    )
    graph.graph["spines"] = layout.spines
    nx.freeze(graph)
    return graph


@lru_cache(maxsize=4)
def cached_cluster(spec: ClusterSpec) -> nx.DiGraph[Node]:
    """Derive the graph of a cluster once; as `build_cluster`, for those who only read it."""
    return build_cluster(spec)


def _shares(total: int, each: int) -> tuple[int, ...]:
    return tuple(min(each, total - first) for first in range(0, total, each))


def _nodes(layout: Layout) -> Iterator[tuple[Node, dict[str, int]]]:
    for gpu in range(layout.gpus):
        domain, rank = divmod(gpu, layout.gpus_per_domain)
        leaf, node = gpu // layout.gpus_per_leaf, gpu // layout.gpus_per_node
        yield ("gpu", gpu), {"domain": domain, "node": node, "rank": rank, "leaf": leaf}
        yield ("nic", gpu), {}
    leaves = len(layout.leaf_sizes)
    switches = {
        "nvswitch": len(layout.domain_sizes),
        "leaf": leaves,
        "spine": layout.spines if leaves > 1 else 0,
    }
    for kind, count in switches.items():
        yield from (((kind, index), {}) for index in range(count))


def _links(layout: Layout) -> Iterator[Link]:
    """Every link, in both directions."""
    for inner, outer, rate, latency, kind in _cables(layout):
        yield inner, outer, rate, latency, kind
        yield outer, inner, rate, latency, kind


def _cables(layout: Layout) -> Iterator[Link]:
    """Every link once, from the GPU outwards."""
    nvlink_hop, nic_hop = layout.nvlink_latency / 2, layout.nic_latency / 4
    for gpu in range(layout.gpus):
        switch, leaf = gpu // layout.gpus_per_domain, gpu // layout.gpus_per_leaf
        yield ("gpu", gpu), ("nvswitch", switch), layout.nvlink_rate, nvlink_hop, "nvlink"
        yield ("gpu", gpu), ("nic", gpu), layout.nic_rate, nic_hop, "nic"
        yield ("nic", gpu), ("leaf", leaf), layout.nic_rate, nic_hop, "nic"
    leaves = layout.leaf_sizes
    for leaf, gpus in enumerate(leaves if len(leaves) > 1 else ()):
        rate = gpus * layout.uplink_rate / layout.spines
        for spine in range(layout.spines):
            yield ("leaf", leaf), ("spine", spine), rate, SPINE_HOP_LATENCY, "leaf_spine"
