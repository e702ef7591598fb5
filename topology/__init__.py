"""The links of a cluster: a graph derived from facts, paths in it, and placement of groups.

A package of moeplan.
"""

from typing import TYPE_CHECKING

from presets.lazy import lazy_names
from topology.paths import GroupPath, group_paths
from topology.placement import (
    Placement,
    fleet_paths,
    group_table,
    pack_workers,
    place_group,
    placed_paths,
    shares_links,
    worker_paths,
)

if TYPE_CHECKING:
    from topology.summary import (
        ClusterSummary,
        DomainGroup,
        GroupRate,
        LinkGroup,
        summarize_cluster,
    )

__all__ = [
    "ClusterSummary",
    "DomainGroup",
    "GroupPath",
    "GroupRate",
    "LinkGroup",
    "Placement",
    "fleet_paths",
    "group_paths",
    "group_table",
    "pack_workers",
    "place_group",
    "placed_paths",
    "shares_links",
    "summarize_cluster",
    "worker_paths",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    dict.fromkeys(
        ("ClusterSummary", "DomainGroup", "GroupRate", "LinkGroup", "summarize_cluster"),
        "topology.summary",
    ),
)
