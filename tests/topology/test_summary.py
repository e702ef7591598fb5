import json
from dataclasses import asdict

import pytest

from presets import ClusterSpec, ScaleOut, default_cluster
from topology import DomainGroup, summarize_cluster


def test_b200_by_hand() -> None:
    summary = summarize_cluster(default_cluster("b200", 36))
    assert summary.domains == (DomainGroup(4, 8), DomainGroup(1, 4))
    counts = [(link.kind, link.count, link.rate) for link in summary.links]
    # Leaves of 32 and 4 GPUs under four spines.
    assert counts == [
        ("nvlink", 72, 900e9),
        ("nic", 72, 50e9),
        ("leaf_spine", 8, 50e9),
        ("leaf_spine", 8, 400e9),
    ]
    assert [group.gpus for group in summary.groups] == [4, 8, 16, 32, 36]
    rates = {group.gpus: group.per_gpu_rate / 1e9 for group in summary.groups}
    assert rates[8] == pytest.approx(900)
    assert rates[16] == pytest.approx(93.75)
    assert rates[32] == pytest.approx(31 / 24 * 50)
    assert [group.domains for group in summary.groups] == [1, 1, 2, 4, 5]


def test_groups_end_at_the_domain_and_at_the_cluster() -> None:
    summary = summarize_cluster(default_cluster("gb200", 144))
    assert [group.gpus for group in summary.groups] == [4, 8, 16, 32, 64, 72, 128, 144]
    assert [group.bottleneck for group in summary.groups] == ["nvlink"] * 6 + ["nic"] * 2


def test_single_gpu_has_no_groups() -> None:
    spec = ClusterSpec(sku="b200", gpus=1, gpus_per_domain=1, gpus_per_node=1)
    assert summarize_cluster(spec).groups == ()


def test_summary_is_plain_finite_data() -> None:
    fabric = ScaleOut(oversubscription=2.0)
    spec = ClusterSpec(sku="b200", gpus=72, scale_out=fabric)
    json.dumps(asdict(summarize_cluster(spec)), allow_nan=False)
