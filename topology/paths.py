"""What the links give to the group of GPUs that a worker occupies."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from topology.cluster import Layout, LinkKind, read_layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from presets import ClusterSpec
    from topology.contention import GroupLoad
    from topology.fabric import Fabric


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
        load of the worst link over its rate, lengthened by the other groups that talk. [s/B]
    latency : float
        Of the longest shortest path between two GPUs of the group. [s]
    bottleneck : str or None
        Kind of the worst link, the one nearer to the GPU where two are equal. None for one GPU.
    load_by_kind : dict
        Time of the worst link of each kind that is used, were the group alone. [s/B]
    nvlink_rate : float
        Rate of a GPU inside its domain when all send at once. [B/s]
    nic_rate : float
        Rate of a GPU between domains when all send at once: that of its NICs or, where links of the
        fabric are slower, its part of them. [B/s]
    domain_latency : float
        Of the path between two GPUs of one domain, whether or not the group has two there. [s]
    slowdown : float
        By which other groups lengthen the all-to-all. [1]
    worst_link : str or None
        Name of the worst link, or of the one that the groups together overfill.
    shared_with : tuple of int
        Other groups on a link that all together overfill, by their place among those asked for.
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
    slowdown: float = 1.0
    worst_link: str | None = field(default=None, compare=False)
    shared_with: tuple[int, ...] = field(default=(), compare=False)

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


def group_paths(spec: ClusterSpec, groups: Sequence[Sequence[int]]) -> tuple[GroupPath, ...]:
    """Load, latency and bottleneck of uniform all-to-alls that groups run at the same time.

    Parameters
    ----------
    spec : ClusterSpec
        The cluster.
    groups : sequence of sequence of int
        Distinct numbers of the GPUs of each group.

    Returns
    -------
    tuple of GroupPath
        One for each group.

    Raises
    ------
    InputError
        If a group is empty or names a GPU twice or one that is not there, or no link joins two.

    Notes
    -----
    Kept by what decides them: how many GPUs of each class of ports each group has.
    """
    # networkx takes 0.1 s, and one domain needs none.
    from topology.build import cached_fabric
    from topology.contention import group_loads
    from topology.loads import check_group
    from topology.patterns import all_to_all

    layout, fabric = read_layout(spec), cached_fabric(spec)
    for group in groups:
        check_group(fabric, group)
    key = tuple(fabric.classes_of(group) for group in groups)
    if key not in fabric.known:
        loads = group_loads(fabric, [all_to_all(group) for group in groups])
        fabric.known[key] = loads
    return tuple(
        _path(layout, fabric, group, load)
        for group, load in zip(groups, fabric.known[key], strict=True)
    )


def _path(layout: Layout, fabric: Fabric, group: Sequence[int], load: GroupLoad) -> GroupPath:
    islands = Counter(fabric.scale_up.island_of[list(group)].tolist())
    sizes = tuple(sorted(islands.values(), reverse=True))
    inside, seconds = load.by_kind.get("nvlink", 0.0), load.seconds * load.slowdown
    outside = max((each for kind, each in load.by_kind.items() if kind != "nvlink"), default=0.0)
    if load.slowdown > 1.0:
        outside = max(outside, seconds)
    worst = load.shared or load.worst
    return GroupPath(
        gpus=len(group),
        domain_sizes=sizes,
        seconds_per_pair_byte=seconds,
        latency=load.latency,
        bottleneck=worst.kind if worst else None,
        load_by_kind=load.by_kind,
        nvlink_rate=(sizes[0] - 1) / inside if inside else layout.nvlink_rate,
        nic_rate=(len(group) - sizes[-1]) / outside if outside else layout.nic_rate,
        domain_latency=layout.nvlink_latency,
        slowdown=load.slowdown,
        worst_link=worst.name if worst else None,
        shared_with=load.shared_with,
    )


def domain_path(layout: Layout, gpus: int) -> GroupPath:
    """Load and latency of a group inside one NVLink domain, a star or a mesh whose arms are alike.

    As `group_paths`, without the graph: half of the questions ask for nothing else, and networkx
    takes a tenth of the time of a short command to import.

    Parameters
    ----------
    layout : Layout
        Of the cluster.
    gpus : int
        In the group, all in one domain. [GPU]
    """
    # In a mesh each pair of GPUs has a link of its own, however few of them talk.
    sharing = layout.gpus_per_domain - 1 if layout.is_mesh else gpus - 1
    load = sharing / layout.nvlink_rate if gpus > 1 else 0.0
    return GroupPath(
        gpus=gpus,
        domain_sizes=(gpus,),
        seconds_per_pair_byte=load,
        latency=layout.nvlink_latency if gpus > 1 else 0.0,
        bottleneck="nvlink" if gpus > 1 else None,
        load_by_kind={"nvlink": load} if gpus > 1 else {},
        nvlink_rate=(gpus - 1) / load if layout.is_mesh and gpus > 1 else layout.nvlink_rate,
        nic_rate=layout.nic_rate,
        domain_latency=layout.nvlink_latency,
    )
