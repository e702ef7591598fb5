"""As many users as prefill, TTFT and TPOT allow, where not all slots can be kept full.

Users who wait for their answer before they ask again throttle themselves: fewer requests are in
flight and each runs faster. The batch in flight is solved for, and users are whole.
"""

from __future__ import annotations

import numpy as np

from costmodel.inputs import FloatArray
from costmodel.network import Benchmark, Network
from costmodel.percentiles import BY_MEDIAN, Judged
from costmodel.root import WIDTH
from costmodel.serving import MOST_LOAD, benchmark_of, fullest, serve

SAME = 2.0 * WIDTH
"""Relative difference of two times within which they are equal: the batch in flight that they
follow from is solved for no more closely. [1]"""

LOAD_TOLERANCE = 1e-6
"""Within which a solved batch comes to the largest load of prefill. [1]"""


def serve_fed(
    network: Network,
    slots: FloatArray,
    max_ttft: FloatArray | None,
    max_tpot: FloatArray | None = None,
    guess: FloatArray | None = None,
    judged: Judged = BY_MEDIAN,
) -> tuple[Benchmark, FloatArray]:
    """Serve the users that prefill feeds in time, and decode serves in time; also their number.

    Users are whole, and at least one: where prefill or the slots bound the batch, one more only
    waits, if TTFT allows it; else one more is too many for the TTFT or the TPOT. ``guess`` is a
    batch in flight that is probably none too many; limits are of the percentiles ``judged``.
    """
    endless = np.full_like(slots, np.inf)
    steady = fullest(network, slots, endless, slots, max_ttft, max_tpot, guess, judged)
    in_flight = steady.decode.requests
    fed = steady.load >= MOST_LOAD * (1.0 - LOAD_TOLERANCE)
    users = np.maximum(np.ceil(steady.users), 1.0)
    waiting = benchmark_of(network, steady, slots, users)
    stays = fed | (in_flight >= slots)
    if max_ttft is not None:
        stays &= waiting.ttft_at(judged.ttft) <= max_ttft
    if stays.all():
        return waiting, users
    # A whole number just above what was solved for may be meant, so it is tried first.
    margin = 0.0 if max_tpot is None else LOAD_TOLERANCE
    users = np.where(stays, users, np.maximum(np.floor(steady.users * (1.0 + margin)), 1.0))
    # A batch that stays is as solved for, whatever other cells are there.
    most = np.where(stays, in_flight, np.minimum(slots, in_flight * (1.0 + 2.0 * LOAD_TOLERANCE)))

    def fewer(users: FloatArray) -> FloatArray:
        """Guess a batch in flight: it hardly falls faster than the users."""
        return np.asarray(in_flight * np.minimum(users / steady.users, 1.0) ** 2)

    result = serve(network, slots, users, most, fewer(users))
    missed = np.zeros(users.shape, dtype=np.bool_)
    if max_tpot is not None:
        missed |= result.tpot_at(judged.tpot) > max_tpot * (1.0 + SAME)
    if max_ttft is not None:
        missed |= ~stays & (result.ttft_at(judged.ttft) > max_ttft) & (users > steady.users)
    if not np.any(missed):
        return result, users
    users = np.where(missed, np.maximum(users - 1.0, 1.0), users)
    most = np.where(missed, most, result.steady.decode.requests)
    return serve(network, slots, users, most, fewer(users)), users
