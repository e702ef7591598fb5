"""Loads three ways: by classes, by the closed formula of regular clusters, and by all pairs."""

import random
import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from presets import ClusterSpec, InputError, ScaleOut, default_cluster
from tests.topology.closed_formula import closed_formula
from tests.topology.fabrics import Hop, by_pairs, random_fabric
from topology.build import build_fabric
from topology.cluster import read_layout
from topology.contention import group_loads
from topology.loads import Flow
from topology.patterns import all_reduce, all_to_all, hand_over
from topology.routes import Switch


def random_cluster(rng: random.Random) -> tuple[ClusterSpec, list[int]]:
    gpus = rng.randint(1, 60)
    spec = ClusterSpec(
        sku="b200",
        gpus=gpus,
        gpus_per_domain=rng.randint(1, 9),
        gpus_per_node=1,
        scale_out=ScaleOut(
            gpus_per_leaf=rng.randint(1, 17),
            spines=rng.randint(1, 5),
            oversubscription=rng.choice([1.0, 1.5, 3.0, 8.0]),
        ),
    )
    first = rng.randint(0, gpus - 1)
    if rng.random() < 0.5:
        return spec, list(range(first, rng.randint(first, gpus - 1) + 1))
    return spec, rng.sample(range(gpus), rng.randint(1, gpus))


@pytest.mark.parametrize("seed", range(300))
def test_regular_clusters_equal_the_closed_formula(seed: int) -> None:
    spec, group = random_cluster(random.Random(seed))
    layout = read_layout(spec)
    closed = closed_formula(layout, group)
    (load,) = group_loads(build_fabric(spec), [all_to_all(group)])
    assert load.by_kind == pytest.approx(closed.by_kind, rel=1e-12, abs=0)
    assert load.seconds == max(load.by_kind.values(), default=0.0)
    assert load.latency == pytest.approx(closed.latency, abs=2e-11)  # whole picoseconds
    assert (load.worst and load.worst.kind) == closed.worst
    assert load.slowdown == 1.0


@pytest.mark.parametrize("seed", range(200))
def test_any_fabric_equals_all_pairs(seed: int) -> None:
    rng = random.Random(seed)
    fabric = random_fabric(rng)
    gpus = list(range(fabric.gpus))
    groups = []
    for _ in range(rng.randint(1, 3)):
        one, other = (rng.sample(gpus, rng.randint(1, len(gpus))) for _ in range(2))
        groups.append(rng.choice([all_to_all(one), hand_over(one, other), [Flow(one, other, 3.0)]]))
    try:
        expected = [by_pairs(fabric, flows) for flows in groups]
    except LookupError:
        with pytest.raises(InputError, match="no link joins GPU"):
            group_loads(fabric, groups)
        return
    found = group_loads(fabric, groups)
    for load, (worst, _, latency) in zip(found, expected, strict=True):
        assert load.by_kind == pytest.approx(worst, rel=1e-9, abs=0)
        assert load.latency == pytest.approx(latency, abs=1e-13)
    for load, (_, seconds, _) in zip(found, expected, strict=True):
        assert load.slowdown == pytest.approx(_slowdown(seconds, expected), rel=1e-9)


def _slowdown(
    own: dict[Hop, float], all_of_them: list[tuple[dict[str, float], dict[Hop, float], float]]
) -> float:
    """What all ask of the fullest cable between switches that a group uses."""
    asked = [
        sum(
            seconds.get(hop, 0.0) / max(worst.values())
            for worst, seconds, _ in all_of_them
            if worst
        )
        for hop in own
    ]
    return max(1.0, *asked, 1.0)


def test_nodes_are_switches_and_gpus_with_equal_ports_are_one_attachment() -> None:
    # 20 GPUs in domains of 8: 8, 8, 4. Leaves of 16: 16, 4.
    spec = ClusterSpec(sku="b200", gpus=20, scale_out=ScaleOut(gpus_per_leaf=16, spines=2))
    fabric = build_fabric(spec)
    assert list(fabric.scale_up.graph) == [("nvswitch", each) for each in range(3)]
    assert list(fabric.scale_out.graph) == [("leaf", 0), ("leaf", 1), ("spine", 0), ("spine", 1)]
    assert fabric.scale_out.graph.number_of_edges() == 2 * 2
    assert np.bincount(fabric.scale_up.of_gpu).tolist() == [8, 8, 4]
    assert fabric.classes_of(range(20)) == ((0, 0, 8), (1, 0, 8), (2, 1, 4))
    with pytest.raises(nx.NetworkXError, match="Frozen"):
        fabric.scale_out.graph.add_node(("leaf", 9))


def test_rates_and_latencies_of_links_by_hand() -> None:
    out = ScaleOut(gpus_per_leaf=16, spines=2, oversubscription=4.0)
    spec = ClusterSpec(sku="b200", gpus=20, nic_latency_us=4.0, scale_out=out)
    fabric = build_fabric(spec)
    # A GPU reaches the switch at 900 GB/s in half of the 1 us to another GPU.
    assert fabric.scale_up.attachments[0] == ((("nvswitch", 0), 900e9, 500_000),)
    # And its leaf at 50 GB/s in half of the 4 us to another GPU there.
    assert fabric.scale_out.attachments[0] == ((("leaf", 0), 50e9, 2_000_000),)
    # 16 NICs of 50 GB/s, a quarter of it upwards, over two spines; four NICs on the last leaf.
    up = fabric.scale_out.graph.edges[("leaf", 0), ("spine", 1)]
    assert up == {"cables": 1, "rate": 100e9, "latency": 500_000, "kind": "leaf_spine"}
    assert fabric.scale_out.graph.edges[("leaf", 1), ("spine", 1)]["rate"] == 25e9


def test_one_leaf_needs_no_spine() -> None:
    fabric = build_fabric(default_cluster("b200", 32))
    assert list(fabric.scale_out.graph) == [("leaf", 0)]


def test_workers_on_shared_uplinks_slow_each_other() -> None:
    # 48 and 48 GPUs on leaves of 32: the second leaf has 16 of each, that send 16 x 32 bytes out
    # over 32 NICs' worth of uplinks, a third of it; together they ask twice of them.
    spec = ClusterSpec(sku="b200", gpus=96, scale_out=ScaleOut(oversubscription=3.0))
    fabric = build_fabric(spec)
    one, other = group_loads(fabric, [all_to_all(range(48)), all_to_all(range(48, 96))])
    assert one.seconds == pytest.approx(16 * 32 / (32 * 50e9 / 3))
    assert one.slowdown == other.slowdown == pytest.approx(2.0)
    assert one.shared == ("leaf_spine", "leaf 1 to spine 0")
    assert (one.shared_with, other.shared_with) == ((1,), (0,))


@pytest.mark.parametrize("seed", range(100))
def test_non_blocking_fabrics_slow_nobody(seed: int) -> None:
    rng = random.Random(seed)
    spec, _ = random_cluster(rng)
    whole = spec.model_copy(
        update={"scale_out": spec.scale_out.model_copy(update={"oversubscription": 1.0})}
    )
    gpus = rng.sample(range(whole.gpus), whole.gpus)
    cuts = sorted(rng.sample(range(whole.gpus + 1), min(3, whole.gpus)))
    groups = [gpus[a:b] for a, b in zip([0, *cuts], [*cuts, whole.gpus], strict=True) if a < b]
    loads = group_loads(build_fabric(whole), [all_to_all(each) for each in groups])
    assert [load.slowdown for load in loads] == [1.0] * len(groups)


def test_without_one_of_four_spines_the_others_carry_a_third_more() -> None:
    spec = ClusterSpec(sku="b200", gpus=64, scale_out=ScaleOut(spines=4))
    fabric = build_fabric(spec)
    whole = group_loads(fabric, [all_to_all(range(64))])[0]
    graph: nx.Graph[Switch] = nx.Graph(fabric.scale_out.graph)
    graph.remove_node(("spine", 3))
    plane = fabric.scale_out
    cut = type(fabric)(fabric.scale_up, type(plane)("nic", graph, plane.attachments, plane.of_gpu))
    found = group_loads(cut, [all_to_all(range(64))])[0]
    assert found.by_kind["leaf_spine"] == pytest.approx(4 / 3 * whole.by_kind["leaf_spine"])


def test_all_reduce_by_hand() -> None:
    spec = default_cluster("b200", 32)
    fabric = build_fabric(spec)
    # Four domains of 8: 2 (1 - 1/8) of the message inside, 2/8 (1 - 1/4) of it over each NIC.
    (ring,) = group_loads(fabric, [all_reduce(fabric, range(32))])
    assert ring.by_kind == pytest.approx({"nvlink": 2 * 7 / 8 / 900e9, "nic": 1.5 / 8 / 50e9})
    # In a tree of four the root's and its first child's NICs send an eighth twice.
    (tree,) = group_loads(fabric, [all_reduce(fabric, range(32), shape="tree")])
    assert tree.by_kind["nic"] == pytest.approx(2 / 8 / 50e9)
    (inside,) = group_loads(fabric, [all_reduce(fabric, range(8))])
    assert inside.by_kind == pytest.approx({"nvlink": 2 * 7 / 8 / 900e9})


def test_hand_over_by_hand() -> None:
    # 8 GPUs of prefill send a byte each, to 16 of decode on another leaf at half the rate.
    out = ScaleOut(gpus_per_leaf=16, spines=2, oversubscription=2.0)
    fabric = build_fabric(ClusterSpec(sku="b200", gpus=32, scale_out=out))
    (load,) = group_loads(fabric, [hand_over(range(8), range(16, 32))])
    assert load.by_kind == pytest.approx({"nic": 1 / 50e9, "leaf_spine": 8 / (16 * 50e9 / 2)})


THOUSAND_WORKERS = """
import resource, time
from presets import ClusterSpec, ScaleOut
from topology import group_paths
spec = ClusterSpec(sku="b200", gpus=100_000, scale_out=ScaleOut(spines=32, oversubscription=3.0))
groups = [range(96 * each, 96 * each + 96) for each in range(1000)]
paths = group_paths(spec, groups)
assert {path.domains for path in paths} == {12}
print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_a_large_cluster_with_a_thousand_workers_is_quick_and_small() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", THOUSAND_WORKERS], check=True, cwd=root, capture_output=True
    )
    seconds, megabytes = map(float, done.stdout.split())
    assert seconds < 5.0
    assert megabytes < 1000.0
