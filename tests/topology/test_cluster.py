import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

import topology
from presets import ClusterSpec, InputError, ScaleOut, default_cluster
from topology import build_cluster
from topology.cluster import MAX_GPUS, SPINE_HOP_LATENCY, Node, cached_cluster

ROOT = Path(__file__).parents[2]


def test_public_names_are_listed_in_order() -> None:
    assert all(hasattr(topology, name) for name in topology.__all__)
    public = {
        name
        for name, value in vars(topology).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("topology.")
    }
    assert topology.__all__ == sorted(public)


def test_importing_the_room_does_not_load_networkx() -> None:
    code = "import sys, topology; sys.exit('networkx' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_counts_of_a_small_cluster_by_hand() -> None:
    # 20 GPUs in domains of 8: 8, 8, 4. Leaves of 16: 16, 4.
    spec = ClusterSpec(sku="b200", gpus=20, scale_out=ScaleOut(gpus_per_leaf=16, spines=2))
    graph = build_cluster(spec)
    kinds = [kind for kind, _ in graph.nodes]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {
        "gpu": 20,
        "leaf": 2,
        "nic": 20,
        "nvswitch": 3,
        "spine": 2,
    }
    # GPU-switch, GPU-NIC, NIC-leaf for each GPU, each leaf to each spine, both ways.
    assert graph.number_of_edges() == 2 * (3 * 20 + 2 * 2)
    assert graph.nodes["gpu", 19] == {"kind": "gpu", "domain": 2, "node": 2, "rank": 3, "leaf": 1}


def test_rates_and_latencies_of_links_by_hand() -> None:
    fabric = ScaleOut(gpus_per_leaf=16, spines=2, oversubscription=4.0)
    graph = build_cluster(ClusterSpec(sku="b200", gpus=20, nic_latency_us=4.0, scale_out=fabric))
    # A GPU reaches the switch at 900 GB/s in half of the 1 us to another GPU.
    nvlink = graph.edges[("gpu", 3), ("nvswitch", 0)]
    assert nvlink == {"rate": 900e9, "latency": 0.5e-6, "kind": "nvlink"}
    # Four hops share the 4 us between two GPUs on one leaf.
    nic = graph.edges[("nic", 3), ("leaf", 0)]
    assert nic == pytest.approx({"rate": 50e9, "latency": 1e-6, "kind": "nic"})
    assert graph.edges[("gpu", 3), ("nic", 3)] == nic
    # 16 NICs of 50 GB/s, a quarter of it upwards, over two spines; four NICs on the last leaf.
    up = graph.edges[("leaf", 0), ("spine", 1)]
    assert up == {"rate": 100e9, "latency": SPINE_HOP_LATENCY, "kind": "leaf_spine"}
    assert graph.edges[("leaf", 1), ("spine", 1)]["rate"] == 25e9


def test_both_directions_of_a_link_are_alike() -> None:
    graph = build_cluster(default_cluster("b200", 72))
    assert all(graph.edges[head, tail] == link for tail, head, link in graph.edges(data=True))


def test_nodes_and_edges_are_sorted_and_repeatable() -> None:
    first, second = (build_cluster(default_cluster("b200", 72)) for _ in range(2))
    assert list(first.nodes) == sorted(first.nodes)
    assert list(first.edges) == sorted(first.edges)
    assert list(first.edges(data=True)) == list(second.edges(data=True))


def test_one_leaf_needs_no_spine() -> None:
    graph = build_cluster(default_cluster("b200", 32))
    assert not [node for node in graph.nodes if node[0] == "spine"]


def test_domains_are_joined_over_nics_alone() -> None:
    graph = build_cluster(default_cluster("b200", 24))
    inside: nx.DiGraph[Node] = nx.DiGraph()
    inside.add_edges_from(
        (tail, head) for tail, head, link in graph.edges(data=True) if link["kind"] == "nvlink"
    )
    assert nx.number_weakly_connected_components(inside) == 3
    assert nx.is_strongly_connected(graph)


def test_domain_of_one_gpu() -> None:
    graph = build_cluster(ClusterSpec(sku="b200", gpus=3, gpus_per_domain=1, gpus_per_node=1))
    assert [graph.nodes["gpu", gpu]["domain"] for gpu in range(3)] == [0, 1, 2]


def test_graph_is_a_view_that_cannot_grow() -> None:
    with pytest.raises(nx.NetworkXError, match="Frozen"):
        build_cluster(default_cluster("b200", 8)).add_node(("gpu", 99))
    assert cached_cluster(default_cluster("b200", 8)) is cached_cluster(default_cluster("b200", 8))


def test_too_large_a_cluster_is_refused() -> None:
    # The file's own schema refuses it too; the graph keeps its own limit.
    spec = default_cluster("b200", 8).model_copy(update={"gpus": MAX_GPUS + 1})
    with pytest.raises(InputError, match="at most 65536 GPUs"):
        build_cluster(spec)


@pytest.mark.parametrize("nvlink", [2.0, 3.0])
def test_nics_as_quick_as_nvlink_are_refused(nvlink: float) -> None:
    message = rf"nvlink_latency: {nvlink:g}e-06 s .* below nic_latency, 2e-06 s"
    with pytest.raises(InputError, match=message):
        build_cluster(ClusterSpec(sku="b200", gpus=8, nvlink_latency_us=nvlink, nic_latency_us=2.0))
