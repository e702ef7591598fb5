"""Dollars and joules per token: pure arithmetic."""

from __future__ import annotations

from typing import TypeVar

from costmodel.inputs import FloatArray

Number = TypeVar("Number", float, FloatArray)

SECONDS_PER_HOUR = 3600.0
TOKENS_PER_MILLION = 1e6


def usd_per_m_tokens(price_usd_per_hour: Number, tok_s_per_gpu: Number) -> Number:
    """Dollars per million tokens.

    Parameters
    ----------
    price_usd_per_hour
        Price of one GPU for one hour. [USD/h]
    tok_s_per_gpu
        Throughput per GPU. [token/s]

    Notes
    -----
    ``price / (3600 * throughput / 10^6)``; the formula of the published tables.

    Examples
    --------
    >>> round(usd_per_m_tokens(2.21, 4130.0), 4)
    0.1486
    """
    return price_usd_per_hour / (SECONDS_PER_HOUR * tok_s_per_gpu / TOKENS_PER_MILLION)


def tokens_per_joule(power_watts: Number, tok_s_per_gpu: Number) -> Number:
    """Tokens per joule of all-in provisioned power [token/J].

    Examples
    --------
    >>> tokens_per_joule(2000.0, 4000.0)
    2.0
    """
    return tok_s_per_gpu / power_watts


def power_usd_per_hour(power_watts: float, usd_per_kwh: float) -> float:
    """Price of the power of one GPU, to be added to a GPU price that does not include it [USD/h].

    Examples
    --------
    >>> power_usd_per_hour(2000.0, 0.1)
    0.2
    """
    return power_watts / 1000.0 * usd_per_kwh
