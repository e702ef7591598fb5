import math

import pytest

from presets import (
    ClusterSpec,
    InputError,
    ScaleOut,
    default_cluster,
    hardware_names,
    load_hardware,
)
from topology import group_paths
from topology.cluster import read_layout
from topology.paths import domain_path


def test_two_islands_of_b200_by_hand() -> None:
    path = group_paths(default_cluster("b200", 16), [range(16)])[0]
    # Of 15 bytes each GPU sends 7 over NVLink and 8 over its NIC, which takes 8/50e9 s.
    assert path.load_by_kind == pytest.approx({"nvlink": 7 / 900e9, "nic": 8 / 50e9})
    assert path.bottleneck == "nic"
    assert path.seconds_per_pair_byte == pytest.approx(1.6e-10)
    assert path.per_gpu_rate == pytest.approx(93.75e9)
    assert (path.domains, path.domain_sizes) == (2, (8, 8))
    assert (path.nvlink_rate, path.nic_rate) == (900e9, 50e9)


def test_one_rack_of_gb200_by_hand() -> None:
    path = group_paths(default_cluster("gb200", 72), [range(32)])[0]
    assert path.per_gpu_rate == pytest.approx(900e9)
    assert path.bottleneck == "nvlink"
    assert "nic" not in path.load_by_kind
    assert path.latency == path.domain_latency == pytest.approx(1e-6)


def test_uneven_islands_wait_for_the_smaller() -> None:
    # 12 GPUs as 8 + 4: each of the four sends 8 bytes over its NIC, each of the eight only 4.
    path = group_paths(default_cluster("b200", 16), [range(12)])[0]
    assert path.domain_sizes == (8, 4)
    assert path.seconds_per_pair_byte == pytest.approx(8 / 50e9)


def test_oversubscribed_leaves_by_hand() -> None:
    fabric = ScaleOut(gpus_per_leaf=8, spines=2, oversubscription=4.0)
    spec = ClusterSpec(sku="b200", gpus=16, scale_out=fabric)
    path = group_paths(spec, [range(16)])[0]
    # 8 x 8 bytes leave each leaf over 8 x 50e9 / 4 B/s.
    assert path.bottleneck == "leaf_spine"
    assert path.seconds_per_pair_byte == pytest.approx(64 / 100e9)
    assert path.nic_rate == pytest.approx(12.5e9)
    assert path.latency == pytest.approx(5e-6 + 2 * 0.5e-6)


def test_non_blocking_leaves_leave_the_nic_as_bottleneck() -> None:
    spec = ClusterSpec(sku="b200", gpus=24, scale_out=ScaleOut(gpus_per_leaf=8, spines=3))
    path = group_paths(spec, [range(24)])[0]
    assert path.bottleneck == "nic"
    assert path.load_by_kind["leaf_spine"] == pytest.approx(path.load_by_kind["nic"])


def test_single_gpu_moves_nothing() -> None:
    path = group_paths(default_cluster("b200", 8), [[5]])[0]
    assert (path.seconds_per_pair_byte, path.latency, path.bottleneck) == (0.0, 0.0, None)
    assert path.per_gpu_rate == math.inf


def test_path_can_be_a_key() -> None:
    spec = default_cluster("b200", 8)
    assert len({*group_paths(spec, [[0, 1]]), *group_paths(spec, [[2, 3]])}) == 1


@pytest.mark.parametrize(
    ("group", "message"),
    [([], "empty"), ([1, 1], "twice"), ([0, 8], "0 to 7"), ([-1, 0], "0 to 7")],
)
def test_invalid_groups_are_refused(group: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        group_paths(default_cluster("b200", 8), [group])[0]


WITHOUT_TORI = [name for name in hardware_names() if load_hardware(name).scale_up != "torus"]
"""Machines whose groups of one size inside a domain are all alike."""


@pytest.mark.parametrize("sku", WITHOUT_TORI)
def test_inside_a_domain_no_graph_is_needed(sku: str) -> None:
    domain = int(load_hardware(sku).gpus_per_domain.value)
    scale_out = ScaleOut(gpus_per_leaf=max(domain // 2, 1), spines=2)
    spec = ClusterSpec(sku=sku, gpus=2 * domain, scale_out=scale_out)
    layout = read_layout(spec)
    for size in range(1, domain + 1):
        for first in (0, domain, 2 * domain - size):
            group = list(range(first, first + size))
            found, expected = group_paths(spec, [group])[0], domain_path(layout, size)
            assert found.load_by_kind == pytest.approx(expected.load_by_kind, rel=1e-12)
            for name in ("seconds_per_pair_byte", "latency", "nvlink_rate", "nic_rate"):
                assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-12)
            for name in ("gpus", "domain_sizes", "bottleneck", "domain_latency", "slowdown"):
                assert getattr(found, name) == getattr(expected, name)
