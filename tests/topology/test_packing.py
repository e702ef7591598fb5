"""Domains counted at once, against workers that are packed one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from presets import ClusterSpec, default_cluster
from topology import pack_workers
from topology.cluster import read_layout
from topology.packing import domains_filled

COUNTS = np.arange(6)


@st.composite
def clusters(draw: st.DrawFn) -> ClusterSpec:
    """Domains and servers of any size, with room for all that is packed."""
    node = draw(st.integers(1, 8))
    domain = node * draw(st.integers(1, 9))
    update = {"gpus": 3000, "gpus_per_node": node, "gpus_per_domain": domain}
    return ClusterSpec.model_validate(default_cluster("b200", 72).model_dump() | update)


def packed(cluster: ClusterSpec, sizes: list[int]) -> int:
    placed = pack_workers(cluster, sizes) if sizes else ()
    return len({domain for worker in placed for domain in worker.domains})


@settings(max_examples=50, deadline=None)
@given(clusters(), st.integers(1, 80), st.integers(1, 80))
def test_as_many_domains_as_workers_are_packed_into(
    cluster: ClusterSpec, one: int, other: int
) -> None:
    first, second = np.meshgrid(COUNTS, COUNTS, indexing="ij")
    counted = domains_filled(
        read_layout(cluster), (np.array(one), first), (np.array(other), second)
    )
    for ones in COUNTS.tolist():
        for others in COUNTS.tolist():
            assert counted[ones, others] == packed(cluster, [one] * ones + [other] * others)


@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 40), st.integers(0, 40))
def test_a_worker_more_never_takes_fewer_domains(
    one: int, other: int, ones: int, others: int
) -> None:
    for sku in ("gb200", "b200"):
        layout = read_layout(default_cluster(sku, 72))
        sizes = np.array(one), np.array(other)
        counts = np.array([ones, ones + 1, ones]), np.array([others, others, others + 1])
        few, *more = domains_filled(layout, (sizes[0], counts[0]), (sizes[1], counts[1]))
        assert min(more) >= few
