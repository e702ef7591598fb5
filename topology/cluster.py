"""What of a cluster its links and placements depend on, in plain numbers.

GPUs are numbered from 0 through the domains, and leaves and servers hold consecutive GPUs, so that
every attribute follows from a GPU's number.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from presets import InputError

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

MAX_GPUS = 65_536
"""The largest cluster that is built. [GPU]"""

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
    nvlink_latency, nic_latency = machine.scale_up_latency.value, machine.scale_out_latency.value
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
        nvlink_rate=machine.scale_up_rate.value,
        nic_rate=machine.scale_out_rate.value,
        nvlink_latency=nvlink_latency,
        nic_latency=nic_latency,
        uplink_rate=machine.scale_out_rate.value / fabric.oversubscription,
    )


def _shares(total: int, each: int) -> tuple[int, ...]:
    return tuple(min(each, total - first) for first in range(0, total, each))
