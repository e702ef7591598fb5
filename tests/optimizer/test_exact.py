from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optimizer.exact
from optimizer.exact import Candidates, _solve, choose, undominated
from optimizer.solver import LARGEST

pytestmark = pytest.mark.many_cases

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


@settings(max_examples=200, deadline=None)
@given(
    surplus=st.lists(st.integers(-1000, 1000) | st.integers(-LARGEST, LARGEST), min_size=1),
)
def test_the_solver_chooses_the_largest_surplus(surplus: list[int]) -> None:
    chosen, bound = _solve(surplus)
    assert surplus[chosen] == bound == max(surplus)


def test_every_better_ratio_is_chosen_by_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ratios 1, 2 and 4, the cheapest first: a solver that chooses another way answers another."""
    rising = candidates_of([(2, 1, 1), (8, 2, 2), (32, 4, 4)], (1, 1))
    found = choose(rising, 72)
    assert found.index == 2
    assert found.ratio == Fraction(4)
    assert found.rounds == 2
    monkeypatch.setattr(optimizer.exact, "_solve", lambda surplus: (0, 0))
    assert choose(rising, 72).index == 0


def test_bound_and_gap_follow_from_what_the_solver_proves(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 tokens/s for 4 GPUs and 15 for 10; costs share a 2, so that the solver sees 2 and 5.

    At the ratio 10 / 2 = 5 the surpluses are 0 and 15 - 5 x 5 = -10. Were only proven that none is
    above 8, then no ratio would be above 5 + 8 / 2 = 9, since no cost is below 2: with the shared 2
    that is 9 / 2, and 80 % above the 5 / 2 that was found.
    """
    candidates = candidates_of([(10, 2, 2), (15, 5, 5)], (1, 1))
    seen: list[list[int]] = []

    def unproven(surplus: list[int]) -> tuple[int, int]:
        seen.append(surplus)
        return 0, 8

    monkeypatch.setattr(optimizer.exact, "_solve", unproven)
    found = choose(candidates, 72)
    assert seen == [[0, -10]]
    assert found.ratio == Fraction(5, 2)
    assert found.bound == Fraction(9, 2)
    assert found.gap == pytest.approx(0.8)


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
