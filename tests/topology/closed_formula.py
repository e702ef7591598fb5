"""The closed formula of regular clusters: a second opinion on loads.

Alike GPUs, by (domain, leaf), are taken together. With `n` GPUs in the group, `d` of them in the
GPU's domain, a GPU moves d - 1 bytes each way over NVLink and n - d over its NIC; a leaf's uplinks
carry, evenly, what its GPUs send to those of other leaves and domains.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from topology.cluster import SPINE_HOP_LATENCY, Layout


class Closed(NamedTuple):
    """What the formula says of a uniform all-to-all."""

    by_kind: dict[str, float]  # seconds of the worst link of each kind that is used
    latency: float  # of the longest path [s]
    worst: str | None  # kind of the worst link, of equals the one nearer to the GPU


def closed_formula(layout: Layout, gpus: Sequence[int]) -> Closed:
    """Time a uniform all-to-all in which each ordered pair of GPUs moves one byte [s]."""
    classes = Counter((gpu // layout.gpus_per_domain, gpu // layout.gpus_per_leaf) for gpu in gpus)
    domains: Counter[int] = Counter()
    leaves: Counter[int] = Counter()
    for (domain, leaf), count in classes.items():
        domains[domain] += count
        leaves[leaf] += count
    # Bytes that each leaf's GPUs send to GPUs of other leaves and other domains.
    sent: Counter[int] = Counter()
    for (domain, leaf), count in classes.items():
        sent[leaf] += count * (len(gpus) - domains[domain] - leaves[leaf] + count)
    uplinks = {leaf: layout.leaf_sizes[leaf] * layout.uplink_rate for leaf in leaves if sent[leaf]}
    by_kind = {
        "nvlink": (max(domains.values()) - 1) / layout.nvlink_rate,
        "nic": (len(gpus) - min(domains.values())) / layout.nic_rate,
        "leaf_spine": max((sent[leaf] / rate for leaf, rate in uplinks.items()), default=0.0),
    }
    latency = 0.0
    if uplinks:
        latency = layout.nic_latency + 2 * SPINE_HOP_LATENCY
    elif len(domains) > 1:
        latency = layout.nic_latency
    elif len(gpus) > 1:
        latency = layout.nvlink_latency
    used = {kind: each for kind, each in by_kind.items() if each}
    least = max(used.values(), default=0.0) * (1 - 1e-12)
    return Closed(used, latency, next((kind for kind in used if used[kind] >= least), None))
