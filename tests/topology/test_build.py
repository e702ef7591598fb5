"""Clusters of unequal domains, several tiers, and parts out of use, against all pairs of GPUs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presets import ClusterSpec, InputError, ScaleOut, default_cluster
from tests.topology.fabrics import by_pairs
from topology import group_table, pack_workers, placed_paths, summarize_cluster
from topology.build import build_fabric, cut_off
from topology.cluster import out_of_use, read_layout
from topology.contention import group_loads
from topology.patterns import all_to_all
from topology.placement import unusable


@st.composite
def clusters(draw: st.DrawFn) -> ClusterSpec:
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    pods = draw(st.booleans())
    halls = draw(st.sampled_from([1, 1, 2]))
    out = ScaleOut(
        gpus_per_leaf=draw(st.integers(1, 5)),
        rails=draw(st.integers(1, 2)),
        spines=draw(st.integers(1, 3)),
        oversubscription=draw(st.sampled_from([1.0, 2.0])),
        leaves_per_pod=draw(st.integers(1, 3)) if pods else None,
        cores=draw(st.integers(1, 2)) if pods else 0,
        core_oversubscription=draw(st.sampled_from([1.0, 3.0])),
        halls=halls,
        hall_gb_s=20.0 if halls > 1 else None,
    )
    gpus = sum(sizes)
    lost = draw(st.lists(st.integers(0, gpus - 1), max_size=2))
    return ClusterSpec(
        sku=draw(st.sampled_from(["b200", "mi300x", "tpu7x"])),
        gpus=gpus,
        gpus_per_domain=6,
        gpus_per_node=3,
        domains=tuple(sizes),
        scale_out=out,
        failed=tuple(f"gpu {each}" for each in lost),
    )


@settings(max_examples=100, deadline=None)
@given(clusters())
def test_built_clusters_equal_all_pairs(spec: ClusterSpec) -> None:
    fabric = build_fabric(spec)
    group = sorted(set(range(spec.gpus)) - unusable(spec))
    if len(group) < 2:
        return
    (load,) = group_loads(fabric, [all_to_all(group)])
    worst, _, latency = by_pairs(fabric, all_to_all(group))
    assert load.by_kind == pytest.approx(worst, rel=1e-9, abs=0)
    assert load.latency == pytest.approx(latency, abs=1e-13)


@settings(max_examples=100, deadline=None)
@given(clusters(), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_workers_stand_on_what_is_left(spec: ClusterSpec, sizes: list[int]) -> None:
    try:
        placed = pack_workers(spec, sizes)
    except InputError:
        return
    gpus = [gpu for each in placed for gpu in each.gpus]
    assert len(gpus) == len(set(gpus)) == sum(sizes)
    assert unusable(spec).isdisjoint(gpus)
    layout = read_layout(spec)
    for each in placed:
        assert each.domains == tuple(sorted({layout.domain_of(gpu) for gpu in each.gpus}))
    placed_paths(spec, [each.gpus for each in placed])


def test_a_mesh_gives_few_gpus_few_of_its_links() -> None:
    # Each of 8 GPUs has 7 links that share its 448 GB/s.
    spec = ClusterSpec(sku="mi300x", gpus=16)
    table = group_table(spec, [2, 4, 8])
    rate = read_layout(spec).nvlink_rate
    for size, path in table.items():
        assert path.seconds_per_pair_byte == pytest.approx(7 / rate)
        assert path.nvlink_rate == pytest.approx((size - 1) / 7 * rate)
        (load,) = group_loads(build_fabric(spec), [all_to_all(range(size))])
        assert load.seconds == pytest.approx(path.seconds_per_pair_byte)


def test_three_tiers_by_hand() -> None:
    # Four leaves of 8 GPUs in two pods; the cores carry a fourth of what the leaves do.
    out = ScaleOut(gpus_per_leaf=8, spines=2, leaves_per_pod=2, cores=2, core_oversubscription=4.0)
    fabric = build_fabric(ClusterSpec(sku="b200", gpus=32, scale_out=out))
    (load,) = group_loads(fabric, [all_to_all(range(32))])
    # 16 x 16 bytes leave each pod over 16 NICs' worth of cables, a fourth of it.
    assert load.by_kind["spine_core"] == pytest.approx(256 / (16 * 50e9 / 4))
    assert load.by_kind["leaf_spine"] == pytest.approx(8 * 24 / (8 * 50e9))
    assert load.worst is not None
    assert load.worst.kind == "spine_core"
    assert load.latency == pytest.approx(5e-6 + 4 * 0.5e-6)


def test_rails_keep_gpus_of_one_rank_on_one_leaf() -> None:
    out = ScaleOut(gpus_per_leaf=4, rails=8, spines=2, oversubscription=4.0)
    spec = ClusterSpec(sku="b200", gpus=64, scale_out=out)
    fabric = build_fabric(spec)
    leaf_of = [fabric.scale_out.attachments[each][0].switch[1] for each in fabric.scale_out.of_gpu]
    assert leaf_of[:9] == [0, 1, 2, 3, 4, 5, 6, 7, 0]
    assert leaf_of[32:34] == [8, 9]  # the next four servers
    same, across = (
        group_loads(fabric, [all_to_all(group)])[0] for group in ([0, 8, 16, 24], [0, 9, 18, 27])
    )
    assert "leaf_spine" not in same.by_kind
    assert across.by_kind["leaf_spine"] > 0


def test_halls_share_a_thin_link() -> None:
    out = ScaleOut(gpus_per_leaf=8, spines=2, halls=2, hall_gb_s=100.0)
    fabric = build_fabric(ClusterSpec(sku="b200", gpus=32, scale_out=out))
    (load,) = group_loads(fabric, [all_to_all(range(32))])
    assert load.by_kind["hall"] == pytest.approx(16 * 16 / 100e9)
    assert load.worst is not None
    assert "hall-link 0" in load.worst.name


def test_what_is_out_of_use_by_hand() -> None:
    spec = ClusterSpec(
        sku="b200",
        gpus=64,
        reserved=("server 0", "gpu 9"),
        failed=("leaf 3", "nic 20", "domain 2"),
        scale_out=ScaleOut(gpus_per_leaf=16),
    )
    assert out_of_use(spec) == {*range(8), 9, *range(16, 24)}
    assert cut_off(spec) == set(range(48, 64))  # NIC 20 is of a domain that failed
    assert summarize_cluster(spec).unusable == {"reserved or failed": 17, "cut off": 16}


def test_a_leaf_without_uplinks_is_cut_off() -> None:
    failed = tuple(f"uplink 0/{spine}" for spine in range(4))
    spec = ClusterSpec(sku="b200", gpus=96, failed=failed)
    assert cut_off(spec) == set(range(32))
    lost = ClusterSpec(sku="b200", gpus=64, failed=("spine 0-3",))
    assert cut_off(lost) == set(range(32, 64))  # of two equal pieces the first counts


def test_domains_of_any_size_hold_workers() -> None:
    spec = ClusterSpec(sku="gb200", gpus=206, domains=(72, 70, 64))
    large, small = pack_workers(spec, [128, 64])
    assert (large.domains, small.domains) == ((0, 2), (1,))
    with pytest.raises(InputError, match="no NVLink domain has room left for 72"):
        pack_workers(spec, [72, 72])


def test_bridges_of_four_in_servers_of_eight() -> None:
    spec = ClusterSpec(sku="h200", gpus=16, gpus_per_domain=4)
    four, eight = pack_workers(spec, [4, 8])
    assert (eight.domains, four.domains) == ((0, 1), (2,))
    assert group_table(spec, [8])[8].domain_sizes == (4, 4)


@pytest.mark.parametrize(
    ("gpus", "gb_s"),
    # Of a ring of k each link carries a pair's byte k^2/8 times, of two GPUs once: in a cube of
    # 4 x 4 x 4 a link of 100 GB/s carries 2 x 16 pairs of the 63 that a GPU sends to.
    [(2, 100 / 1), (4, 3 * 100 / 2), (16, 15 * 100 / 8), (64, 63 * 100 / 32)],
)
def test_a_torus_gives_what_its_links_carry(gpus: int, gb_s: float) -> None:
    path = group_table(default_cluster("tpu7x", 64), [gpus])[gpus]
    assert path.nvlink_rate == pytest.approx(gb_s * 1e9)
    assert path.bottleneck == "nvlink"


def test_a_torus_with_a_dead_gpu_sends_around_it() -> None:
    whole = ClusterSpec(sku="tpu7x", gpus=64)
    worn = ClusterSpec(sku="tpu7x", gpus=64, failed=("gpu 21",))
    fabric = build_fabric(worn)
    assert fabric.scale_up.of_gpu[21] == -1
    ring, around = (placed_paths(spec, [(20, 22)])[0].per_gpu_rate for spec in (whole, worn))
    assert around <= ring


def test_every_gpu_of_a_torus_has_its_neighbours() -> None:
    graph = build_fabric(ClusterSpec(sku="tpu7x", gpus=128)).scale_up.graph
    assert {len(graph[("gpu", gpu)]) for gpu in range(128)} == {6}
    small = build_fabric(ClusterSpec(sku="tpu7x", gpus=8, gpus_per_domain=8)).scale_up.graph
    assert {len(small[("gpu", gpu)]) for gpu in range(8)} == {3}
