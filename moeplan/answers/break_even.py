"""The price at which machines tie: what a GPU-hour may cost before another machine wins."""

from __future__ import annotations

import math
from collections.abc import Mapping

from costmodel.results import Prediction
from moeplan.answers.apart import Apart
from moeplan.answers.best import Measured
from presets.record import Record


class BreakEven(Record):
    """The price of a machine at which it ties with the cheapest of the others, at their prices.

    Below it the machine wins. A price of a GPU-hour multiplies the cost of every deployment of its
    machine alike, so that it changes which machine wins, and never which deployment of one.

    Attributes
    ----------
    usd_per_hour : float
        Of one GPU. [USD/h]
    against : str
        The machine that it ties with.
    interval_90 : (float, float) or None
        Of the price, errors that both machines share left out; None as measured. [USD/h]
    """

    usd_per_hour: float
    against: str
    interval_90: tuple[float, float] | None = None


def break_even(
    costs: Mapping[str, Measured | Prediction | None],
    prices: Mapping[str, float],
    apart: Apart,
) -> dict[str, BreakEven | None]:
    """Find the price of each machine at which it ties with the cheapest of the others.

    Parameters
    ----------
    costs : mapping
        What each machine gives at one target; None where it has no value, which ties with nothing.
    prices : mapping
        Price of each machine at which it does. [USD/h]
    apart : mapping
        How sure the ratio of each two is; empty as measured. [1]
    """
    return {sku: _of(sku, costs, prices[sku], apart) for sku in costs}


def _of(
    sku: str, costs: Mapping[str, Measured | Prediction | None], price: float, apart: Apart
) -> BreakEven | None:
    own = costs[sku]
    others = {name: each for name, each in costs.items() if name != sku and each is not None}
    if own is None or not others:
        return None
    against, other = min(others.items(), key=lambda item: item[1].usd_per_m_total_tokens)
    tie = price * other.usd_per_m_total_tokens / own.usd_per_m_total_tokens
    width = apart.get((sku, against))
    return BreakEven(
        usd_per_hour=tie,
        against=against,
        interval_90=None if width is None else (tie * math.exp(-width), tie * math.exp(width)),
    )
