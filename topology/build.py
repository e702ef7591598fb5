"""A cluster's networks, derived from what its file says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from presets.parts import Parts, parts_of
from topology.cluster import (
    PICOSECOND,
    SPINE_HOP_LATENCY,
    Layout,
    joined_to,
    out_of_use,
    read_layout,
)
from topology.fabric import Attachment, Cables, Fabric, Plane, Port, plane_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from presets import ClusterSpec, ScaleOut

    IntArray = NDArray[np.int64]

HALL_LATENCY = 5e-6
"""From the top switches of a hall to the link between halls: assumed, 1 km of fibre. [s]"""


@lru_cache(maxsize=4)
def cached_fabric(spec: ClusterSpec) -> Fabric:
    """Build the networks of a cluster once; as `build_fabric`, for those who only read them."""
    return build_fabric(spec)


def build_fabric(spec: ClusterSpec) -> Fabric:
    """Derive the networks of a cluster.

    Parameters
    ----------
    spec : ClusterSpec
        The cluster.

    Returns
    -------
    Fabric
        Without what failed; reserved GPUs keep their ports.

    Raises
    ------
    InputError
        If the cluster is not valid; see `topology.cluster.read_layout`.

    Notes
    -----
    The latencies of a machine are those of a whole path between two GPUs: half of it over NVLink is
    from GPU to switch, half of it over NICs from GPU to leaf. Spines exist only above two or more
    leaves; the uplinks of a leaf carry the sum of the NIC rates below it over the oversubscription.
    """
    layout, failed = read_layout(spec), parts_of(spec.failed)
    dead = np.zeros(layout.gpus, dtype=np.bool_)
    dead[list(out_of_use(spec.model_copy(update={"reserved": ()})))] = True
    return Fabric(_scale_up(layout, dead), _scale_out(layout, spec.scale_out, failed, dead))


@lru_cache(maxsize=64)
def cut_off(spec: ClusterSpec) -> frozenset[int]:
    """Numbers of GPUs in use that others of the cluster do not reach over NICs.

    Of several pieces of the fabric the largest counts. A cluster of one domain needs no NIC.
    """
    layout, away = read_layout(spec), out_of_use(spec)
    if spec.is_whole or len(layout.domain_sizes) == 1:
        return frozenset()
    islands = cached_fabric(spec).scale_out.island_of
    used = [gpu for gpu in range(layout.gpus) if gpu not in away]
    pieces = Counter(island for island in islands[used].tolist() if island >= 0)
    largest = max(pieces, key=lambda island: (pieces[island], -island), default=-1)
    return frozenset(gpu for gpu in used if islands[gpu] != largest)


def _scale_up(layout: Layout, dead: NDArray[np.bool_]) -> Plane:
    """Domains, each with a switch of its own, or a mesh or torus of its GPUs."""
    domain = np.repeat(np.arange(len(layout.domain_sizes)), layout.domain_sizes)
    if layout.is_mesh or layout.torus:
        return _switchless(layout, dead)
    hop = _ps(layout.nvlink_latency / 2)
    switches: list[Attachment] = [
        (Port(("nvswitch", number), layout.nvlink_rate, hop),)
        for number in range(len(layout.domain_sizes))
    ]
    return plane_of("nvlink", switches, np.where(dead, -1, domain))


def _switchless(layout: Layout, dead: NDArray[np.bool_]) -> Plane:
    """Every GPU a switch of its own, with a cable to each that it is joined to in its domain."""
    own: list[Attachment] = [
        (Port(("gpu", gpu), layout.nvlink_rate, 1),) for gpu in range(layout.gpus)
    ]
    rate = layout.nvlink_rate / max(joined_to(layout), 1)
    hop = _ps(layout.nvlink_latency) - 2  # and one to each GPU's own switch
    cables = (
        Cables(("gpu", one), ("gpu", other), 1, rate, hop, "nvlink")
        for domain in range(len(layout.domain_sizes))
        for one, other in _pairs(layout, layout.gpus_of(domain))
        if not dead[one] and not dead[other]
    )
    return plane_of("nvlink", own, np.where(dead, -1, np.arange(layout.gpus)), cables)


def _pairs(layout: Layout, domain: range) -> Iterator[tuple[int, int]]:
    """Pairs of GPUs of a domain that a cable joins: all, or neighbours in a torus, each once."""
    if not layout.torus:
        yield from ((one, other) for one in domain for other in range(domain.start, one))
        return
    for place, one in enumerate(domain):
        stride = 1
        for count in layout.torus:
            step = stride * (1 if place // stride % count < count - 1 else 1 - count)
            # Along two GPUs one step is back and forth.
            if 0 <= place + step < len(domain) and (count > 2 or (count == 2 and step > 0)):
                yield one, one + step
            stride *= count


def _scale_out(layout: Layout, fabric: ScaleOut, failed: Parts, dead: NDArray[np.bool_]) -> Plane:
    tiers = _Tiers(layout, fabric, failed)
    nic = _ps(layout.nic_latency / 2)
    numbers = np.unique(tiers.leaf_of)
    leaves: list[Attachment] = [
        (Port(("leaf", leaf), layout.nic_rate, nic),) for leaf in numbers.tolist()
    ]
    has_none = dead | np.isin(tiers.leaf_of, list(failed.leaf))
    has_none[list(failed.nic)] = True
    of_gpu = np.where(has_none, -1, np.searchsorted(numbers, tiers.leaf_of))
    cables = [
        cable
        for cable in (*tiers.uplinks(), *tiers.core_links(), *tiers.hall_links())
        if not any(number in getattr(failed, kind, ()) for kind, number in cable[:2])
    ]
    return plane_of("nic", leaves, of_gpu, cables)


class _Tiers:
    """Switches of the scale-out fabric and the cables between them."""

    def __init__(self, layout: Layout, fabric: ScaleOut, failed: Parts) -> None:
        self.layout, self.fabric, self.failed = layout, fabric, failed
        gpu = np.arange(layout.gpus)
        starts = np.repeat(
            [layout.gpus_of(each).start for each in range(len(layout.domain_sizes))],
            layout.domain_sizes,
        )
        rail = (gpu - starts) % layout.server % fabric.rails
        self.leaf_of: IntArray = gpu // (fabric.gpus_per_leaf * fabric.rails) * fabric.rails + rail
        self.leaves = fabric.leaves(layout.gpus)
        self.pods = fabric.pods(layout.gpus)
        self.sizes = np.bincount(self.leaf_of, minlength=self.leaves)
        self.pod_of = np.arange(self.leaves) * self.pods // self.leaves
        if fabric.leaves_per_pod is not None:
            self.pod_of = np.arange(self.leaves) // fabric.leaves_per_pod

    def uplinks(self) -> Iterator[Cables]:
        """From each leaf to the spines of its pod."""
        hop, spines = _ps(SPINE_HOP_LATENCY), self.fabric.spines
        if self.leaves == 1 and self.pods == 1 and not self.fabric.cores:
            return
        for leaf, pod in enumerate(self.pod_of.tolist()):
            rate = float(self.sizes[leaf]) * self.layout.uplink_rate / spines
            for spine in range(pod * spines, (pod + 1) * spines):
                if rate and (leaf, spine) not in self.failed.uplink:
                    yield Cables(("leaf", leaf), ("spine", spine), 1, rate, hop, "leaf_spine")

    def core_links(self) -> Iterator[Cables]:
        """From the spines of each pod to the cores of its hall."""
        hop, fabric = _ps(SPINE_HOP_LATENCY), self.fabric
        for pod in range(self.pods if fabric.cores else 0):
            below = float(self.sizes[self.pod_of == pod].sum()) * self.layout.uplink_rate
            rate = below / (fabric.core_oversubscription * fabric.spines * fabric.cores)
            hall = pod * fabric.halls // self.pods
            for spine in range(pod * fabric.spines, (pod + 1) * fabric.spines):
                for core in range(hall * fabric.cores, (hall + 1) * fabric.cores):
                    if rate:
                        ends = ("spine", spine), ("core", core)
                        yield Cables(*ends, 1, rate, hop, "spine_core")

    def hall_links(self) -> Iterator[Cables]:
        """From the top switches of each hall to the link that joins halls."""
        fabric, hop = self.fabric, _ps(HALL_LATENCY)
        if fabric.hall_gb_s is None:
            return
        kind, each = ("core", fabric.cores) if fabric.cores else ("spine", fabric.spines)
        for hall in range(fabric.halls):
            for number in range(hall * each, (hall + 1) * each):
                rate = fabric.hall_gb_s * 1e9 / each
                yield Cables((kind, number), ("hall-link", 0), 1, rate, hop, "hall")


def _ps(seconds: float) -> int:
    return max(1, round(seconds / PICOSECOND))
