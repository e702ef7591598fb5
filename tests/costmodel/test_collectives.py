import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.calibration import AllToAllKernel, Calibration
from costmodel.collectives import (
    all_reduce_time,
    copies_sent,
    exchange_time,
    preparation_time,
    ranks_hit,
)
from costmodel.counts import path_arrays
from costmodel.inputs import PathArrays
from presets import default_cluster
from topology import group_table

LAUNCH = np.asarray(5e-6)
FOUR = np.asarray(4.0)
factors = st.floats(1.0, 1e3)


def exchange(
    calibration: Calibration,
    paths: PathArrays,
    *,
    tokens: float = 10,
    size: float = 500,
    ranks: float = 4,
    hit: float | None = None,
) -> float:
    """Dispatch of tokens with 2 experts each over the ranks; activations are 2000 B."""
    each = ranks_hit(np.asarray(ranks), np.asarray(2.0)) if hit is None else np.asarray(hit)
    time = exchange_time(
        calibration.dispatch,
        np.asarray(tokens),
        np.asarray(size),
        np.asarray(2000.0),
        np.asarray(ranks),
        each,
        paths,
        calibration,
    )
    return float(time)


def reduce(calibration: Calibration, paths: PathArrays, size: float, gpus: float = 4) -> float:
    return float(all_reduce_time(np.asarray(size), np.asarray(gpus), paths, calibration, LAUNCH))


def test_a_token_goes_once_to_each_rank_that_holds_an_expert() -> None:
    two, one = np.asarray(2.0), np.asarray(1.0)
    assert ranks_hit(np.asarray(4.0), two) == 7 / 16  # 1 - (3/4)^2
    assert ranks_hit(np.asarray(4.0), one) == 1 / 4
    assert ranks_hit(np.asarray(1.0), two) == 1


def test_a_kernel_that_does_not_join_experts_sends_one_copy_for_each() -> None:
    assert copies_sent(np.asarray(64.0), np.asarray(8.0)) * 64 == 8


@given(st.integers(1, 512), st.integers(1, 16))
def test_joining_experts_never_sends_more(ep: int, top_k: int) -> None:
    ranks, experts = np.asarray(float(ep)), np.asarray(float(top_k))
    assert ranks_hit(ranks, experts) <= copies_sent(ranks, experts) * (1 + 1e-9)


@given(st.integers(1, 512), st.integers(1, 16))
def test_a_token_never_goes_to_more_ranks_than_it_has_experts(ep: int, top_k: int) -> None:
    hit = float(ranks_hit(np.asarray(float(ep)), np.asarray(float(top_k)))) * ep
    assert hit <= min(ep, top_k) * (1 + 1e-9)
    assert hit >= 1 - 1e-9


def test_preparation_by_hand() -> None:
    kernel = AllToAllKernel(latency=10e-6, latency_per_doubling=1e-6, seconds_per_byte=1e-12)
    # 10 us, 1 us for each of 3 doublings, 100 x 2000 B at 1 ps/B = 0.2 us.
    time = preparation_time(kernel, np.asarray(100.0), np.asarray(2000.0), np.asarray([8.0, 1.0]))
    assert time == pytest.approx([13.2e-6, 0.0])


def test_exchange_in_a_domain_by_hand(plain: Calibration, inside: PathArrays) -> None:
    # Local: 10 us + 2 doublings of 1 us + 10 x 2000 B at 1 ps/B = 12.02 us.
    # Wire: to each peer 10 x 7/16 x 500 B = 2187.5 B; 30 ps each, at half the rate: 0.13125 us.
    assert exchange(plain, inside) == pytest.approx(12.02e-6 + 0.13125e-6)


def test_a_longer_path_inside_a_domain_counts_once(plain: Calibration, inside: PathArrays) -> None:
    far = inside._replace(domain_latency=np.asarray(3e-6))  # that of the kernels is 1 us
    assert exchange(plain, far) == pytest.approx(exchange(plain, inside) + 2e-6)
    assert reduce(plain, far, 1e4) == pytest.approx(reduce(plain, inside, 1e4) + 2e-6)


def test_exchange_of_eight_b200_takes_the_rate_of_nvlink(plain: Calibration) -> None:
    path = path_arrays(group_table(default_cluster("b200", 8), [8])[8])
    free = exchange(plain, path._replace(nvlink_rate=np.asarray(np.inf)), ranks=8)
    # Each GPU sends to 7 others at 900 GB/s: 10 x 15/64 x 500 B to each, at half the rate.
    wire = 10 * 15 / 64 * 500 * 7 / 900e9 / 0.5
    assert exchange(plain, path, ranks=8) - free == pytest.approx(wire, rel=1e-6)


def test_one_gpu_moves_nothing(plain: Calibration, inside: PathArrays) -> None:
    assert exchange(plain, inside, ranks=1) == 0.0
    assert reduce(plain, inside, 1e6, gpus=1) == 0.0


def test_small_all_reduce_is_one_shot(plain: Calibration, inside: PathArrays) -> None:
    # Reads 3 x 10 kB at 50 GB/s: 0.6 us after a launch of 5 us.
    assert reduce(plain, inside, 1e4) == pytest.approx(5.6e-6)


def test_large_all_reduce_is_two_shot(plain: Calibration, inside: PathArrays) -> None:
    # Two shots move 2 x 3/4 MB at 50 GB/s, 30 us, after 20 us; one shot would take 60 us. Pairs
    # first, 20 us, then 20 us and 2 x 1/2 x 1/2 MB between them, 10 us, take as long as two shots.
    assert reduce(plain, inside, 1e6) == pytest.approx(5e-6 + 20e-6 + 30e-6)


def test_all_reduce_across_domains_by_hand(plain: Calibration, across: PathArrays) -> None:
    # Two domains of 2: 2 x 1/2 x 1 MB at 50 GB/s, 20 us, then each GPU's half, 2 x 1/2 x 0.5 MB at
    # a quarter of 10 GB/s, 200 us, and 40 us of fixed time. Four domains of 1: 2 x 3/4 x 1 MB at a
    # quarter of 10 GB/s, 600 us, and 40 us for each doubling.
    assert reduce(plain, across, 1e6) == pytest.approx(40e-6 + 20e-6 + 200e-6)
    apart = across._replace(domains=FOUR)
    assert reduce(plain, apart, 1e6) == pytest.approx(80e-6 + 600e-6)


def test_the_engine_s_factor_holds_inside_a_domain(
    plain: Calibration, inside: PathArrays, across: PathArrays
) -> None:
    def engine(paths: PathArrays, size: float) -> float:
        return float(all_reduce_time(np.asarray(size), FOUR, paths, plain, LAUNCH, 2.0))

    assert engine(inside, 1e6) == pytest.approx(2 * reduce(plain, inside, 1e6))
    assert engine(across, 1e6) == reduce(plain, across, 1e6)


def test_a_wide_domain_reduces_in_groups_first(plain: Calibration, inside: PathArrays) -> None:
    # 64 GPUs, 1 MB: one shot takes 63 x 20 us. Pairs first: 20 us, then 20 us and
    # 2 x 1/2 MB x 62/64 at 50 GB/s, 19.375 us. Two shots of all 64: 20 us and 39.375 us.
    assert reduce(plain, inside, 1e6, gpus=64) == pytest.approx(5e-6 + 59.375e-6)
    # 100 kB: groups of 4 in one shot, 6 us, then 20 us and 2 x 25 kB x 60/64, 0.9375 us. Groups of
    # 2 take 2 + 20 + 1.9375 us.
    assert reduce(plain, inside, 1e5, gpus=64) == pytest.approx(5e-6 + 23.9375e-6)


def test_groups_divide_the_worker(plain: Calibration, inside: PathArrays) -> None:
    # 10 GPUs, 50 kB: pairs first, 1 us in one shot, then 20 us and 2 x 25 kB x 8/10 at 50 GB/s,
    # 0.8 us; one shot of all takes 9 us. Groups of 4 or 8 do not divide 10.
    assert reduce(plain, inside, 5e4, gpus=10) == pytest.approx(5e-6 + 9e-6)
    # 200 kB: one shot takes 36 us; pairs 4 us, then 20 us and 3.2 us.
    assert reduce(plain, inside, 2e5, gpus=10) == pytest.approx(5e-6 + 27.2e-6)


def test_arrays_give_what_single_values_give(
    plain: Calibration, inside: PathArrays, across: PathArrays
) -> None:
    sizes = np.array([1e3, 1e6, 1e9])
    for paths in (inside, across):
        many = all_reduce_time(sizes, np.asarray(4.0), paths, plain, LAUNCH)
        assert many.tolist() == [reduce(plain, paths, size) for size in sizes]


@given(st.floats(1, 1e6), st.floats(1, 1e6), factors)
def test_exchange_never_falls_with_tokens_or_bytes(
    plain: Calibration, inside: PathArrays, tokens: float, size: float, factor: float
) -> None:
    before = exchange(plain, inside, tokens=tokens, size=size)
    assert exchange(plain, inside, tokens=tokens * factor, size=size) >= before
    assert exchange(plain, inside, tokens=tokens, size=size * factor) >= before


@given(st.floats(1, 1e9), factors)
def test_slower_links_and_longer_paths_never_help(
    plain: Calibration, across: PathArrays, size: float, factor: float
) -> None:
    changes = [
        across._replace(domain_latency=across.domain_latency * factor),
        across._replace(nvlink_rate=across.nvlink_rate / factor),
        across._replace(nic_rate=across.nic_rate / factor),
    ]
    for worse in changes:
        assert exchange(plain, worse, size=size) >= exchange(plain, across, size=size)
        assert reduce(plain, worse, size) >= reduce(plain, across, size)


@given(st.floats(1, 1e9), factors)
def test_all_reduce_never_falls_with_bytes(
    plain: Calibration, inside: PathArrays, across: PathArrays, size: float, factor: float
) -> None:
    for paths in (inside, across):
        assert reduce(plain, paths, size * factor) >= reduce(plain, paths, size)
