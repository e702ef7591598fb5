import numpy as np
import pytest

from costmodel import power_usd_per_hour, tokens_per_joule, usd_per_m_tokens


def test_a_dollar_an_hour_at_a_million_tokens_an_hour() -> None:
    assert usd_per_m_tokens(1.0, 1e6 / 3600) == pytest.approx(1.0)


def test_cost_moves_with_price_and_against_throughput() -> None:
    throughput = np.array([100.0, 200.0])
    cost = usd_per_m_tokens(np.array([2.0, 2.0]), throughput)
    assert cost == pytest.approx([2 / 0.36, 1 / 0.36])


def test_joules_and_the_price_of_power() -> None:
    assert tokens_per_joule(1000.0, 500.0) == 0.5
    assert power_usd_per_hour(1500.0, 0.2) == pytest.approx(0.3)
