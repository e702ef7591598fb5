"""How the wait for a decode slot spreads over requests: the median beside the mean.

A run starts with all users at once, so requests come in waves: while a wave runs, those that found
no slot wait for its end, and those that ask again as it ends need but a moment. Length and luck of
requests smear the waves, round after round. Equations: ``docs/cost-model.md``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import FloatArray

PLAUSIBLE = 0.05
"""Chance from which on a run may show the other mode as its median. [1]"""

SHARPNESS = 0.05
"""Share of a round within which the median goes from one mode to the other. [1]"""


class Median(NamedTuple):
    """A median over requests, and where another run may have it; equal where there is one mode."""

    value: FloatArray
    other: FloatArray


def normal_probability(above: FloatArray) -> FloatArray:
    """Chance of a standard normal number below `above`, within 0.01 [1].

    >>> normal_probability(np.array([-40.0, 0.0, 1.0])).round(2).tolist()
    [0.0, 0.5, 0.85]
    """
    return np.asarray(1.0 / (1.0 + np.exp(-1.702 * np.clip(above, -40.0, 40.0))))


def spread_of_ends(of_request: FloatArray, calibration: Calibration) -> FloatArray:
    """Part of a decode over which users who began together end, mean over a run [1].

    `of_request` is the standard deviation of the time of a request over its mean [1].

    The variance of the time of a request adds up over the rounds before; a uniform spread is
    ``sqrt(12)`` standard deviations wide, and the mean of ``sqrt(r)`` over r rounds is
    ``2/3 sqrt(r)``.
    """
    return np.asarray(np.sqrt(12.0) * of_request * 2.0 / 3.0 * np.sqrt(calibration.rounds))


def bunched_wait(
    filling_seconds: FloatArray, decode_seconds: FloatArray, spread: FloatArray
) -> FloatArray:
    """Mean wait for prefill of requests that come bunched, as those before them end together [s].

    Parameters
    ----------
    filling_seconds
        That prefill takes for one request of every user. [s]
    decode_seconds
        Of one request, mean. [s]
    spread
        As `spread_of_ends` has it. [1]

    Notes
    -----
    What takes a share s of a round to be prefilled starts to decode over as much of it, and comes
    as far apart the next time: a share ``1 - s`` is still together, less what the ends of requests
    spread. Lengths of 0.8 to 1.0 of nominal spread more than prefill can bunch; equal ones do not.
    """
    together = filling_seconds * (1.0 - filling_seconds / decode_seconds)
    return np.asarray(np.maximum(together - spread * decode_seconds, 0.0) / 2.0)


def wave_width(
    decode_seconds: FloatArray, filling_seconds: FloatArray, spread: FloatArray
) -> FloatArray:
    """Part of a decode over which the ends of a wave are spread, mean over a run; 1: no waves [1].

    Parameters
    ----------
    decode_seconds
        Of one request, mean. [s]
    filling_seconds
        That prefill takes for the first request of every user. [s]
    spread
        As `spread_of_ends` has it. [1]
    """
    return np.asarray(np.minimum(np.hypot(spread, filling_seconds / decode_seconds), 1.0))


def median_wait(
    mean: FloatArray, decode_seconds: FloatArray, width: FloatArray, deviation: FloatArray
) -> Median:
    """Median of the wait for a slot, of its mean [s].

    Parameters
    ----------
    mean
        Mean wait. [s]
    decode_seconds
        Of one request, mean. [s]
    width
        Of a wave, as `wave_width` has it. [1]
    deviation
        Standard deviation of the requests that a worker has, over its slots. [1]

    Notes
    -----
    Of a mean of ``k + f`` rounds, k whole ones, a share ``1 - f`` waits ``k + width f`` rounds and
    a share f ``k + 1 - width (1 - f)``. Behind several frontends requests of a worker with a free
    slot do not wait, whatever the others do, and runs differ in how uneven their workers are: at
    what mean the median goes over to the long mode, and how much of a run's luck that is, are taken
    from simulation (a test holds them).
    """
    level = mean / decode_seconds
    whole = np.floor(level)
    part = level - whole
    short = whole + width * part * np.maximum(1.0 - deviation, 0.0)
    long = whole + 1.0 - width * (1.0 - part)
    beyond = part - 0.5 - deviation / 6.0
    chance = normal_probability(beyond / np.hypot(SHARPNESS, deviation / 4.0))
    sharp = SHARPNESS / (1.0 + 10.0 * deviation)  # a run of uneven workers shows one or the other
    median = short + (long - short) * normal_probability(beyond / sharp)
    other = np.where(chance < 0.5, long, short)
    other = np.where((chance > PLAUSIBLE) & (chance < 1.0 - PLAUSIBLE), other, median)
    return Median(median * decode_seconds, other * decode_seconds)
