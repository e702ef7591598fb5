"""Operating points of prefill workers: what so many of them take while TTFT keeps its limit.

A pool of prefill workers may feed several tiers. Its load is what they ask of it together, and the
wait is that of the pool: more workers at the same load let a request wait less.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.prefill import Prefill
from costmodel.serving import MOST_LOAD, prefill_wait

MOST_WORKERS = 2**14
"""Largest pool that is looked for. [1]"""


class Feed(NamedTuple):
    """What tiers ask of one kind of prefill worker; the last axis is that of the tiers.

    Attributes
    ----------
    rate : array of float
        Requests of each tier; 0 of those that the pool does not feed. [1/s]
    prefill : Prefill
        What one worker does with the requests of each.
    input_tokens : array of float
        Of a request of each. [1]
    max_ttft : array of float
        Limit of each, infinite where there is none. [s]
    """

    rate: FloatArray
    prefill: Prefill
    input_tokens: FloatArray
    max_ttft: FloatArray

    @property
    def busy(self) -> FloatArray:
        """Workers that are busy at any time, on average [1]."""
        return np.asarray((self.rate / self.prefill.capacity).sum(axis=-1))

    @property
    def seconds(self) -> FloatArray:
        """Time of one request of each tier on one server [s]."""
        return np.asarray(self.input_tokens * self.prefill.seconds_per_token)

    @property
    def service(self) -> FloatArray:
        """Time of one request on one server, the mean over what comes [s]."""
        return np.asarray((self.rate * self.seconds).sum(axis=-1) / self.rate.sum(axis=-1))


def meets(
    feed: Feed, workers: FloatArray, calibration: Calibration, service: FloatArray | None = None
) -> BoolArray:
    """Whether pools of some workers take what is asked, every tier within its limit on TTFT.

    What follows prefill, as the wait for a slot, is not looked at: it only adds. Other requests
    that may come too let these wait less only where they shorten the mean `service` [s].
    """
    load = feed.busy / workers
    servers = workers * feed.prefill.servers.max(axis=-1)
    wait = prefill_wait(load, servers, feed.service if service is None else service, calibration)
    ttft = feed.prefill.latency + wait[..., None]
    fed = feed.rate > 0.0
    return np.asarray((load <= MOST_LOAD) & np.all((ttft <= feed.max_ttft) | ~fed, axis=-1))


def fewest_workers(
    feed: Feed, calibration: Calibration, service: FloatArray | None = None
) -> IntArray:
    """Count the workers of each pool that take what is asked; 0 where no number does [1].

    Parameters
    ----------
    feed : Feed
        One row for each pool.
    calibration : Calibration
        Resolved constants of the prefill workers.
    service : array of float, optional
        Shortest mean time of the requests that come, where others may; see `meets`. [s]
    """
    low = np.maximum(np.ceil(feed.busy / MOST_LOAD * (1.0 - 1e-12)), 1.0) - 1.0  # too few
    high = np.full_like(low, float(MOST_WORKERS))
    possible = (low < MOST_WORKERS) & meets(feed, high, calibration, service)
    while np.any(high - low > 1.0):
        middle = np.floor(0.5 * (low + high))
        enough = meets(feed, np.maximum(middle, 1.0), calibration, service)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(possible, high, 0.0).astype(np.int64)
