"""Whether the workers of a deployment find room in the NVLink domains."""

from __future__ import annotations

from functools import lru_cache

from presets import ClusterSpec, InputError
from topology import pack_workers


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
    sizes = [decode[0]] * decode[1] + [prefill[0]] * prefill[1]
    if sum(sizes) > cluster.gpus:
        return False
    try:
        pack_workers(cluster, sizes)
    except InputError:
        return False
    return True
