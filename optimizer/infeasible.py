"""Why nothing meets the limits: computed here, and said in words here, apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from costmodel.inputs import FloatArray
from optimizer.lattice import Lattice
from optimizer.limits import Limits

Limit = Literal["target", "max_ttft"]

PART_NAMES = {
    "projection": "attention projections",
    "attention": "attention",
    "experts": "experts",
    "dispatch": "dispatch",
    "combine": "combine",
    "all_reduce": "all-reduce",
    "draft": "drafting",
    "head": "the LM head",
    "launch": "launch",
    "host": "the host",
    "wait": "waiting for the slowest rank",
}
"""Parts of a step in words; those not named here are said as they are."""


@dataclass(frozen=True)
class Infeasibility:
    """What failed, and what would work.

    Attributes
    ----------
    limit : {"target", "max_ttft"}
        The limit that cannot be met: the target, whatever the other limits are; or the TTFT, given
        the target.
    limits : Limits
        As asked.
    reachable : float
        What the failed limit would have to be: highest target [token/s], shortest TTFT [s].
    highest_target : float or None
        Highest target that the other limits allow; None where they allow none. [token/s]
    step_ms : float
        Step of the fastest decode worker of the space. [ms]
    tokens_per_step : float
        Tokens that it yields to a user. [1]
    largest_part : str
        What takes most of that step.
    largest_part_ms : float
        [ms]
    """

    limit: Limit
    limits: Limits
    reachable: float
    highest_target: float | None
    step_ms: float
    tokens_per_step: float
    largest_part: str
    largest_part_ms: float


def find_infeasibility(lattice: Lattice, limits: Limits) -> Infeasibility:
    """Name the limit that fails, by how much, and the nearest target that works.

    Parameters
    ----------
    lattice : Lattice
        Evaluated without a slowest state.
    limits : Limits
        That nothing in the lattice meets.
    """
    speed, throttled = lattice.states.tok_s_per_user, lattice.throttled.speed
    runs = np.isfinite(lattice.shortest_ttft)
    allowed = np.concatenate([speed[lattice.feasible > 0], throttled])
    highest = float(allowed.max()) if len(allowed) else None
    enough = runs & (speed >= limits.target)
    limit: Limit
    if enough.any():
        limit, reachable = "max_ttft", float(lattice.shortest_ttft[enough].min())
    else:
        limit, reachable = "target", float(np.concatenate([speed[runs], throttled]).max())
    fastest = int(np.argmax(np.where(runs, speed, 0.0)))
    parts = {name: _at(values, fastest) for name, values in vars(lattice.states.rate.step).items()}
    largest = max(parts, key=lambda name: parts[name])
    step = sum(parts.values())
    return Infeasibility(
        limit=limit,
        limits=limits,
        reachable=reachable,
        highest_target=highest,
        step_ms=1e3 * step,
        tokens_per_step=step / float(lattice.states.rate.tpot[fastest]),
        largest_part=largest,
        largest_part_ms=1e3 * parts[largest],
    )


def explain_infeasibility(found: Infeasibility) -> str:
    """Say in one sentence what failed and what would work."""
    limits = found.limits
    if found.limit == "target":
        part = PART_NAMES.get(found.largest_part, found.largest_part)
        text = (
            f"{limits.target:g} tok/s/user is out of reach: the fastest step of the whole space "
            f"takes {found.step_ms:.1f} ms for {found.tokens_per_step:.1f} tokens, "
            f"{floored(found.reachable)} tok/s/user; the largest part of it is {part}, "
            f"{found.largest_part_ms:.1f} ms"
        )
    else:
        text = (
            f"TTFT {limits.max_ttft:g} s is out of reach at {limits.target:g} tok/s/user: the "
            f"shortest is {found.reachable:.3g} s"
        )
    if limits.max_ttft is None or found.highest_target == found.reachable:
        return text
    if found.highest_target is None:
        return f"{text}; no target can be met within a TTFT of {limits.max_ttft:g} s"
    return (
        f"{text}; the highest target within a TTFT of {limits.max_ttft:g} s is "
        f"{floored(found.highest_target)} tok/s/user"
    )


def floored(value: float) -> str:
    """Write a reachable target so that asking for it works: rounded down to one decimal.

    Examples
    --------
    >>> floored(286.48)
    '286.4'
    """
    return f"{math.floor(10.0 * value) / 10.0:.1f}"


def _at(values: FloatArray, index: int) -> float:
    return float(values[index] if values.ndim else values)
