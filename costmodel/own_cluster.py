"""Whether a described cluster is one that rows were measured on."""

from __future__ import annotations

from costmodel.calibration import Coverage
from presets import ClusterSpec
from presets.scale_out import ScaleOut


def nics_of(cluster: ClusterSpec) -> str:
    """Name the NICs of a machine, as a coverage has them.

    >>> nics_of(ClusterSpec(sku="h100", gpus=16, nic_gb_s=25.0))
    'h100 25 GB/s'
    """
    return f"{cluster.sku} {cluster.hardware().scale_out_rate.value / 1e9:g} GB/s"


def cluster_differs(cluster: ClusterSpec, coverage: Coverage | None = None) -> bool:
    """Whether a cluster file changes physics, not just count, name or price.

    NICs as slow or quick as those of measured rows are none of it where a coverage is given.
    """
    physical = (
        "gpus_per_domain",
        "gpus_per_node",
        "nvlink_gb_s",
        "nvlink_latency_us",
        "nic_gb_s",
        "nic_latency_us",
        "nic",
        "hbm_gb",
    )
    changed = [name for name in physical if getattr(cluster, name) is not None]
    if coverage is not None and changed == ["nic_gb_s"] and nics_of(cluster) in coverage.nics:
        changed = []
    return bool(changed) or cluster.scale_out != ScaleOut()
