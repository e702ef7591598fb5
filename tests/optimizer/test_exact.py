from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.exact import LARGEST, Candidates, choose, undominated

Row = tuple[int, int, int]


def candidates_of(rows: list[Row], prices: tuple[int, int]) -> Candidates:
    """Candidates from rows of throughput, prefill GPUs and decode GPUs."""
    throughput, prefill, decode = np.array(rows, dtype=np.int64).T
    return Candidates(throughput, prices[0] * prefill + prices[1] * decode, prefill + decode)


def enumerated(candidates: Candidates, max_gpus: int) -> tuple[Fraction, int, int] | None:
    """Best ratio, fewest GPUs among equals and the throughput, by looking at every candidate."""
    columns = (candidates.throughput, candidates.cost, candidates.gpus)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    ranked = [(Fraction(t, c), -g, t) for t, c, g in rows if g <= max_gpus]
    if not ranked:
        return None
    ratio, gpus = max(ranked)[:2]
    return ratio, -gpus, max(t for r, g, t in ranked if (r, g) == (ratio, gpus))


counts = st.integers(1, 40)
small = st.tuples(st.integers(1, 30), counts, counts)
large = st.tuples(st.integers(1, 10**12), counts, counts)
prices = st.tuples(st.integers(1, 10**9), st.integers(1, 10**9))


@settings(max_examples=500, deadline=None)
@given(
    rows=st.lists(small, min_size=1, max_size=40) | st.lists(large, min_size=1, max_size=40),
    prices=st.sampled_from([(1, 1), (195, 221)]) | prices,
    max_gpus=st.integers(1, 90),
)
def test_choice_equals_enumeration(rows: list[Row], prices: tuple[int, int], max_gpus: int) -> None:
    candidates = candidates_of(rows, prices)
    best = enumerated(candidates, max_gpus)
    choice = choose(candidates, max_gpus)
    if best is None:
        assert (choice.index, choice.status) == (None, "INFEASIBLE")
        return
    assert choice.index is not None
    assert choice.status == "OPTIMAL"
    assert choice.ratio == choice.bound == best[0]
    assert choice.gap == 0.0
    chosen = candidates.take(np.array([choice.index]))
    assert Fraction(int(chosen.throughput[0]), int(chosen.cost[0])) == best[0]
    assert chosen.gpus[0] == best[1]


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(small, min_size=1, max_size=40), prices=prices)
def test_pruning_keeps_the_best_and_its_order_does_not_matter(
    rows: list[Row], prices: tuple[int, int]
) -> None:
    candidates = candidates_of(rows, prices)
    kept = undominated(candidates, 80)
    assert enumerated(candidates.take(kept), 80) == enumerated(candidates, 80)
    turned = candidates_of(rows[::-1], prices)
    assert choose(turned, 80).ratio == choose(candidates, 80).ratio


def test_among_equals_the_fewest_gpus_win() -> None:
    candidates = candidates_of([(40, 4, 4), (20, 2, 2), (60, 6, 6)], (3, 3))
    assert choose(candidates, 72).index == 1


def test_dearer_prefill_changes_the_choice() -> None:
    rows = [(100, 8, 4), (90, 4, 8)]
    assert choose(candidates_of(rows, (1, 1)), 72).index == 0
    assert choose(candidates_of(rows, (3, 1)), 72).index == 1


def test_coefficients_beyond_the_cap_are_still_exact() -> None:
    """Two ratios that differ by one part in 10^18: no double tells them apart."""
    rows = [(10**18 + 1, 1, 1), (10**18, 1, 1), (2 * 10**18 + 3, 2, 2)]
    assert LARGEST < 10**18
    choice = choose(candidates_of(rows, (1, 1)), 72)
    assert choice.index == 2
    assert choice.ratio == Fraction(2 * 10**18 + 3, 4)


def test_throughput_and_cost_must_be_positive() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        choose(candidates_of([(0, 1, 1)], (1, 1)), 72)


def test_nothing_to_choose_from() -> None:
    none = np.zeros(0, dtype=np.int64)
    choice = choose(Candidates(none, none, none), 72)
    assert choice.index is None
    assert choice.gap == 0.0
