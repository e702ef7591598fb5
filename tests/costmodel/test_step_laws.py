"""What holds of a decode step whatever the machine, the model, the format and the width."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.costmodel.drawn import Drawn, workers

pytestmark = pytest.mark.many_cases

ROUNDING = 1.0 - 1e-12
BATCHES = np.unique(np.geomspace(1, 4096, 600).round())
"""Every small batch, and large ones closely. [1]"""

law = settings(max_examples=150, deadline=None)
any_worker = workers(spread=1.5)


def seconds(drawn: Drawn) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.broadcast_to(drawn.step(BATCHES).total, BATCHES.shape)


@law
@given(any_worker)
def test_no_batch_is_quicker_than_a_smaller_one(drawn: Drawn) -> None:
    times = seconds(drawn)
    assert np.all(times[1:] >= times[:-1] * ROUNDING)


@law
@given(any_worker, st.integers(1, 64), st.integers(1, 64))
def test_more_experts_for_each_token_take_no_less_time(drawn: Drawn, one: int, other: int) -> None:
    few, many = sorted((one, other))
    assume(many <= drawn.model.experts)
    slow, quick = (
        seconds(drawn.but(model=drawn.model.model_copy(update={"top_k": top_k})))
        for top_k in (many, few)
    )
    assert np.all(slow >= quick * ROUNDING)


@pytest.mark.parametrize("link", ["nvlink_gb_s", "nic_gb_s"])
@law
@given(any_worker, st.floats(1.0, 4000.0), st.floats(1.0, 10.0))
def test_no_link_is_quicker_for_a_lower_rate(
    link: str, drawn: Drawn, rate: float, factor: float
) -> None:
    slow, quick = (seconds(drawn.but(**{link: each})) for each in (rate, rate * factor))
    assert np.all(slow >= quick * ROUNDING)


@pytest.mark.parametrize(("link", "least"), [("nvlink_latency_us", 0.01), ("nic_latency_us", 2.1)])
@law
@given(any_worker, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_no_path_is_quicker_for_a_longer_latency(
    link: str, least: float, drawn: Drawn, one: float, other: float
) -> None:
    near, far = sorted((least + 1.9 * one, least + 1.9 * other))
    slow, quick = (seconds(drawn.but(**{link: each})) for each in (far, near))
    assert np.all(slow >= quick * ROUNDING)


@law
@given(any_worker, st.integers(0, 3), st.integers(0, 3))
def test_deeper_drafts_make_no_step_shorter(drawn: Drawn, one: int, other: int) -> None:
    shallow, deep = sorted((one, other))
    slow, quick = (seconds(drawn.but(drafts=depth)) for depth in (deep, shallow))
    assert np.all(slow >= quick * ROUNDING)


@law
@given(any_worker, st.integers(1, 200_000), st.integers(1, 200_000))
def test_longer_contexts_make_no_step_shorter(drawn: Drawn, one: int, other: int) -> None:
    short, long = sorted((one, other))
    slow, quick = (seconds(drawn.but(isl=isl)) for isl in (long, short))
    assert np.all(slow >= quick * ROUNDING)
