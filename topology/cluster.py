"""What of a cluster its links and placements depend on, in plain numbers.

GPUs are numbered from 0 through the domains, and leaves and servers hold consecutive GPUs, so that
every attribute follows from a GPU's number.
"""

from __future__ import annotations

import math
from bisect import bisect
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple

from presets import InputError
from presets.parts import parts_of
from presets.scale_out import MAX_GPUS

if TYPE_CHECKING:
    from presets import ClusterSpec

LinkKind = Literal["nvlink", "nic", "leaf_spine", "spine_core", "hall"]
LINK_KINDS: tuple[LinkKind, ...] = (
    "nvlink",
    "nic",
    "leaf_spine",
    "spine_core",
    "hall",
)
"""Kinds of link, from the GPU outwards."""

PICOSECOND = 1e-12
"""Latencies of links are whole picoseconds, so that paths of equal cost are equal. [s]"""

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
    sizes : tuple of int
        GPUs of each domain where they differ, else empty. [GPU]
    is_mesh : bool
        Whether the GPUs of a domain are joined each to each, without a switch.
    torus : tuple of int
        GPUs along each dimension of a domain whose GPUs are joined to their neighbours, else empty.
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
    sizes: tuple[int, ...] = ()
    is_mesh: bool = False
    torus: tuple[int, ...] = ()

    @property
    def domain_sizes(self) -> tuple[int, ...]:
        """GPUs of every NVLink domain; of equal ones the last holds what remains [GPU]."""
        return self.sizes or _shares(self.gpus, self.gpus_per_domain)

    def domain_of(self, gpu: int) -> int:
        """Give the number of the domain that a GPU lies in."""
        if not self.sizes:
            return gpu // self.gpus_per_domain
        return bisect(_starts(self.sizes), gpu) - 1

    def gpus_of(self, domain: int) -> range:
        """Numbers of the GPUs of a domain."""
        if not self.sizes:
            first = domain * self.gpus_per_domain
            return range(first, min(first + self.gpus_per_domain, self.gpus))
        first = _starts(self.sizes)[domain]
        return range(first, first + self.sizes[domain])

    @property
    def server(self) -> int:
        """GPUs of a domain that share a server [GPU]."""
        return min(self.gpus_per_node, self.gpus_per_domain)

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
    nvlink_latency, nic_latency = machine.scale_up_latency.value, machine.scale_out_latency.value
    if nvlink_latency >= nic_latency:
        raise InputError(
            f"nvlink_latency: {nvlink_latency:g} s is not valid; it must be below nic_latency, "
            f"{nic_latency:g} s, since GPUs of one domain talk over NVLink"
        )
    domain = max(spec.domains or (int(machine.gpus_per_domain.value),))
    return Layout(
        gpus=spec.gpus,
        gpus_per_domain=domain,
        gpus_per_node=int(machine.gpus_per_node.value),
        gpus_per_leaf=fabric.gpus_per_leaf,
        spines=fabric.spines,
        nvlink_rate=machine.scale_up_rate.value,
        nic_rate=machine.scale_out_rate.value,
        nvlink_latency=nvlink_latency,
        nic_latency=nic_latency,
        uplink_rate=machine.scale_out_rate.value / fabric.oversubscription,
        sizes=spec.domains or (),
        is_mesh=machine.scale_up == "mesh",
        torus=nearest_cube(domain) if machine.scale_up == "torus" else (),
    )


@lru_cache(maxsize=64)
def out_of_use(spec: ClusterSpec) -> frozenset[int]:
    """Numbers of the GPUs that are reserved or failed, alone or with their server or domain."""
    layout = read_layout(spec)
    gpus: set[int] = set()
    for parts in (parts_of(spec.reserved), parts_of(spec.failed)):
        gpus |= parts.gpu
        for domain in parts.domain:
            gpus.update(layout.gpus_of(domain))
        if parts.server:
            servers = servers_of(layout)
            for server in parts.server:
                gpus.update(servers[server])
    return frozenset(gpus)


def servers_of(layout: Layout) -> list[range]:
    """Numbers of the GPUs of every server; servers larger than a domain hold several."""
    if layout.gpus_per_node > layout.gpus_per_domain:
        spans = [range(layout.gpus)]
    else:
        spans = [layout.gpus_of(domain) for domain in range(len(layout.domain_sizes))]
    step = layout.gpus_per_node
    return [span[first : first + step] for span in spans for first in range(0, len(span), step)]


def nearest_cube(gpus: int) -> tuple[int, int, int]:
    """Part GPUs into three dimensions that are as equal as their number allows.

    >>> nearest_cube(64), nearest_cube(8), nearest_cube(12), nearest_cube(7)
    ((4, 4, 4), (2, 2, 2), (3, 2, 2), (7, 1, 1))
    """
    return min(
        (
            (gpus // (two * three), two, three)
            for three in range(1, round(gpus ** (1 / 3)) + 1)
            if gpus % three == 0
            for two in range(three, math.isqrt(gpus // three) + 1)
            if gpus // three % two == 0
        ),
        key=lambda dimensions: dimensions[0] - dimensions[2],
    )


def joined_to(layout: Layout) -> int:
    """Count the GPUs that each is joined to by a link of its own, without a switch [GPU].

    >>> from presets import default_cluster
    >>> [joined_to(read_layout(default_cluster(sku, 64))) for sku in ("mi355x", "tpu7x")]
    [7, 6]
    """
    if layout.torus:
        return sum(min(count - 1, 2) for count in layout.torus)
    return layout.gpus_per_domain - 1


@lru_cache(maxsize=64)
def _starts(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """First GPU of each domain."""
    return tuple(accumulate(sizes, initial=0))[:-1]


def _shares(total: int, each: int) -> tuple[int, ...]:
    return tuple(min(each, total - first) for first in range(0, total, each))
