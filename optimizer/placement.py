"""Where the workers of a deployment stand, and whether they find room in the NVLink domains."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

from presets import ClusterSpec, InputError
from presets.scale_out import MAX_GPUS
from topology import Placement, pack_workers

Group = tuple[int, int]
"""Size of one worker [GPU], and how many."""

NOBODY: Group = (1, 0)
"""The group of a role that stands elsewhere."""

Role = Literal["prefill", "decode", "both"]


class PlacedWorker(NamedTuple):
    """One worker and the GPUs that it gets.

    Attributes
    ----------
    role : {"prefill", "decode", "both"}
        The last of workers that prefill what they decode, in fleets.
    replica, number : int
        Which copy of the deployment, and which worker of its role there, from 1. [1]
    cluster : ClusterSpec
        Where it stands.
    placement : Placement
        Its GPUs and NVLink domains.
    """

    role: Role
    replica: int
    number: int
    cluster: ClusterSpec
    placement: Placement


def place_workers(
    cluster: ClusterSpec, decode: Group, prefill: Group, replicas: int = 1
) -> tuple[PlacedWorker, ...]:
    """Place the workers of a deployment, or of copies of it, side by side.

    A deployment is searched, charged and printed on this placement: `packs` says whether there is
    one.

    Parameters
    ----------
    cluster : ClusterSpec
        The cluster, empty.
    decode, prefill : tuple of int
        Size of one worker [GPU] and how many in one copy.
    replicas : int
        Copies. [1]

    Returns
    -------
    tuple of PlacedWorker
        Decode first, replica by replica.

    Raises
    ------
    InputError
        If they find no room.

    Examples
    --------
    >>> from presets import default_cluster
    >>> for each in place_workers(default_cluster("b200", 16), (8, 1), (4, 2)):
    ...     print(each.role, each.number, each.placement.domains, each.placement.gpus[0])
    decode 1 (0,) 0
    prefill 1 (1,) 8
    prefill 2 (1,) 12
    """
    both: tuple[tuple[Role, Group], ...] = (("decode", decode), ("prefill", prefill))
    roles = [(role, group) for role, group in both if group[1]]
    names = [
        (role, replica, number)
        for role, (_, count) in roles
        for replica in range(1, replicas + 1)
        for number in range(1, count + 1)
    ]
    sizes = _sizes((decode[0], decode[1] * replicas), (prefill[0], prefill[1] * replicas))
    try:
        placed = pack_workers(cluster, sizes)
    except InputError:
        wanted = " and ".join(
            f"{replicas * count} x {size} GPUs of {role}" for role, (size, count) in roles
        )
        raise InputError(
            f"configuration: {wanted} find no room side by side in the NVLink domains of the "
            f"cluster, {cluster.gpus} GPUs of {cluster.sku}; give fewer or smaller workers, or a "
            "larger cluster"
        ) from None
    return tuple(
        PlacedWorker(*name, cluster, each) for name, each in zip(names, placed, strict=True)
    )


@lru_cache
def leaves_no_gap(cluster: ClusterSpec, size: int) -> bool:
    """Whether workers of a size fill servers and domains with others like it, whatever the order.

    So do workers that take whole domains, or whole servers where there is one domain alone; and
    beside them powers of two, where servers and domains are powers of two as well: the larger
    workers take whole servers, or domains, and the smaller share the others.
    """
    if not cluster.is_whole:
        return False
    hardware = cluster.hardware()
    node, domain = int(hardware.gpus_per_node.value), int(hardware.gpus_per_domain.value)
    node = min(node, domain)
    units = (node,) if cluster.gpus <= domain else (node, domain)
    if cluster.gpus % units[-1]:
        return False
    return size % units[-1] == 0 or all(unit & (unit - 1) == 0 for unit in (size, *units))


@lru_cache(maxsize=65536)
def packs(cluster: ClusterSpec, decode: Group, prefill: Group) -> bool:
    """Whether all workers of a deployment can stand side by side.

    Parameters
    ----------
    cluster : ClusterSpec
        The cluster, empty.
    decode, prefill : tuple of int
        Size of one worker [GPU] and how many.

    Examples
    --------
    Five groups of 32 would fill 160 of 216 GPUs, and six 192; each domain of 72 holds two.

    >>> from presets import default_cluster
    >>> racks = default_cluster("gb200", 216)
    >>> packs(racks, (32, 5), (8, 2)), packs(racks, (32, 6), (32, 1))
    (True, False)
    """
    gpus = decode[0] * decode[1] + prefill[0] * prefill[1]
    if gpus > cluster.gpus:
        return False
    if leaves_no_gap(cluster, decode[0]) and leaves_no_gap(cluster, prefill[0]):
        return True
    try:
        pack_workers(cluster, _sizes(decode, prefill))
    except InputError:
        return False
    return True


def roomy(cluster: ClusterSpec, decode: Group, prefill: Group) -> ClusterSpec:
    """Give a cluster more NVLink domains, as few as it takes for a deployment to find room.

    Raises
    ------
    InputError
        If no cluster that can be described has room.

    Examples
    --------
    The second worker of 64 finds no room in the 60 GPUs beside a rack.

    >>> from presets import default_cluster
    >>> roomy(default_cluster("gb200", 132), (64, 2), (4, 1)).gpus
    144
    """
    if packs(cluster, decode, prefill):
        return cluster
    domain = int(cluster.hardware().gpus_per_domain.value)
    vast = cluster.resized(MAX_GPUS // domain * domain)
    placed = pack_workers(vast, _sizes(decode, prefill))
    # Each takes the first domain with room, so the domains beyond the last make no difference.
    last = max(worker.domains[-1] for worker in placed)
    return cluster.resized((last + 1) * domain)


def _sizes(decode: Group, prefill: Group) -> list[int]:
    return [decode[0]] * decode[1] + [prefill[0]] * prefill[1]
