"""Deployments whose prefill, not whose slots, bounds the requests in flight.

With every slot full they would ask more of prefill than it gives. Users who wait for their answer
before they ask again throttle themselves: fewer requests are in flight and each runs faster. So
such a deployment is no point of the grid of batches; its batch in flight is solved for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import FloatArray, take
from costmodel.serving import MOST_LOAD, Benchmark, Fleet, Network, benchmark, fullest, ranks
from costmodel.workload import Workload
from optimizer.columns import Columns, join_columns, take_columns
from optimizer.states import DecodeStates, IntArray, PrefillOptions


@dataclass(frozen=True)
class Cells:
    """Deployments of the lattice, one entry each.

    Attributes
    ----------
    state : array of int
        Index into the decode states: the fewest slots that prefill cannot keep full.
    column : array of int
        Index into the columns of the state's size.
    fleet : Columns
        Those columns.
    """

    state: IntArray
    column: IntArray
    fleet: Columns

    def __len__(self) -> int:
        """Count the deployments."""
        return len(self.state)


def throttled_cells(
    states: DecodeStates, options: PrefillOptions, columns: dict[int, Columns], slowest: float
) -> Cells:
    """Every shape and column with the fewest slots that prefill cannot keep full.

    More slots than that stay empty, so they are not looked at; nor is what even with one slot less
    is slower than `slowest` [token/s].
    """
    found: list[tuple[IntArray, IntArray, Columns]] = []
    for shape in np.unique(states.shape).tolist():
        pairs = columns[states.shapes[shape].gpus]
        members = np.flatnonzero(states.shape == shape)
        members = members[np.argsort(states.batch[members])]
        capacity = pairs.prefill_workers * options.prefill.capacity[pairs.option]
        most = MOST_LOAD * capacity / pairs.decode_workers  # requests of one decode worker
        rate = np.maximum.accumulate(states.rate.request_rate[members])
        first = np.searchsorted(rate, most, side="right")
        speed_before = np.concatenate([[np.inf], states.tok_s_per_user[members]])
        column = np.flatnonzero((first < len(members)) & (speed_before[first] >= slowest))
        found.append((members[first[column]], column, take_columns(pairs, column)))
    return Cells(
        state=np.concatenate([state for state, _, _ in found]),
        column=np.concatenate([column for _, column, _ in found]),
        fleet=join_columns([fleet for _, _, fleet in found]),
    )


def throttle(
    states: DecodeStates,
    options: PrefillOptions,
    cells: Cells,
    workload: Workload,
    calibration: Calibration,
) -> tuple[Benchmark, FloatArray]:
    """Benchmark cells with as many users as prefill feeds; also gives their number."""
    option = cells.fleet.option
    fleet = Fleet(
        cells.fleet.prefill_workers.astype(np.float64),
        options.gpus[option].astype(np.float64),
        cells.fleet.decode_workers.astype(np.float64),
    )
    network = Network(
        machine=states.facts.machine,
        model=states.facts.model,
        workers=take(states.workers, cells.state),
        paths=take(states.paths, cells.state),
        prefill=take(options.prefill, option),
        fleet=fleet,
        workload=workload,
        calibration=calibration,
    )
    slots = states.batch[cells.state].astype(np.float64)
    steady = fullest(network, slots, np.full(len(slots), np.inf), slots)
    users = np.ceil(steady.users)
    result = benchmark(
        steady,
        network.workers.mtp_depth,
        network.prefill,
        fleet,
        workload,
        cells.fleet.gpus.astype(np.float64),
        slots * ranks(network.workers),
        users,
        calibration,
    )
    return result, users
