"""Whether the workers of a deployment find room in the NVLink domains."""

from __future__ import annotations

from functools import lru_cache

from presets import ClusterSpec, InputError
from topology import pack_workers


@lru_cache
def leaves_no_gap(cluster: ClusterSpec, size: int) -> bool:
    """Whether workers of a size fill servers and domains with others like it, whatever the order.

    So do powers of two where servers, and domains unless there is one alone, are powers of two and
    whole: the larger workers take whole servers, or domains, and the smaller share the others.
    """
    hardware = cluster.hardware()
    node, domain = int(hardware.gpus_per_node.value), int(hardware.gpus_per_domain.value)
    alone = cluster.gpus <= domain
    units = (size, node) if alone else (size, node, domain)
    whole = cluster.gpus % (node if alone else domain) == 0
    return whole and all(unit & (unit - 1) == 0 for unit in units)


@lru_cache(maxsize=65536)
def packs(cluster: ClusterSpec, decode: tuple[int, int], prefill: tuple[int, int]) -> bool:
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
    sizes = [decode[0]] * decode[1] + [prefill[0]] * prefill[1]
    try:
        pack_workers(cluster, sizes)
    except InputError:
        return False
    return True
