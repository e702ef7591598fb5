import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets import ClusterSpec, InputError, ScaleOut, default_cluster
from topology import group_table, pack_workers, place_group, placed_paths, shares_links

B200 = default_cluster("b200", 32)
GB200 = default_cluster("gb200", 144)


@pytest.mark.parametrize(
    ("spec", "size", "first", "start"),
    [
        (B200, 4, 0, 0),
        (B200, 4, 3, 3),  # 3 to 6 lie in server 0
        (B200, 4, 5, 8),  # 5 to 8 would straddle two servers
        (B200, 8, 1, 8),
        (B200, 16, 1, 8),  # larger than a domain: whole domains
        (GB200, 4, 2, 4),  # trays of four
        (GB200, 8, 3, 4),  # two whole trays
        (GB200, 8, 66, 72),  # 68 to 75 would straddle two racks
        (GB200, 72, 0, 0),
        (GB200, 8, 64, 64),
    ],
)
def test_group_starts_at_the_first_fit_place(
    spec: ClusterSpec, size: int, first: int, start: int
) -> None:
    assert place_group(spec, size, first) == tuple(range(start, start + size))


@pytest.mark.parametrize(
    ("size", "first", "message"),
    [
        (0, 0, "give 1 to 32"),
        (33, 0, "give 1 to 32"),
        (4, 32, "first_gpu: 32 is not valid; give 0 to 31"),
        (4, -1, "first_gpu"),
        (8, 25, "do not fit from GPU 32 on; the cluster has 32"),
    ],
)
def test_group_without_room_is_refused(size: int, first: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        place_group(B200, size, first)


def test_a_large_cluster_is_packed_from_its_front() -> None:
    sizes = [64, 8, 72, 100]
    few, many = (pack_workers(default_cluster("gb200", gpus), sizes) for gpus in (360, 65_536))
    assert few == many


def test_packing_by_hand() -> None:
    small, large, middle = pack_workers(B200, [4, 16, 8])
    assert (large.gpus, large.domains) == (tuple(range(16)), (0, 1))
    assert (middle.gpus, middle.domains) == (tuple(range(16, 24)), (2,))
    assert (small.gpus, small.domains) == (tuple(range(24, 28)), (3,))


def test_rest_of_a_large_worker_leaves_room_for_whole_domains() -> None:
    # 20 GPUs are 8, 8, 4: only 8 + 4 in the last two domains leaves a domain for the other worker.
    spec = default_cluster("b200", 20)
    large, other = pack_workers(spec, [12, 8])
    assert large.domains == (0, 2)
    assert other.domains == (1,)


def test_a_worker_over_domains_stands_before_those_that_fill_one() -> None:
    one, two = pack_workers(B200, [8, 16])
    assert (two.domains, one.domains) == ((0, 1), (2,))


def test_large_worker_takes_whole_servers() -> None:
    # 6 GPUs take two trays of four; two GPUs of the second are left for a small worker.
    six, two, four = pack_workers(default_cluster("gb200", 72), [6, 2, 4])
    assert six.gpus == (0, 1, 2, 3, 4, 5)
    assert two.gpus == (6, 7)
    assert four.gpus == (8, 9, 10, 11)


def test_published_deployment_fits_one_rack() -> None:
    placed = pack_workers(default_cluster("gb200", 72), [4, 4, 4, 32])
    assert all(worker.domains == (0,) for worker in placed)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([32, 4], "2 workers need 36 GPUs; the cluster has 32"),
        ([5, 5, 5, 5, 5], "no NVLink domain has room left for 5 GPUs"),
        ([0], "give 1 to 32"),
    ],
)
def test_workers_without_room_are_refused(sizes: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pack_workers(B200, sizes)


@given(st.lists(st.sampled_from([1, 2, 4, 8]), max_size=30), st.integers(1, 40))
def test_powers_of_two_are_packed_whenever_whole_domains_suffice(
    sizes: list[int], gpus: int
) -> None:
    spec = default_cluster("b200", gpus)
    if sum(sizes) > gpus // 8 * 8:
        return
    placed = pack_workers(spec, sizes)
    used = [gpu for worker in placed for gpu in worker.gpus]
    assert len(used) == len(set(used)) == sum(sizes)
    assert [len(worker.gpus) for worker in placed] == sizes
    assert all(len(worker.domains) == 1 for worker in placed)
    assert all(0 <= gpu < gpus for gpu in used)


@given(st.lists(st.integers(1, 24), max_size=8))
def test_no_gpu_is_given_twice(sizes: list[int]) -> None:
    spec = default_cluster("b200", 64)
    try:
        placed = pack_workers(spec, sizes)
    except InputError:
        return
    used = [gpu for worker in placed for gpu in worker.gpus]
    assert len(used) == len(set(used)) == sum(sizes)
    for size, worker in zip(sizes, placed, strict=True):
        assert worker.domains == tuple(sorted({gpu // 8 for gpu in worker.gpus}))
        assert len(worker.domains) == -(-size // 8)


def test_no_worker_needs_no_gpu() -> None:
    assert pack_workers(B200, []) == ()


def test_table_of_sizes() -> None:
    table = group_table(B200, [16, 8, 8, 1])
    assert list(table) == [1, 8, 16]
    assert [path.domains for path in table.values()] == [1, 1, 2]
    assert table[16].per_gpu_rate == pytest.approx(93.75e9)
    assert group_table(B200, (8,))[8] is table[8]


def test_table_refuses_a_group_larger_than_the_cluster() -> None:
    with pytest.raises(InputError, match="64 GPUs is not valid"):
        group_table(B200, [64])


@pytest.mark.parametrize("seed", range(60))
def test_without_oversubscription_links_follow_from_the_size(seed: int) -> None:
    # What the search and the cost model take for granted there: workers need not be placed.
    rng = random.Random(seed)
    spec = ClusterSpec(
        sku="b200",
        gpus=rng.randint(16, 96),
        gpus_per_domain=rng.choice([4, 8, 12]),
        gpus_per_node=4,
        scale_out=ScaleOut(gpus_per_leaf=rng.randint(4, 40), spines=rng.randint(1, 3)),
    )
    assert not shares_links(spec)
    sizes: list[int] = []
    while sum(sizes) < spec.gpus - 4 and len(sizes) < 4:
        sizes.append(rng.randint(1, spec.gpus - sum(sizes)))
    try:
        placed = [each.gpus for each in pack_workers(spec, sizes)]
    except InputError:
        return
    alone = group_table(spec, sizes)
    for size, path in zip(sizes, placed_paths(spec, placed), strict=True):
        expected = alone[size]
        assert path.seconds_per_pair_byte == pytest.approx(expected.seconds_per_pair_byte)
        assert path.nic_rate == pytest.approx(expected.nic_rate)
        assert path.nvlink_rate == pytest.approx(expected.nvlink_rate)
        assert path.domain_sizes == expected.domain_sizes
