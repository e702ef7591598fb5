"""How TPOT and TTFT spread over the requests of a run: percentiles beside means.

Equations: ``docs/cost-model.md``.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from costmodel.inputs import FloatArray

TPOT_NOISE = 0.01
"""Standard deviation of the TPOT of a request over its mean, where neither drafts nor prefill of
others spread it: what the 90th and 99th percentile of 167 and 473 published rows ask for. [1]"""

SHORTEST_WAIT = 1e-9
"""What waits are taken for that are none. [s]"""

ASKED = {"target_percentile": (50.0, 99.9), "ttft_percentile": (75.0, 99.9)}
"""Percentiles that a limit may be asked of: no run is long enough to show rarer ones, and the
shorter half of TTFT has two modes of which a run shows either. [%]"""

PUBLISHED = (90.0, 99.0)
"""Percentiles that rows publish, and predictions print. [%]"""

STEPS = 40
"""Most of Newton's method for a percentile of TTFT; some six do. [1]"""

SAME_SHARE = 1e-12
"""Of requests, to which a percentile is solved for. [1]"""


class Judged(NamedTuple):
    """Percentiles over requests by which TPOT and TTFT count; None: its median, its mean [%]."""

    tpot: float | None = None
    ttft: float | None = None


BY_MEDIAN = Judged()
"""Of TPOT the median, of TTFT the mean: what benchmarks publish and predictions say."""


def percentile_name(figure: str, percentile: float) -> str:
    """Name a percentile of a figure as columns and answers have it.

    >>> percentile_name("tpot", 99.0), percentile_name("ttft", 99.9)
    ('tpot_p99', 'ttft_p99.9')
    """
    return f"{figure}_p{percentile:g}"


@cache
def deviations_above(percentile: float) -> float:
    """Say how many standard deviations of a normal a percentile [%] is above its mean [1].

    >>> round(deviations_above(99.0), 4), deviations_above(50.0)
    (2.3263, 0.0)
    """
    from statistics import NormalDist  # a tenth of the start-up, and only percentiles need it

    return NormalDist().inv_cdf(percentile / 100.0)


def late_tpot(tpot: FloatArray, deviation: FloatArray, percentile: float | None) -> FloatArray:
    """Percentile of TPOT, which is log-normal over requests; None: its median [s].

    Parameters
    ----------
    tpot
        Its median. [s]
    deviation
        Standard deviation of its logarithm. [1]
    percentile
        [%]
    """
    if percentile is None:
        return tpot
    return np.asarray(tpot * np.exp(deviations_above(percentile) * deviation))


class Spread(NamedTuple):
    """What spreads the TTFT of the requests of a run; shapes broadcast."""

    soonest: FloatArray  # TTFT of a request that nothing delays but a slot [s]
    wait: FloatArray  # mean wait of a request in steady state, besides [s]
    burst: FloatArray  # that prefill takes for the first request of every user [s]
    rounds: float  # requests of a user

    def ttft_at(self, percentile: float) -> FloatArray:
        """Percentile of TTFT [s].

        One request of each user comes in the burst at the start and waits for up to all of it,
        evenly spread; the others wait an exponential time.

        Notes
        -----
        The share that waits longer is convex in the time, and more than that of either kind alone:
        from there Newton's method rises to the percentile and never passes it.
        """
        late, first = 1.0 - percentile / 100.0, 1.0 / self.rounds
        # Before an overloaded prefill the wait has no end.
        ends = np.isfinite(self.wait) & np.isfinite(self.burst)
        wait, burst = (
            np.where(ends, np.maximum(seconds, SHORTEST_WAIT), 1.0)
            for seconds in (self.wait, self.burst)
        )
        of_burst = burst * np.maximum(1.0 - late / first, 0.0)
        found = np.maximum(of_burst, wait * np.maximum(np.log((1.0 - first) / late), 0.0))
        for _ in range(STEPS):
            waiting, begun = (1.0 - first) * np.exp(-found / wait), found < burst
            excess = waiting + np.where(begun, first * (1.0 - found / burst), 0.0) - late
            short = excess > SAME_SHARE  # each stops for itself, whatever the others do
            if not np.any(short):
                break
            slope = waiting / wait + np.where(begun, first / burst, 0.0)
            found = np.where(short, found + excess / slope, found)
        return np.asarray(self.soonest + np.where(ends, found, np.inf))


def tpot_deviation(
    drafts_deviation: FloatArray, prefill_share: FloatArray | None, requests: FloatArray
) -> FloatArray:
    """Deviation of TPOT over requests, as the standard one of its logarithm [1].

    Parameters
    ----------
    drafts_deviation
        Of drafts, of which some texts keep more than others. [1]
    prefill_share
        Of a step that prefill of other requests takes: of a request one for each of those beside
        it, more or less by the root of their number; None where no worker prefills. [1]
    requests
        In flight on a rank (dp) or worker (tp). [1]
    """
    variance = TPOT_NOISE**2 + drafts_deviation**2
    if prefill_share is not None:
        variance = variance + prefill_share**2 / np.maximum(requests, 1.0)
    deviation = np.sqrt(variance)
    return np.broadcast_to(deviation, np.broadcast_shapes(deviation.shape, requests.shape))
