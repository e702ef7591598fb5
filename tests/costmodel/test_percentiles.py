import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.percentiles import TPOT_NOISE, Spread, late_tpot, tpot_deviation


def spread(soonest: float = 0.2, wait: float = 0.1, burst: float = 5.0) -> Spread:
    return Spread(
        soonest=np.asarray(soonest),
        wait=np.asarray(wait),
        burst=np.asarray(burst),
        rounds=10.0,
    )


def test_percentiles_of_tpot_are_those_of_many_requests() -> None:
    chance = np.random.default_rng(0)
    requests = 0.02 * np.exp(0.1 * chance.standard_normal(400_000))
    for percentile in (50.0, 90.0, 99.0):
        found = late_tpot(np.asarray(0.02), np.asarray(0.1), percentile)
        assert found == pytest.approx(np.percentile(requests, percentile), rel=0.01)
    assert late_tpot(np.asarray(0.02), np.asarray(0.1), None) == 0.02


@pytest.mark.parametrize(("wait", "burst"), [(0.1, 5.0), (1.0, 5.0), (2.0, 0.1)])
def test_percentiles_of_ttft_are_those_of_many_requests(wait: float, burst: float) -> None:
    chance = np.random.default_rng(0)
    first = chance.uniform(0.0, burst, 50_000)
    later = chance.exponential(wait, 450_000)
    requests = 0.2 + np.concatenate([first, later])
    for percentile in (75.0, 90.0, 99.0):
        found = spread(wait=wait, burst=burst).ttft_at(percentile)
        assert found == pytest.approx(np.percentile(requests, percentile), rel=0.02)


percentiles = st.floats(75.0, 99.9)


@given(percentiles, percentiles, st.floats(0.0, 0.5), st.floats(0.0, 10.0), st.floats(0.0, 1000.0))
def test_higher_percentiles_are_no_shorter(
    one: float, other: float, deviation: float, wait: float, burst: float
) -> None:
    low, high = sorted((one, other))
    tpot, scatter = np.asarray(0.02), np.asarray(deviation)
    assert 0.02 <= late_tpot(tpot, scatter, low) <= late_tpot(tpot, scatter, high)
    found = spread(wait=wait, burst=burst)
    # Solved for to the last digit.
    assert 0.2 <= found.ttft_at(low) <= found.ttft_at(high) * (1 + 1e-12)


@given(percentiles, st.floats(1e-6, 10.0), st.floats(0.0, 1000.0))
def test_a_percentile_of_ttft_is_passed_by_as_many_as_it_says(
    percentile: float, wait: float, burst: float
) -> None:
    after = float(spread(wait=wait, burst=burst).ttft_at(percentile)) - 0.2
    waiting = 0.9 * np.exp(-after / wait)
    waiting += 0.1 * max(1.0 - after / burst, 0.0) if burst > 0.0 else 0.0
    assert waiting == pytest.approx(1.0 - percentile / 100.0, rel=1e-6)


def test_without_end_is_what_waits_without_end() -> None:
    assert spread(wait=np.inf).ttft_at(99.0) == np.inf


def test_what_spreads_tpot_adds_up() -> None:
    none = tpot_deviation(np.asarray(0.0), np.asarray(0.0), np.asarray(8.0))
    assert none == TPOT_NOISE
    both = tpot_deviation(np.asarray(0.06), np.asarray(0.2), np.asarray(4.0))
    assert both == pytest.approx(np.sqrt(TPOT_NOISE**2 + 0.06**2 + 0.1**2))
