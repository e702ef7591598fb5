import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.calibration import AllToAllKernel, Calibration
from costmodel.collectives import (
    all_reduce_time,
    copies_sent,
    crossing_latency,
    crossing_slowdown,
    engine_exchange_time,
    exchange_time,
    nic_copies,
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


def test_exchange_across_domains_by_hand(plain: Calibration, across: PathArrays) -> None:
    # Wire: 2187.5 B x 200 ps at a quarter of the rate of NICs = 1.75 us. The path is 4 us longer
    # than in a domain; 3 rounds of that come on top.
    assert exchange(plain, across) == pytest.approx(12.02e-6 + 1.75e-6 + 3 * 4e-6)


def in_engine(calibration: Calibration, paths: PathArrays, over_nics: float = 0.5) -> float:
    """As `exchange`, twice as long in the engine, with copies over NICs."""
    time = engine_exchange_time(
        calibration.dispatch,
        np.asarray(10.0),
        np.asarray(500.0),
        np.asarray(2000.0),
        FOUR,
        np.asarray(7 / 16),
        np.asarray(over_nics),
        paths,
        calibration,
    )
    return float(time)


def test_inside_a_domain_the_engine_takes_its_factor(
    plain: Calibration, inside: PathArrays
) -> None:
    assert in_engine(plain, inside) == pytest.approx(2 * exchange(plain, inside))


def test_crossing_by_hand(plain: Calibration, across: PathArrays) -> None:
    # 10 x 1/2 copies of 500 B to each peer: 200 ps/B at a quarter of the rate, and 3 rounds of
    # 4 us; in the engine four times as long. Local: 12.02 us twice. NVLink, 2187.5 B to each of 3
    # peers in 0.2625 us, works at the same time.
    assert in_engine(plain, across) == pytest.approx(24.04e-6 + 4 * 14e-6)
    # With fewer copies over NICs NVLink is the slower.
    less = in_engine(plain, across, over_nics=0.01)
    assert less == pytest.approx(24.04e-6 + 0.2625e-6 + 4 * 12e-6)


def test_the_engine_s_loss_over_nics_goes_with_their_latency(
    plain: Calibration, across: PathArrays
) -> None:
    for latency, slowdown in ((1e-6, 1.0), (3e-6, 2.5), (5e-6, 4.0), (9e-6, 7.0)):
        path = across._replace(latency=np.asarray(latency))
        assert crossing_slowdown(path, plain) == pytest.approx(slowdown)
        assert crossing_latency(path, plain) == pytest.approx(4 * 3 * (latency - 1e-6))


def test_nics_as_good_as_nvlink_cost_nothing(
    plain: Calibration, inside: PathArrays, across: PathArrays
) -> None:
    equal = plain._replace(nic_efficiency=plain.link_efficiency)
    good = across._replace(seconds_per_pair_byte=np.asarray(2 / 1e11), latency=np.asarray(1e-6))
    here, there = (in_engine(equal, path) for path in (inside, good))
    assert here == pytest.approx(there)


def test_large_dispatches_are_gathered(across: PathArrays) -> None:
    # 4 ranks in 2 domains, 2 experts: 2/4 copies to a rank, or 1 to each domain of 2 ranks.
    wide = across._replace(domains=np.asarray(1.5))
    size, two = np.asarray(1024.0), np.asarray(2.0)
    for tokens, copies in ((1, 0.5), (4096, 0.5), (4097, 0.375)):
        assert nic_copies(np.asarray(float(tokens)), size, two, FOUR, FOUR, wide) == copies


def test_exchange_of_eight_b200_takes_the_topology_s_load(plain: Calibration) -> None:
    path = path_arrays(group_table(default_cluster("b200", 8), [8])[8])
    free = exchange(plain, path._replace(seconds_per_pair_byte=np.asarray(0.0)), ranks=8)
    # Each GPU sends to 7 others at 900 GB/s: 10 x 15/64 x 500 B to each, at half the rate.
    wire = 10 * 15 / 64 * 500 * 7 / 900e9 / 0.5
    assert exchange(plain, path, ranks=8) - free == pytest.approx(wire, rel=1e-6)


def test_leaving_the_domain_costs_far_more_than_the_link_rates_say(plain: Calibration) -> None:
    table = group_table(default_cluster("b200", 16), [8, 16])
    eight, sixteen = (path_arrays(table[gpus]) for gpus in (8, 16))
    assert exchange(plain, sixteen, ranks=16) > exchange(plain, eight, ranks=8) + 3 * 4e-6


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


def test_all_reduce_across_domains_is_hierarchical(plain: Calibration, across: PathArrays) -> None:
    # In each domain of 2: one shot of 1 MB at 50 GB/s, 20 us.
    # Across, in the engine four times as long: each GPU owns 0.5 MB; 2 x 0.5 MB x 1/2 at a quarter
    # of 10 GB/s is 200 us; 3 rounds of 4 us are longer than the 20 us of two shots.
    assert reduce(plain, across, 1e6) == pytest.approx(5e-6 + 20e-6 + 4 * (200e-6 + 12e-6))


def test_the_engine_s_factor_holds_inside_a_domain(
    plain: Calibration, inside: PathArrays, across: PathArrays
) -> None:
    def engine(paths: PathArrays, size: float) -> float:
        return float(all_reduce_time(np.asarray(size), FOUR, paths, plain, LAUNCH, 2.0))

    assert engine(inside, 1e6) == pytest.approx(2 * reduce(plain, inside, 1e6))
    assert engine(across, 1e6) == pytest.approx(2 * 25e-6 + 4 * 212e-6)


def test_a_wide_domain_reduces_in_groups_first(plain: Calibration, inside: PathArrays) -> None:
    # 64 GPUs, 1 MB: one shot takes 63 x 20 us. Pairs first: 20 us, then 20 us and
    # 2 x 1/2 MB x 62/64 at 50 GB/s, 19.375 us. Two shots of all 64: 20 us and 39.375 us.
    assert reduce(plain, inside, 1e6, gpus=64) == pytest.approx(5e-6 + 59.375e-6)
    # 100 kB: groups of 4 in one shot, 6 us, then 20 us and 2 x 25 kB x 60/64, 0.9375 us. Groups of
    # 2 take 2 + 20 + 1.9375 us.
    assert reduce(plain, inside, 1e5, gpus=64) == pytest.approx(5e-6 + 23.9375e-6)


def test_groups_divide_the_worker(plain: Calibration, across: PathArrays) -> None:
    # 20 GPUs, 10 in each domain, 10 kB: one shot of 9 x 10 kB at 50 GB/s, 1.8 us; then four times
    # 12 us and 2 x 1 kB x 1/2 at a quarter of 10 GB/s, 0.4 us. Groups of 8, which do not divide 20,
    # would take 1.4 us and 4 x 0.6 us.
    assert reduce(plain, across, 1e4, gpus=20) == pytest.approx(5e-6 + 1.8e-6 + 4 * 12.4e-6)


def test_arrays_give_what_single_values_give(
    plain: Calibration, inside: PathArrays, across: PathArrays
) -> None:
    sizes = np.array([1e3, 1e6, 1e9])
    for paths in (inside, across):
        many = all_reduce_time(sizes, np.asarray(4.0), paths, plain, LAUNCH)
        assert many.tolist() == [reduce(plain, paths, size) for size in sizes]


@given(st.floats(1, 1e6), st.floats(1, 1e6), factors)
def test_exchange_never_falls_with_tokens_or_bytes(
    plain: Calibration, across: PathArrays, tokens: float, size: float, factor: float
) -> None:
    before = exchange(plain, across, tokens=tokens, size=size)
    assert exchange(plain, across, tokens=tokens * factor, size=size) >= before
    assert exchange(plain, across, tokens=tokens, size=size * factor) >= before


@given(st.floats(1, 1e9), factors)
def test_slower_links_and_longer_paths_never_help(
    plain: Calibration, across: PathArrays, size: float, factor: float
) -> None:
    changes = [
        across._replace(seconds_per_pair_byte=across.seconds_per_pair_byte * factor),
        across._replace(latency=across.latency * factor),
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
