"""The links of a cluster: a graph derived from facts, paths in it, and placement of groups.

A package of moeplan.
"""

from typing import TYPE_CHECKING

from presets.lazy import lazy_names
from topology.paths import GroupPath, group_paths
from topology.placement import Placement, group_table, pack_workers, place_group

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
    "group_paths",
    "group_table",
    "pack_workers",
    "place_group",
    "summarize_cluster",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    dict.fromkeys(
        ("ClusterSummary", "DomainGroup", "GroupRate", "LinkGroup", "summarize_cluster"),
        "topology.summary",
    ),
)
