"""Deployments with fewer requests in flight than slots, as prefill or the users bound them.

With every slot full they would ask more of prefill than it gives, need more users than there are,
or let them wait too long. Users who wait for their answer before they ask again throttle
themselves: fewer requests are in flight and each runs faster. So such a deployment is no point of
the grid of batches; its batch in flight is solved for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costmodel.inputs import BoolArray, FloatArray, IntArray, take
from costmodel.network import Benchmark, Fleet, Network
from costmodel.percentiles import BY_MEDIAN, Judged
from costmodel.resolve import of_workers
from costmodel.root import WIDTH
from costmodel.serving import MOST_LOAD, SMALLEST, benchmark_of, fullest, serve
from costmodel.workload import Workload
from optimizer.columns import Columns, join_columns, take_columns
from optimizer.prefill import PrefillOptions
from optimizer.problem import Limits
from optimizer.states import DecodeStates

SAME = 2.0 * WIDTH
"""Relative difference of two times within which they are equal: the batch in flight that they
follow from is solved for no more closely. [1]"""

LOAD_TOLERANCE = 1e-6
"""Within which a solved batch comes to the largest load of prefill. [1]"""


@dataclass(frozen=True, eq=False)
class Cells:
    """Deployments of one size of decode worker, one entry each.

    Attributes
    ----------
    state : array of int
        Index into the decode states: the fewest slots that cannot be kept full.
    fleet : Columns
        Their columns.
    """

    state: IntArray
    fleet: Columns

    def __len__(self) -> int:
        """Count the deployments."""
        return len(self.state)


def throttled_cells(
    states: DecodeStates, rows: IntArray, overfull: BoolArray, pairs: Columns
) -> Cells:
    """Every shape and column with the fewest slots that cannot be kept full.

    More slots than that stay empty, so they are not looked at.

    Parameters
    ----------
    states, rows
        Decode states, and which of them were looked at.
    overfull
        Whether a row with full slots asks too much of a column. Shape ``(rows, columns)``.
    pairs
        The columns.
    """
    order = np.lexsort((states.batch[rows], states.shape[rows]))
    row, column = np.nonzero(overfull[order])
    cell = states.shape[rows[order[row]]] * len(pairs) + column
    first = np.full(len(states.shapes) * len(pairs), -1)
    first[cell[::-1]] = row[::-1]  # what is written last stays: the fewest slots
    found = np.flatnonzero(first >= 0)
    column = found % len(pairs)
    return Cells(rows[order[first[found]]], take_columns(pairs, column))


def join_cells(parts: Sequence[Cells]) -> Cells:
    """Put cells one after the other."""
    return Cells(
        np.concatenate([part.state for part in parts]),
        join_columns([part.fleet for part in parts]),
    )


def throttle(
    states: DecodeStates,
    options: PrefillOptions,
    cells: Cells,
    limits: Limits,
    workload: Workload,
    targets: FloatArray | None = None,
) -> tuple[Benchmark, FloatArray]:
    """Benchmark cells with as many users as the limits allow; also gives their number.

    Infinite are those of a cell that serves nobody, however few. `targets` are interactivities that
    the cells keep besides, if any [token/s].
    """
    option = cells.fleet.option
    network = Network(
        machine=states.facts.machine,
        model=states.facts.model,
        workers=take(states.workers, cells.state),
        paths=take(states.paths, cells.state),
        prefill=take(options.prefill, option),
        fleet=Fleet(
            cells.fleet.prefill_workers.astype(np.float64),
            options.gpus[option].astype(np.float64),
            cells.fleet.decode_workers.astype(np.float64),
            states.facts.frontends,
        ),
        workload=workload,
        calibration=of_workers(states.constants, states.shape[cells.state], len(states.shapes)),
        mixed=None if states.mixed is None else take(states.mixed, cells.state),
    )
    slots = states.batch[cells.state].astype(np.float64)
    if limits.concurrency is not None:
        users = np.full(len(slots), float(limits.concurrency))
        return _if_any(serve(network, slots, users), users)
    slowest = None if targets is None else states.promised[cells.state] / targets
    longest = None
    if limits.max_ttft is not None:
        factor = states.ttft_factor(cells.state, options.widening[option])
        longest = np.broadcast_to(limits.max_ttft / factor, slots.shape)
    # The next smaller batch is mostly one that can be kept in flight.
    before = states.before[cells.state]
    guess = np.where(before < 0, SMALLEST * slots, states.batch[before])
    return _if_any(*serve_fed(network, slots, longest, slowest, guess, limits.judged))


def _if_any(result: Benchmark, users: FloatArray) -> tuple[Benchmark, FloatArray]:
    """Take users beyond number where steps ask too much of the NICs at any batch."""
    most = MOST_LOAD * (1.0 + LOAD_TOLERANCE)
    return result, np.where(result.steady.load <= most, users, np.inf)


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
    if max_tpot is None:
        return result, users
    missed = result.tpot_at(judged.tpot) > max_tpot * (1.0 + SAME)
    if not np.any(missed):
        return result, users
    users = np.where(missed, np.maximum(users - 1.0, 1.0), users)
    most = np.where(missed, most, result.steady.decode.requests)
    return serve(network, slots, users, most, fewer(users)), users
