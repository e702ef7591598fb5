"""How TPOT and TTFT spread over the requests of a run: percentiles beside means.

Equations: ``docs/cost-model.md``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from costmodel.inputs import FloatArray

TPOT_NOISE = 0.01
"""Standard deviation of the TPOT of a request over its mean, where neither drafts nor prefill of
others spread it: what the 90th and 99th percentile of 167 and 473 published rows ask for. [1]"""

QUANTILES = {"p90": (0.90, 1.2815515655446004), "p99": (0.99, 2.3263478740408408)}
"""Share of requests below, and how many standard deviations of a normal that is above. [1]"""

HALVINGS = 60
"""Steps of the search for a percentile: to the last digit. [1]"""


class Spread(NamedTuple):
    """What spreads the requests of a run; shapes broadcast."""

    tpot: FloatArray  # median [s]
    tpot_deviation: FloatArray  # standard deviation of its logarithm [1]
    soonest: FloatArray  # TTFT of a request that nothing delays but a slot [s]
    wait: FloatArray  # mean wait of a request in steady state, besides [s]
    burst: FloatArray  # that prefill takes for the first request of every user [s]
    rounds: float  # requests of a user

    def percentile_of_tpot(self, name: str) -> FloatArray:
        """Percentile of TPOT, "p90" or "p99": TPOT is taken as log-normal over requests [s]."""
        _, above = QUANTILES[name]
        return np.asarray(self.tpot * np.exp(above * self.tpot_deviation))

    def percentile_of_ttft(self, name: str) -> FloatArray:
        """Percentile of TTFT, "p90" or "p99" [s].

        One request of each user comes in the burst at the start and waits for up to all of it,
        evenly spread; the others wait an exponential time.
        """
        share, _ = QUANTILES[name]
        low = np.zeros(np.broadcast_shapes(self.soonest.shape, self.wait.shape, self.burst.shape))
        wait = np.maximum(self.wait, 1e-9)
        high = np.maximum(self.burst, 50.0 * wait)
        burst = np.maximum(self.burst, 1e-9)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            first = np.clip(1.0 - middle / burst, 0.0, 1.0)
            later = first / self.rounds + (1.0 - 1.0 / self.rounds) * np.exp(-middle / wait)
            above = later > 1.0 - share
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.asarray(self.soonest + high)


def tpot_deviation(
    drafts_deviation: FloatArray, prefill_share: FloatArray, requests: FloatArray
) -> FloatArray:
    """Deviation of TPOT over requests, as the standard one of its logarithm [1].

    Parameters
    ----------
    drafts_deviation
        Of drafts, of which some texts keep more than others. [1]
    prefill_share
        Of a step that prefill of other requests takes: of a request one for each of those beside
        it, more or less by the root of their number. [1]
    requests
        In flight on a rank (dp) or worker (tp). [1]
    """
    prefill = prefill_share / np.sqrt(np.maximum(requests, 1.0))
    return np.asarray(np.sqrt(TPOT_NOISE**2 + drafts_deviation**2 + prefill**2))
