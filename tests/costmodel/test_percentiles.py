import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.percentiles import TPOT_NOISE, Spread, tpot_deviation


def spread(
    deviation: float = 0.1, soonest: float = 0.2, wait: float = 0.1, burst: float = 5.0
) -> Spread:
    return Spread(
        tpot=np.asarray(0.02),
        tpot_deviation=np.asarray(deviation),
        soonest=np.asarray(soonest),
        wait=np.asarray(wait),
        burst=np.asarray(burst),
        rounds=10.0,
    )


def test_percentiles_of_tpot_are_those_of_many_requests() -> None:
    chance = np.random.default_rng(0)
    requests = 0.02 * np.exp(0.1 * chance.standard_normal(400_000))
    for name, share in (("p90", 0.9), ("p99", 0.99)):
        expected = np.quantile(requests, share)
        assert spread().percentile_of_tpot(name) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("wait", "burst"), [(0.1, 5.0), (1.0, 5.0), (2.0, 0.1)])
def test_percentiles_of_ttft_are_those_of_many_requests(wait: float, burst: float) -> None:
    chance = np.random.default_rng(0)
    first = chance.uniform(0.0, burst, 50_000)
    later = chance.exponential(wait, 450_000)
    requests = 0.2 + np.concatenate([first, later])
    for name, share in (("p90", 0.9), ("p99", 0.99)):
        expected = np.quantile(requests, share)
        found = spread(wait=wait, burst=burst).percentile_of_ttft(name)
        assert found == pytest.approx(expected, rel=0.02)


@given(st.floats(0.0, 0.5), st.floats(0.01, 10.0), st.floats(0.0, 10.0), st.floats(0.0, 1000.0))
def test_higher_percentiles_are_no_shorter(
    deviation: float, soonest: float, wait: float, burst: float
) -> None:
    found = spread(deviation, soonest, wait, burst)
    assert found.percentile_of_tpot("p99") >= found.percentile_of_tpot("p90") >= 0.02
    late, later = (float(found.percentile_of_ttft(name)) for name in ("p90", "p99"))
    assert soonest <= late <= later


def test_what_spreads_tpot_adds_up() -> None:
    none = tpot_deviation(np.asarray(0.0), np.asarray(0.0), np.asarray(8.0))
    assert none == TPOT_NOISE
    both = tpot_deviation(np.asarray(0.06), np.asarray(0.2), np.asarray(4.0))
    assert both == pytest.approx(np.sqrt(TPOT_NOISE**2 + 0.06**2 + 0.1**2))
