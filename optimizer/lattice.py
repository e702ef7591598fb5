"""Every deployment of the space in one vectorised pass, reduced to what can still be best.

Decode states are rows and pairs of decode and prefill counts are columns. Rows come fastest first
and columns cheapest first, so that a deployment is dominated where one above or left of it has at
least its throughput: a running maximum in both directions finds them all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import FloatArray
from costmodel.prefill import Prefill
from costmodel.results import Configuration, Scenario
from costmodel.serving import MOST_LOAD, Benchmark, Fleet, benchmark, join_prefill
from optimizer.columns import Columns, all_columns, level_starts, take_columns
from optimizer.entries import Entries, joined
from optimizer.space import Space
from optimizer.states import (
    DecodeStates,
    IntArray,
    PrefillOptions,
    decode_states,
    prefill_options,
    take_rate,
)
from optimizer.throttled import Cells, throttle, throttled_cells
from presets import ClusterSpec

BLOCK = 1 << 16
"""Deployments evaluated at a time: arrays of half a megabyte stay in the cache. [1]"""

MOST_USERS = 1_000_000
"""Largest concurrency of a configuration. [1]"""


@dataclass(frozen=True)
class Lattice:
    """What the pass over all deployments leaves.

    Attributes
    ----------
    states : DecodeStates
        Rows.
    options : PrefillOptions
        Prefill workers by size.
    columns : dict
        From size of decode worker to its columns.
    candidates : int
        Deployments of the space, after engine rules, memory, GPU budget and placement. [1]
    evaluated : int
        Those whose decode worker is fast enough to be looked at. [1]
    feasible : array of int
        Deployments of each state that meet every limit but the target, with full slots; 0 where
        not evaluated. [1]
    front : Entries
        Deployments with full slots that none as fast and as cheap beats in throughput.
    by_structure : Entries
        Best throughput per dollar of each decode state with each size of prefill worker, among
        those with full slots.
    throttled : Entries
        Deployments whose prefill bounds the requests in flight.
    shortest_ttft : array of float
        Of each state over its columns; infinite where not evaluated. [s]
    """

    states: DecodeStates
    options: PrefillOptions
    columns: dict[int, Columns]
    candidates: int
    evaluated: int
    feasible: IntArray
    front: Entries
    by_structure: Entries
    throttled: Entries
    shortest_ttft: FloatArray


def evaluate(
    space: Space,
    scenario: Scenario,
    cluster: ClusterSpec,
    calibration: Calibration,
    max_gpus: int,
    max_ttft: float | None = None,
    slowest: float = 0.0,
) -> Lattice:
    """Evaluate all deployments of a space.

    Parameters
    ----------
    space, scenario, cluster, calibration
        What is searched, served, on what, and how it is predicted.
    max_gpus : int
        [GPU]
    max_ttft : float or None
        Longest mean TTFT. [s]
    slowest : float
        Interactivity below which a decode state is not looked at. [token/s]

    Raises
    ------
    InputError
        If no deployment of the space fits the cluster, its memory and the GPU budget.
    """
    states = decode_states(space, scenario, cluster, calibration)
    options = prefill_options(space, scenario, cluster, calibration)
    columns = all_columns(space, states, options, cluster, max_gpus)
    gather = _Gather(states, options, scenario, calibration, max_ttft)
    candidates = 0
    for size, pairs in columns.items():
        rows = np.flatnonzero(states.workers.gpus == size)
        candidates += len(rows) * len(pairs)
        rows = rows[states.tok_s_per_user[rows] >= slowest]
        if len(pairs):
            gather.add_size(rows, pairs)
    gather.add_throttled(columns, slowest)
    return gather.lattice(columns, candidates)


def benchmarks(
    states: DecodeStates,
    rows: IntArray,
    options: PrefillOptions,
    pairs: Columns,
    scenario: Scenario,
    calibration: Calibration,
) -> tuple[Benchmark, FloatArray]:
    """Benchmark rows x pairs with as many users as just fill the slots; also gives their number.

    It is infinite where prefill cannot keep up.
    """
    rate = take_rate(states.rate, rows)
    # The parts of a step are not needed here; they keep their shape.
    tall = replace(
        rate,
        requests=rate.requests[:, None],
        in_flight=rate.in_flight[:, None],
        tpot=rate.tpot[:, None],
        decode_seconds=rate.decode_seconds[:, None],
        request_rate=rate.request_rate[:, None],
    )
    prefill = Prefill(
        **{name: values[pairs.option] for name, values in vars(options.prefill).items()}
    )
    sizes = options.gpus[pairs.option].astype(np.float64)
    fleet = Fleet(
        pairs.prefill_workers.astype(np.float64), sizes, pairs.decode_workers.astype(np.float64)
    )
    workload = scenario.workload
    with np.errstate(invalid="ignore"):  # a wait without end has no throughput
        steady = join_prefill(tall, prefill, fleet, workload, calibration)
        concurrency = np.ceil(steady.users)
        depth = states.workers.mtp_depth[rows][:, None]
        gpus = pairs.gpus.astype(np.float64)
        slots = tall.in_flight  # of one worker, just filled
        result = benchmark(
            steady, depth, prefill, fleet, workload, gpus, slots, concurrency, calibration
        )
    return result, concurrency


def configuration_of(
    lattice: Lattice, state: int, column: int, scenario: Scenario, calibration: Calibration
) -> Configuration:
    """Write one deployment of the lattice as a configuration."""
    shape = lattice.states.shape_of(state)
    pair = take_columns(lattice.columns[shape.gpus], np.array([column]))
    states, options, row = lattice.states, lattice.options, np.array([state])
    full, users = benchmarks(states, row, options, pair, scenario, calibration)
    if full.steady.prefill_load[0, 0] > MOST_LOAD:
        cell = Cells(row, np.array([column]), pair)
        users = throttle(states, options, cell, scenario.workload, calibration)[1][None]
    return Configuration(
        prefill_workers=int(pair.prefill_workers[0]),
        prefill_gpus_per_worker=int(lattice.options.gpus[pair.option[0]]),
        decode_workers=int(pair.decode_workers[0]),
        decode_gpus_per_worker=shape.gpus,
        decode_ep=shape.gpus,
        decode_attention=shape.attention,
        max_batch=int(lattice.states.batch[state]),
        mtp_depth=shape.mtp_depth,
        eplb_slots=shape.eplb_slots,
        concurrency=int(users[0, 0]),
    )


class _Gather:
    """Collects, block by block, what can still be best."""

    def __init__(
        self,
        states: DecodeStates,
        options: PrefillOptions,
        scenario: Scenario,
        calibration: Calibration,
        max_ttft: float | None,
    ) -> None:
        self.states, self.options = states, options
        self.scenario, self.calibration = scenario, calibration
        self.max_ttft = math.inf if max_ttft is None else max_ttft
        self.front: list[Entries] = []
        self.by_structure: list[Entries] = []
        self.throttled = joined([])
        self.evaluated = 0
        self.feasible = np.zeros(len(states), dtype=np.int64)
        self.shortest_ttft = np.full(len(states), np.inf)

    def add_size(self, rows: IntArray, pairs: Columns) -> None:
        """Evaluate all deployments of one size of decode worker."""
        starts = level_starts(pairs)
        best_above = np.zeros(len(starts))
        step = max(1, BLOCK // len(pairs))
        for first in range(0, len(rows), step):
            block = rows[first : first + step]
            throughput = self._throughput(block, pairs)
            best_above = self._keep_front(block, pairs, throughput, starts, best_above)
            self._keep_structures(block, pairs, throughput)

    def add_throttled(self, columns: dict[int, Columns], slowest: float) -> None:
        """Evaluate the deployments whose prefill cannot keep all slots full."""
        cells = throttled_cells(self.states, self.options, columns, slowest)
        if not len(cells):
            return
        result, users = throttle(
            self.states, self.options, cells, self.scenario.workload, self.calibration
        )
        speed, fleet = 1.0 / result.tpot_median, cells.fleet
        throughput = result.total_tok_s_per_gpu * fleet.gpus
        fast = (speed >= slowest) & (users <= MOST_USERS)
        self.evaluated += int(np.count_nonzero(fast))
        np.minimum.at(self.shortest_ttft, cells.state[fast], result.ttft_mean[fast])
        found = Entries(cells.state, cells.column, throughput, fleet.cost, fleet.gpus, speed)
        self.throttled = found.take(fast & (result.ttft_mean <= self.max_ttft))

    def lattice(self, columns: dict[int, Columns], candidates: int) -> Lattice:
        """Put the collected parts together."""
        return Lattice(
            states=self.states,
            options=self.options,
            columns=columns,
            candidates=candidates,
            evaluated=self.evaluated,
            feasible=self.feasible,
            front=joined(self.front),
            by_structure=joined(self.by_structure),
            throttled=self.throttled,
            shortest_ttft=self.shortest_ttft,
        )

    def _throughput(self, block: IntArray, pairs: Columns) -> FloatArray:
        """Throughput of block x pairs [token/s]; 0 where a limit is broken."""
        result, users = benchmarks(
            self.states, block, self.options, pairs, self.scenario, self.calibration
        )
        runs = (result.steady.prefill_load <= MOST_LOAD) & (users <= MOST_USERS)
        ttft = np.where(runs, result.ttft_mean, np.inf)
        self.shortest_ttft[block] = ttft.min(axis=1)
        good = runs & (ttft <= self.max_ttft)
        self.evaluated += good.size
        self.feasible[block] = np.count_nonzero(good, axis=1)
        return np.where(good, result.total_tok_s_per_gpu * pairs.gpus, 0.0)

    def _keep_front(
        self,
        block: IntArray,
        pairs: Columns,
        throughput: FloatArray,
        starts: IntArray,
        best_above: FloatArray,
    ) -> FloatArray:
        """Keep what nothing as fast and as cheap reaches; return the best per level so far."""
        best = np.maximum.reduceat(throughput, starts, axis=1)
        reached = np.maximum.accumulate(
            np.maximum.accumulate(np.vstack([best_above, best]), axis=0), axis=1
        )
        left = np.zeros_like(best)
        left[:, 1:] = reached[1:, :-1]
        row, level = np.nonzero(best > np.maximum(reached[:-1], left))
        column = _first_at(throughput, best, row, level, starts)
        self.front.append(self._entries(block[row], column, throughput[row, column], pairs))
        last: FloatArray = reached[-1]
        return last

    def _keep_structures(self, block: IntArray, pairs: Columns, throughput: FloatArray) -> None:
        """Keep the best throughput per dollar of each state and size of prefill worker."""
        row = np.arange(len(block))
        per_dollar = throughput / pairs.cost
        for option in range(len(self.options.gpus)):
            members = np.flatnonzero(pairs.option == option)
            if len(members):
                column = members[np.argmax(per_dollar[:, members], axis=1)]
                found = self._entries(block, column, throughput[row, column], pairs)
                self.by_structure.append(found.take(found.throughput > 0.0))

    def _entries(
        self, state: IntArray, column: IntArray, throughput: FloatArray, pairs: Columns
    ) -> Entries:
        speed = self.states.tok_s_per_user[state]
        return Entries(state, column, throughput, pairs.cost[column], pairs.gpus[column], speed)


def _first_at(
    throughput: FloatArray, best: FloatArray, row: IntArray, level: IntArray, starts: IntArray
) -> IntArray:
    """First column of a level that reaches the best of its row there."""
    ends = np.append(starts[1:], throughput.shape[1])
    column = np.empty(len(row), dtype=np.int64)
    for number in np.unique(level):
        chosen = np.flatnonzero(level == number)
        part = throughput[row[chosen], starts[number] : ends[number]]
        column[chosen] = starts[number] + np.argmax(part, axis=1)
    return column
