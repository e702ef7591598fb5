"""Integer programs: equal to trying all values, whatever the size of the coefficients."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.program import Program, is_met

FACTORS = st.integers(-3, 3) | st.integers(-(2**24), 2**24)
TERMS = st.lists(FACTORS, min_size=3, max_size=3)
ROWS = st.lists(st.tuples(TERMS, st.sampled_from([0.0, 0.3, 0.8, 1.0]), st.booleans()), max_size=4)


@pytest.mark.many_cases
@settings(max_examples=200, deadline=None)
@given(highs=st.lists(st.integers(0, 5), min_size=3, max_size=3), rows=ROWS, objective=TERMS)
def test_least_is_that_of_trying_all(
    highs: list[int], rows: list[tuple[list[int], float, bool]], objective: list[int]
) -> None:
    program = Program()
    places = [program.variable(f"v{number}", 0, high) for number, high in enumerate(highs)]
    for terms, share, is_least in rows:
        limit = round(share * program.largest(dict(enumerate(terms))))
        named = dict(zip(places, terms, strict=True))
        program.row("row", named, *((limit, None) if is_least else (None, limit)))
    program.minimise(dict(zip(places, objective, strict=True)))
    reached = [
        sum(factor * value for factor, value in zip(objective, values, strict=True))
        for values in product(*(range(high + 1) for high in highs))
        if is_met(program.rows, values)
    ]
    solved = program.solve()
    assert solved.bound == (min(reached) if reached else None)
    assert (solved.values is None) == (not reached)
    if solved.values is not None:
        assert solved.is_optimal
        assert is_met(program.rows, solved.values)


def hard() -> Program:
    """Cover many rows, whose relaxation is far below any cover."""
    program = Program()
    places = [program.variable(str(number), 0, 1) for number in range(40)]
    for first in range(40):
        program.row("cover", {places[(first + k * k) % 40]: 1 for k in range(6)}, least=1)
    program.minimise({place: 100 + place for place in places})
    return program


def test_a_gap_that_is_let_stand_ends_the_search_with_an_honest_bound() -> None:
    best, rough = hard().solve(), hard().solve(gap=0.5)
    least, bound = best.bound, rough.bound
    assert best.is_optimal
    assert least is not None
    assert bound is not None
    assert bound <= least
    assert rough.values is not None
    reached = sum(factor * rough.values[place] for place, factor in hard().objective.items())
    assert least <= reached <= 1.5 * bound
    assert rough.is_optimal == (reached == bound)


def test_rows_are_kept_exactly_below_a_billion_and_to_a_billionth_above() -> None:
    for limit, slack in ((2**24, 0), (10**12, 1000)):
        program = Program()
        program.variable("x", 0, 2 * limit)
        program.row("at least", {0: 1}, least=limit)
        assert is_met(program.rows, (limit - slack,))
        assert not is_met(program.rows, (limit - slack - 1,))
