import math
from collections import defaultdict
from itertools import pairwise, permutations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presets import (
    ClusterSpec,
    InputError,
    ScaleOut,
    default_cluster,
    hardware_names,
    load_hardware,
)
from topology import build_cluster, group_path
from topology.cluster import LINK_KINDS, Node, read_layout
from topology.paths import domain_path


@st.composite
def clusters_and_groups(draw: st.DrawFn) -> tuple[ClusterSpec, list[int]]:
    domain = draw(st.integers(1, 6))
    gpus = draw(st.integers(1, 14))
    spec = ClusterSpec(
        sku="b200",
        gpus=gpus,
        gpus_per_domain=domain,
        gpus_per_node=1,
        scale_out=ScaleOut(
            gpus_per_leaf=draw(st.integers(1, 8)),
            spines=draw(st.integers(1, 3)),
            oversubscription=draw(st.sampled_from([1.0, 1.5, 4.0])),
        ),
    )
    group = draw(st.lists(st.integers(0, gpus - 1), unique=True, min_size=1, max_size=9))
    return spec, group


def brute_force(graph: "nx.DiGraph[Node]", group: list[int]) -> tuple[dict[str, float], float]:
    """Worst load by kind and longest latency, pair by pair over all shortest paths."""
    load: dict[tuple[Node, Node], float] = defaultdict(float)
    longest = 0.0
    for a, b in permutations(group, 2):
        # GPUs do not forward for each other: only the two ends stay in the graph.
        ends = {("gpu", a), ("gpu", b)}
        between = graph.subgraph(n for n in graph if n[0] != "gpu" or n in ends)
        source, target = ("gpu", a), ("gpu", b)
        paths = list(nx.all_shortest_paths(between, source, target, weight="latency"))
        for path in paths:
            for link in pairwise(path):
                load[link] += 1 / len(paths)
        longest = max(longest, nx.path_weight(graph, paths[0], "latency"))
    worst = dict.fromkeys(map(str, LINK_KINDS), 0.0)
    for (tail, head), sent in load.items():
        facts = graph.edges[tail, head]
        worst[facts["kind"]] = max(worst[facts["kind"]], sent / facts["rate"])
    return worst, longest


@settings(max_examples=120, deadline=None)
@given(clusters_and_groups())
def test_classes_give_what_all_pairs_give(case: tuple[ClusterSpec, list[int]]) -> None:
    spec, group = case
    graph = build_cluster(spec)
    path = group_path(graph, group)
    load, latency = brute_force(graph, group)
    assert path.load_by_kind == pytest.approx(load)
    assert path.seconds_per_pair_byte == pytest.approx(max(load.values()))
    assert path.latency == pytest.approx(latency)
    if path.bottleneck:
        assert load[path.bottleneck] == pytest.approx(max(load.values()))
    else:
        assert len(group) == 1


def test_two_islands_of_b200_by_hand() -> None:
    path = group_path(build_cluster(default_cluster("b200", 16)), range(16))
    # Of 15 bytes each GPU sends 7 over NVLink and 8 over its NIC, which takes 8/50e9 s.
    assert path.load_by_kind == pytest.approx(
        {"nvlink": 7 / 900e9, "nic": 8 / 50e9, "leaf_spine": 0}
    )
    assert path.bottleneck == "nic"
    assert path.seconds_per_pair_byte == pytest.approx(1.6e-10)
    assert path.per_gpu_rate == pytest.approx(93.75e9)
    assert (path.domains, path.domain_sizes) == (2, (8, 8))
    assert (path.nvlink_rate, path.nic_rate) == (900e9, 50e9)


def test_one_rack_of_gb200_by_hand() -> None:
    path = group_path(build_cluster(default_cluster("gb200", 72)), range(32))
    assert path.per_gpu_rate == pytest.approx(900e9)
    assert path.bottleneck == "nvlink"
    assert path.load_by_kind["nic"] == 0
    assert path.latency == path.domain_latency == pytest.approx(1e-6)


def test_uneven_islands_wait_for_the_smaller() -> None:
    # 12 GPUs as 8 + 4: each of the four sends 8 bytes over its NIC, each of the eight only 4.
    path = group_path(build_cluster(default_cluster("b200", 16)), range(12))
    assert path.domain_sizes == (8, 4)
    assert path.seconds_per_pair_byte == pytest.approx(8 / 50e9)


def test_oversubscribed_leaves_by_hand() -> None:
    fabric = ScaleOut(gpus_per_leaf=8, spines=2, oversubscription=4.0)
    spec = ClusterSpec(sku="b200", gpus=16, scale_out=fabric)
    path = group_path(build_cluster(spec), range(16))
    # 8 x 8 bytes leave each leaf over 8 x 50e9 / 4 B/s.
    assert path.bottleneck == "leaf_spine"
    assert path.seconds_per_pair_byte == pytest.approx(64 / 100e9)
    assert path.nic_rate == pytest.approx(12.5e9)
    assert path.latency == pytest.approx(5e-6 + 2 * 0.5e-6)


def test_non_blocking_leaves_leave_the_nic_as_bottleneck() -> None:
    spec = ClusterSpec(sku="b200", gpus=24, scale_out=ScaleOut(gpus_per_leaf=8, spines=3))
    path = group_path(build_cluster(spec), range(24))
    assert path.bottleneck == "nic"
    assert path.load_by_kind["leaf_spine"] == pytest.approx(path.load_by_kind["nic"])


def test_single_gpu_moves_nothing() -> None:
    path = group_path(build_cluster(default_cluster("b200", 8)), [5])
    assert (path.seconds_per_pair_byte, path.latency, path.bottleneck) == (0.0, 0.0, None)
    assert path.per_gpu_rate == math.inf


def test_path_can_be_a_key() -> None:
    graph = build_cluster(default_cluster("b200", 8))
    assert len({group_path(graph, [0, 1]), group_path(graph, [2, 3])}) == 1


@pytest.mark.parametrize(
    ("group", "message"),
    [([], "empty"), ([1, 1], "twice"), ([0, 8], "0 to 7"), ([-1, 0], "0 to 7")],
)
def test_invalid_groups_are_refused(group: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        group_path(build_cluster(default_cluster("b200", 8)), group)


@pytest.mark.parametrize("sku", hardware_names())
def test_inside_a_domain_no_graph_is_needed(sku: str) -> None:
    domain = int(load_hardware(sku).gpus_per_domain.value)
    scale_out = ScaleOut(gpus_per_leaf=max(domain // 2, 1), spines=2)
    spec = ClusterSpec(sku=sku, gpus=2 * domain, scale_out=scale_out)
    graph, layout = build_cluster(spec), read_layout(spec)
    for size in range(1, domain + 1):
        for first in (0, domain, 2 * domain - size):
            group = list(range(first, first + size))
            assert domain_path(layout, size) == group_path(graph, group)
