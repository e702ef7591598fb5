"""A cluster as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moeplan.render.common import DASH, LINK_NAMES, count, heading, pairs, plain, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from presets import ClusterSpec
    from topology import ClusterSummary


def report(cluster: ClusterSpec, summary: ClusterSummary) -> list[RenderableType]:
    """Lay out domains, links, and what groups of GPUs get."""
    domains = ", ".join(
        f"{count(group.domains, 'domain')} of {count(group.gpus, 'GPU')}"
        for group in summary.domains
    )
    links = [
        [
            _link_name(link.kind),
            f"{link.count:,}",
            plain(link.rate / 1e9),
            plain(1e6 * link.latency),
        ]
        for link in summary.links
    ]
    groups = [
        [
            f"EP {group.gpus}",
            str(group.domains),
            plain(group.per_gpu_rate / 1e9),
            plain(1e6 * group.latency),
            DASH if group.bottleneck is None else _link_name(group.bottleneck),
        ]
        for group in summary.groups
    ]
    return [
        heading(f"{cluster.hardware().title}: {count(summary.gpus, 'GPU')}"),
        pairs(
            [
                ("NVLink", domains),
                ("Servers", f"{count(summary.gpus_per_node, 'GPU')} each"),
                *(
                    (why.capitalize(), count(gpus, "GPU"))
                    for why, gpus in summary.unusable.items()
                    if gpus
                ),
            ]
        ),
        "",
        heading("Links, each direction counted"),
        table("Link", "Count", "GB/s one way", "Latency of the hop, us", rows=links),
        "",
        heading("Uniform all-to-all in a group of GPUs"),
        table(
            "Group",
            "Domains",
            "GB/s per GPU",
            "Latency of the path, us",
            "Slowest link",
            rows=groups,
        ),
    ]


def usable_sentence(cluster: ClusterSpec) -> str:
    """Say how many GPUs a cluster has, and how many of them serve."""
    from topology.build import cut_off  # the graph, which whole clusters do without
    from topology.cluster import out_of_use

    away, apart = len(out_of_use(cluster)), len(cut_off(cluster))
    lost = [f"{away} reserved or failed"] * bool(away)
    lost += [f"{apart} cut off from the others"] * bool(apart)
    usable = cluster.gpus - away - apart
    rest = f", of which {usable} can serve: {' and '.join(lost)} do not" if lost else ""
    return f"{count(cluster.gpus, 'GPU')} of {cluster.hardware().title}{rest}."


def summary(cluster: ClusterSpec, result: ClusterSummary) -> dict[str, Any]:
    """Content that ``--json`` prints."""
    return {
        "sku": cluster.sku,
        "gpus": result.gpus,
        "gpus_per_node": result.gpus_per_node,
        "domains": [vars(group) for group in result.domains],
        "unusable": result.unusable,
        "links": [
            {
                "kind": link.kind,
                "count": link.count,
                "gb_s": link.rate / 1e9,
                "latency_us": 1e6 * link.latency,
            }
            for link in result.links
        ],
        "groups": [
            {
                "gpus": group.gpus,
                "domains": group.domains,
                "all_to_all_gb_s": group.per_gpu_rate / 1e9,
                "latency_us": 1e6 * group.latency,
                "bottleneck": group.bottleneck,
            }
            for group in result.groups
        ],
    }


def _link_name(kind: str) -> str:
    return LINK_NAMES[kind].removeprefix("the ")
