"""The measured frontier: what the published rows say at an interactivity target.

The best published rows of a machine, those that no other row beats in both interactivity and
throughput, are joined by a monotone cubic in throughput over interactivity. Cost follows from the
interpolated throughput; it is not interpolated itself.

References
----------
.. [1] M. Steffen, "A simple method for monotonic interpolation in one dimension", Astronomy and
   Astrophysics 239, 443 (1990).
.. [2] D3, d3-shape, ``curveMonotoneX``: Steffen's slopes inside, and a rule of its own at the ends.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from costmodel.economics import usd_per_m_tokens
from presets import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from presets import PublishedRow


class MeasuredPoint(NamedTuple):
    """What the published rows of one machine say at one target.

    Attributes
    ----------
    tok_s_per_user : float
        The target. [token/s]
    total_tok_s_per_gpu : float
        Throughput on the frontier, input plus output tokens over all GPUs. [token/s/GPU]
    usd_per_m_total_tokens : float
        Cost that follows from the throughput. [USD per million tokens]
    origin : {"measured", "interpolated"}
        Whether the target is a published row or lies between two of them.
    between : tuple of PublishedRow
        The row itself when measured, else the slower and the faster neighbour.
    """

    tok_s_per_user: float
    total_tok_s_per_gpu: float
    usd_per_m_total_tokens: float
    origin: Literal["measured", "interpolated"]
    between: tuple[PublishedRow, ...]


def pareto_frontier(rows: Sequence[PublishedRow]) -> tuple[PublishedRow, ...]:
    """Rows that no other row beats in both interactivity and throughput.

    Parameters
    ----------
    rows : sequence of PublishedRow
        Published rows of one machine.

    Returns
    -------
    tuple of PublishedRow
        The frontier, slowest first: interactivity strictly rises, throughput strictly falls.

    Raises
    ------
    InputError
        If the rows come from more than one machine.
    """
    skus = sorted({row.sku for row in rows})
    if len(skus) > 1:
        raise InputError(f"rows: one sku expected for a frontier, found {', '.join(skus)}")
    fastest_first = sorted(rows, key=lambda r: (-r.tok_s_per_user, -r.total_tok_s_per_gpu))
    frontier: list[PublishedRow] = []
    for row in fastest_first:
        if not frontier or row.total_tok_s_per_gpu > frontier[-1].total_tok_s_per_gpu:
            frontier.append(row)
    return tuple(reversed(frontier))


def steffen_slopes(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Slopes of the monotone cubic at its points.

    With secants ``s_i = (y_{i+1} - y_i) / h_i`` over steps ``h_i = x_{i+1} - x_i``, an inner slope
    is ([1]_)::

        p_i  = (s_{i-1} h_i + s_i h_{i-1}) / (h_{i-1} + h_i)
        y'_i = (sign(s_{i-1}) + sign(s_i)) min(|s_{i-1}|, |s_i|, |p_i| / 2)

    and an end slope is ``(3 s - y') / 2`` with the secant and the inner slope beside it: the cubic
    has no curvature at its ends ([2]_).

    Parameters
    ----------
    x : array_like
        Abscissae, strictly rising, at least two.
    y : array_like
        Ordinates.

    Returns
    -------
    ndarray
        One slope per point. [unit of y per unit of x]

    Notes
    -----
    Steffen's own end rule (the slope of the parabola through the three last points, limited to
    twice the secant) is not used. The published comparison cannot be reproduced with it: it gives
    14141 for GB200 at 25 token/s, where 14125 is published, and 12353, 10905 and 65 for B200 at
    25, 45 and 300, where 12292, 10853 and 67 are published. The end rule above gives all 27. Since
    an inner slope lies within 0 and twice the secant, an end slope lies within a half and one and
    a half of it, so the cubic stays monotone (the two slopes sum to at most three secants).
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    step = np.diff(x)
    secant = np.diff(y) / step
    slope = np.empty_like(x)
    left, right = secant[:-1], secant[1:]
    parabola = (left * step[1:] + right * step[:-1]) / (step[:-1] + step[1:])
    limit = np.minimum(np.minimum(np.abs(left), np.abs(right)), np.abs(parabola) / 2)
    slope[1:-1] = (np.sign(left) + np.sign(right)) * limit
    if len(x) == 2:
        slope[:] = secant[0]
    else:
        slope[0] = (3 * secant[0] - slope[1]) / 2
        slope[-1] = (3 * secant[-1] - slope[-2]) / 2
    return slope


def steffen_interpolate(x: ArrayLike, y: ArrayLike, at: ArrayLike) -> NDArray[np.float64]:
    """Monotone cubic through the points, with the slopes of `steffen_slopes`.

    Parameters
    ----------
    x : array_like
        Abscissae, strictly rising, at least two.
    y : array_like
        Ordinates.
    at : array_like
        Where to evaluate, within ``x[0]`` and ``x[-1]``.

    Returns
    -------
    ndarray
        Ordinates at `at`. [unit of y]

    Raises
    ------
    InputError
        If the abscissae do not rise, or a place lies outside them: this curve never extrapolates.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    at = np.asarray(at, dtype=np.float64)
    if len(x) < 2 or not np.all(np.diff(x) > 0):
        raise InputError("x: at least two strictly rising abscissae are needed to interpolate")
    outside = ~((at >= x[0]) & (at <= x[-1]))
    if np.any(outside):
        raise InputError(f"at: {at[outside].flat[0]:g} lies outside {x[0]:g} to {x[-1]:g}")
    slope = steffen_slopes(x, y)
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    step = x[i + 1] - x[i]
    secant = (y[i + 1] - y[i]) / step
    # [1]: on each interval a cubic in the distance from its left point.
    a = (slope[i] + slope[i + 1] - 2 * secant) / step**2
    b = (3 * secant - 2 * slope[i] - slope[i + 1]) / step
    d = at - x[i]
    result: NDArray[np.float64] = ((a * d + b) * d + slope[i]) * d + y[i]
    return result


def measured_at(
    rows: Sequence[PublishedRow], target: float, price_usd_per_hour: float
) -> MeasuredPoint | None:
    """Look up the published throughput and cost of a machine at an interactivity target.

    Parameters
    ----------
    rows : sequence of PublishedRow
        Published rows of one machine.
    target : float
        Interactivity. [token/s/user]
    price_usd_per_hour : float
        Price of a GPU. [USD/h]

    Returns
    -------
    MeasuredPoint or None
        None outside the published range, on either side; `why_unmeasured` says why. Below the
        slowest row the curve is not held at that row's throughput: nobody measured what a batch
        larger still would give.

    Raises
    ------
    InputError
        If the target or the price is not a finite positive number.
    """
    _check_positive("target", target, "token/s/user")
    _check_positive("price_usd_per_hour", price_usd_per_hour, "USD/h")
    frontier = pareto_frontier(rows)
    for row in frontier:
        if math.isclose(row.tok_s_per_user, target, rel_tol=1e-9):
            return _point(target, row.total_tok_s_per_gpu, price_usd_per_hour, (row,))
    if why_unmeasured(rows, target) is not None:
        return None
    x = [row.tok_s_per_user for row in frontier]
    y = [row.total_tok_s_per_gpu for row in frontier]
    upper = int(np.searchsorted(x, target))
    throughput = float(steffen_interpolate(x, y, target))
    return _point(target, throughput, price_usd_per_hour, (frontier[upper - 1], frontier[upper]))


def why_unmeasured(rows: Sequence[PublishedRow], target: float) -> str | None:
    """One sentence on why the published rows say nothing at a target, None when they do.

    Parameters
    ----------
    rows : sequence of PublishedRow
        Published rows of one machine.
    target : float
        Interactivity. [token/s/user]
    """
    frontier = pareto_frontier(rows)
    if not frontier:
        return "no row is published for this machine"
    slowest, fastest = frontier[0].tok_s_per_user, frontier[-1].tok_s_per_user
    # A target typed from a printed row may differ from it by a rounding of the last bit.
    if target > fastest and not math.isclose(target, fastest, rel_tol=1e-9):
        return f"{target:g} tok/s/user is above the fastest published row, {fastest:g}: unreachable"
    if target < slowest and not math.isclose(target, slowest, rel_tol=1e-9):
        return (
            f"{target:g} tok/s/user is below the slowest published row, {slowest:g}: not measured"
        )
    return None


def _point(
    target: float, throughput: float, price: float, between: tuple[PublishedRow, ...]
) -> MeasuredPoint:
    return MeasuredPoint(
        tok_s_per_user=target,
        total_tok_s_per_gpu=throughput,
        usd_per_m_total_tokens=usd_per_m_tokens(price, throughput),
        origin="measured" if len(between) == 1 else "interpolated",
        between=between,
    )


def _check_positive(name: str, value: float, unit: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name}: {value!r} is not valid; give a finite number above 0 [{unit}]")
