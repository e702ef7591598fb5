from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.inputs import FloatArray, IntArray
from costmodel.root import HEIGHT, PERIOD, SLACK, WIDTH, last_below


class Counted:
    """A function that counts how often it is evaluated."""

    def __init__(self, function: Callable[[FloatArray], FloatArray]) -> None:
        self.function = function
        self.evaluations = 0

    def __call__(self, points: FloatArray) -> FloatArray:
        self.evaluations += 1
        return self.function(points)


@given(st.lists(st.floats(-9.0, 9.0), min_size=1, max_size=5), st.floats(0.2, 4.0))
def test_roots_of_curves_are_found_side_by_side(roots: list[float], bend: float) -> None:
    at = np.array(roots)
    curve = Counted(lambda x: np.expm1(bend * (x - at)))
    found = last_below(curve, np.full(len(at), -10.0), np.full(len(at), 10.0))
    assert np.all(found <= at + 1e-12)
    assert found == pytest.approx(at, abs=WIDTH + 2.0 * HEIGHT / bend)


@given(st.floats(-10.0, 10.0), st.floats(1e-3, 1e6))
def test_a_jump_takes_no_more_than_slack_beyond_bisection(root: float, height: float) -> None:
    step = Counted(lambda x: np.where(x <= root, -1.0, height))
    found = float(last_below(step, np.array(-10.0), np.array(10.0)))
    assert root - WIDTH <= found <= root
    periods = np.ceil(np.ceil(np.log2(20.0 / WIDTH)) / (PERIOD - SLACK - 1.0))
    assert step.evaluations <= 3 + PERIOD * periods


def test_smooth_functions_take_a_few_steps() -> None:
    at = np.linspace(-9.0, 9.0, 50)
    line = Counted(lambda x: (x - at) * (1.0 + 0.1 * np.tanh(x)))
    last_below(line, np.full(50, -10.0), np.full(50, 10.0))
    assert line.evaluations <= 12


def test_infinite_and_unknown_values_lie_above() -> None:
    def function(x: FloatArray) -> FloatArray:
        return np.array([x[0] if x[0] < 1.0 else np.inf, np.nan if x[1] > 0.5 else -1.0])

    found = last_below(function, np.array([-3.0, -3.0]), np.array([3.0, 3.0]))
    assert found == pytest.approx([0.0, 0.5], abs=2.0 * WIDTH)


def test_a_bracket_without_a_root_gives_its_end() -> None:
    ends = np.array([2.0, 2.0]), np.array([5.0, 5.0])
    found = last_below(lambda x: np.array([x[0], x[1] - 9.0]), *ends)
    assert found.tolist() == [2.0, 5.0]


@given(st.lists(st.floats(-9.0, 9.0), min_size=1, max_size=3), st.integers(100, 200))
def test_entries_looked_for_in_parts_are_what_they_are_alone(
    jumps: list[float], smooth: int
) -> None:
    """A few jumps are left where most entries are found: they go on by themselves."""
    at = np.concatenate([jumps, np.linspace(-9.0, 9.0, smooth)])
    jump = np.arange(len(at)) < len(jumps)

    def of(places: IntArray) -> Counted:
        here, jumps_here = at[places], jump[places]
        return Counted(lambda x: np.where(jumps_here, np.where(x <= here, -1.0, 1.0), x - here))

    def ends(entries: int) -> tuple[FloatArray, FloatArray]:
        return np.full(entries, -10.0), np.full(entries, 10.0)

    every = np.arange(len(at))
    whole, some = of(every), of(every)
    found = last_below(some, *ends(len(at)), of)
    assert found.tolist() == last_below(whole, *ends(len(at))).tolist()
    assert some.evaluations <= whole.evaluations
    alone = [float(last_below(of(every[[place]]), *ends(1))[0]) for place in range(len(jumps))]
    assert found[: len(jumps)].tolist() == alone
