"""Evaluates every deployment of a space, block by block, and keeps what can still be best."""

from __future__ import annotations

import math

import numpy as np

from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.network import Benchmark, Fleet
from costmodel.prefill import Prefill
from costmodel.serving import MOST_LOAD, benchmark, join_prefill
from optimizer.columns import Columns, all_columns, first_at, has_twin, level_starts, take_columns
from optimizer.entries import Entries, joined
from optimizer.lattice import MOST_GPUS, Lattice
from optimizer.prefill import PrefillOptions, options_of
from optimizer.problem import Problem
from optimizer.states import DecodeStates, decode_states, take_rate
from optimizer.throttled import Cells, join_cells, throttle, throttled_cells
from optimizer.value import charged, copies_of, serves

BLOCK = 1 << 17
"""Deployments evaluated at a time: arrays of a megabyte stay in the cache. [1]"""


MOST_USERS = 1_000_000
"""Largest concurrency of a configuration. [1]"""


def evaluate(problem: Problem, slowest: float = 0.0, states: DecodeStates | None = None) -> Lattice:
    """Evaluate all deployments of a space.

    Parameters
    ----------
    problem : Problem
        What is asked; its target is not looked at.
    slowest : float
        Interactivity below which a decode state is not looked at. [token/s]
    states : DecodeStates, optional
        Those of the problem, where they were rated before.

    Raises
    ------
    InputError
        If no deployment of the space fits the cluster, its memory and the GPU budget.
    """
    states = decode_states(problem) if states is None else states
    options = options_of(states, problem)
    columns = all_columns(problem, states, options)
    gather = Gather(problem, states, options, slowest)
    candidates, put_off = 0, {}
    # With given users, or a limit on it, a shorter TTFT gives more: there nothing is put off.
    limits = problem.limits
    ttft_counts = limits.max_ttft is not None or limits.concurrency is not None
    # Also the first batch of a shape that is too slow with full slots: with fewer it may do.
    looked_at = np.maximum(states.speed, states.speed_before) >= slowest
    for key, pairs in columns.items():
        rows = np.flatnonzero(states.column_key == key)
        candidates += len(rows) * len(pairs)
        rows = rows[looked_at[rows]]
        later = np.zeros(len(pairs), dtype=np.bool_) if ttft_counts else has_twin(pairs, options)
        put_off[key] = take_columns(pairs, np.flatnonzero(later))
        now = take_columns(pairs, np.flatnonzero(~later))
        if len(now) and len(rows):
            gather.add_size(rows, now)
    return gather.lattice(columns, put_off, candidates)


def benchmarks(
    problem: Problem,
    states: DecodeStates,
    rows: IntArray,
    options: PrefillOptions,
    pairs: Columns,
) -> tuple[Benchmark, FloatArray, FloatArray]:
    """Benchmark rows x pairs with full slots; also gives how many users it takes to fill them.

    Users are the concurrency of the limits, or just as many as it takes, which are infinitely many
    where prefill cannot keep up. The third is the TTFT of those before their number is rounded
    up, under a limit on TTFT. [s]
    """
    rate = take_rate(states.rate, rows)
    # The parts of a step are not needed here; they keep their shape.
    tall = rate._replace(
        requests=rate.requests[:, None],
        in_flight=rate.in_flight[:, None],
        tpot=rate.tpot[:, None],
        tpot_deviation=rate.tpot_deviation[:, None],
        decode_seconds=rate.decode_seconds[:, None],
        request_rate=rate.request_rate[:, None],
        nic_load=rate.nic_load[:, None],
        arrival_wait=rate.arrival_wait[:, None],
    )
    prefill = Prefill(*(values[pairs.option] for values in options.prefill))
    sizes = options.gpus[pairs.option].astype(np.float64)
    fleet = Fleet(
        pairs.prefill_workers.astype(np.float64),
        sizes,
        pairs.decode_workers.astype(np.float64),
        states.facts.frontends,
    )
    workload, calibration = problem.scenario.workload, problem.constants
    limits = problem.limits
    depth = states.workers.mtp_depth[rows][:, None]
    gpus = pairs.gpus.astype(np.float64)

    def run(users: FloatArray) -> Benchmark:
        slots = tall.in_flight  # of one worker
        return benchmark(steady, depth, prefill, fleet, workload, gpus, slots, users, calibration)

    with np.errstate(invalid="ignore"):  # a wait without end has no throughput
        steady = join_prefill(tall, prefill, fleet, workload, calibration)
        filling, asked = np.ceil(steady.users), limits.concurrency
        result = run(filling if asked is None else np.full_like(filling, float(asked)))
        ttft = result.ttft_at(limits.ttft_percentile)
        if asked is None and limits.max_ttft is not None:
            ttft = run(steady.users).ttft_at(limits.ttft_percentile)
    return result, filling, ttft


class Gather:
    """Collects, block by block, what can still be best."""

    def __init__(
        self, problem: Problem, states: DecodeStates, options: PrefillOptions, slowest: float
    ) -> None:
        self.problem, self.slowest = problem, slowest
        self.states, self.options = states, options
        self.limits = limits = problem.limits
        self.max_ttft = math.inf if limits.max_ttft is None else limits.max_ttft
        self.front: list[Entries] = []
        self.by_structure: list[Entries] = []
        self.overfull: list[Cells] = []
        self.evaluated = 0
        self.feasible = np.zeros(len(states), dtype=np.int64)
        self.shortest_ttft = np.full(len(states), np.inf)

    def add_size(self, rows: IntArray, pairs: Columns) -> None:
        """Evaluate all deployments of one size of decode worker."""
        starts = level_starts(pairs)
        best_above = np.zeros(len(starts))
        step = max(1, BLOCK // len(pairs))
        overfull = np.zeros((len(rows), len(pairs)), dtype=np.bool_)
        for first in range(0, len(rows), step):
            block = rows[first : first + step]
            throughput, users, overfull[first : first + step] = self._evaluated(block, pairs)
            if self.problem.objective.counts_domains:
                self._keep_fewest(block, pairs, throughput, users)
                continue
            best_above = self._keep_front(block, pairs, throughput, users, starts, best_above)
            self._keep_structures(block, pairs, throughput, users)
        self.overfull.append(throttled_cells(self.states, rows, overfull, pairs))

    def lattice(
        self, columns: dict[int, Columns], put_off: dict[int, Columns], candidates: int
    ) -> Lattice:
        """Put the collected parts together."""
        throttled = self._throttled()
        return Lattice(
            states=self.states,
            options=self.options,
            columns=columns,
            put_off=put_off,
            candidates=candidates,
            evaluated=self.evaluated,
            feasible=self.feasible,
            front=joined(self.front),
            by_structure=joined(self.by_structure),
            throttled=throttled,
            shortest_ttft=self.shortest_ttft,
        )

    def _evaluated(
        self, block: IntArray, pairs: Columns
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Throughput of block x pairs [token/s], users, and where slots cannot be kept full.

        The throughput is 0 where a limit is broken.
        """
        asked = self.limits.concurrency
        result, filling, shortest = benchmarks(
            self.problem, self.states, block, self.options, pairs
        )
        most = MOST_USERS if asked is None else asked
        runs = (result.steady.load <= MOST_LOAD) & (filling <= most)
        factor = self.states.ttft_factor(block[:, None], self.options.widening[pairs.option])
        ttft = np.where(runs, result.ttft_at(self.limits.ttft_percentile) * factor, np.inf)
        in_time = runs & (ttft <= self.max_ttft)
        overfull = ~runs
        # With a given number of users more slots shorten their wait; else they bring more users.
        # The user that rounding adds waits longest, the longer the slower a fleet is. Without that
        # one it is in time, as may be one with another slot; a shape's most slots have no other.
        if asked is None:
            overfull |= ~(shortest * factor <= self.max_ttft)
            overfull |= ~in_time & self.states.is_last[block][:, None]
        fast = (self.states.speed[block] >= self.slowest)[:, None]
        good = in_time & fast
        self.shortest_ttft[block] = np.where(fast, ttft, np.inf).min(axis=1)
        self.evaluated += good.size
        users = filling if asked is None else np.full_like(filling, float(asked))
        throughput = np.where(good, result.total_tok_s_per_gpu * pairs.gpus, 0.0)
        self.feasible[block] = self._count(throughput, pairs)
        return throughput, users, overfull

    def _count(self, throughput: FloatArray, pairs: Columns) -> IntArray:
        """Count the deployments of each row that meet the limits, a rate among them.

        One that misses the rate stays: others ask how much of it can be served.
        """
        good = throughput > 0.0
        if self.problem.objective.rate is not None:
            row, column = np.nonzero(good)
            fleets = take_columns(pairs, column)
            each = throughput[row, column]
            good[row, column] = serves(self.problem, each, fleets.decode, fleets.prefill)
        return np.asarray(np.count_nonzero(good, axis=1))

    def _throttled(self) -> Entries:
        """Evaluate deployments with fewer requests in flight than slots."""
        if not any(map(len, self.overfull)):
            return joined([])
        cells = join_cells(self.overfull)
        state, fleet = cells.state, cells.fleet
        result, users = throttle(
            self.states,
            self.options,
            cells,
            self.limits,
            self.problem.scenario.workload,
        )
        found = Entries(
            state=state,
            column=fleet.place,
            throughput=result.total_tok_s_per_gpu * fleet.gpus,
            weight=fleet.weight,
            gpus=fleet.gpus,
            speed=self.states.promised[state] / result.tpot_at(self.limits.target_percentile),
            users=users,
        )
        good = (found.speed >= self.slowest) & (users <= MOST_USERS)
        factor = self.states.ttft_factor(state, self.options.widening[fleet.option])
        ttft = result.ttft_at(self.limits.ttft_percentile) * factor
        np.minimum.at(self.shortest_ttft, state[good], ttft[good])
        return found.take(good & (ttft <= self.max_ttft))

    def _keep_front(
        self,
        block: IntArray,
        pairs: Columns,
        throughput: FloatArray,
        users: FloatArray,
        starts: IntArray,
        best_above: FloatArray,
    ) -> FloatArray:
        """Keep what nothing as fast and as light reaches; return the best per level so far."""
        best = np.maximum.reduceat(throughput, starts, axis=1)
        reached = np.maximum.accumulate(
            np.maximum.accumulate(np.vstack([best_above, best]), axis=0), axis=1
        )
        left = np.zeros_like(best)
        left[:, 1:] = reached[1:, :-1]
        row, level = np.nonzero(best > np.maximum(reached[:-1], left))
        column = first_at(throughput, row, level, starts)
        self.front.append(self._entries(block, row, column, throughput, users, pairs))
        last: FloatArray = reached[-1]
        return last

    def _keep_fewest(
        self, block: IntArray, pairs: Columns, throughput: FloatArray, users: FloatArray
    ) -> None:
        """Keep of each row what serves the rate from the fewest domains.

        A lighter fleet of as much throughput may pack worse, so no row or level stands for others.
        """
        row, column = np.nonzero(throughput)
        fleets, each = take_columns(pairs, column), throughput[row, column]
        copies = copies_of(self.problem, each)
        paid = charged(self.problem, fleets.decode, fleets.prefill, copies)
        key, served = np.full(throughput.shape, np.inf), np.zeros_like(throughput)
        key[row, column] = MOST_GPUS * paid + copies * fleets.gpus
        served[row, column] = copies * each
        fewest = key.min(axis=1)
        best = np.argmax(np.where(key == fewest[:, None], served, -1.0), axis=1)
        row = np.flatnonzero(np.isfinite(fewest))
        found = self._entries(block, row, best[row], throughput, users, pairs)
        self.front.append(found)
        self.by_structure.append(found)

    def _keep_structures(
        self, block: IntArray, pairs: Columns, throughput: FloatArray, users: FloatArray
    ) -> None:
        """Keep the best throughput per weight of each state and size of prefill worker."""
        row = np.arange(len(block))
        merit = throughput / pairs.weight
        for option in range(len(self.options.gpus)):
            members = np.flatnonzero(pairs.option == option)
            if len(members):
                column = members[np.argmax(merit[:, members], axis=1)]
                found = self._entries(block, row, column, throughput, users, pairs)
                self.by_structure.append(found.take(found.throughput > 0.0))

    def _entries(
        self,
        block: IntArray,
        row: IntArray,
        column: IntArray,
        throughput: FloatArray,
        users: FloatArray,
        pairs: Columns,
    ) -> Entries:
        state = block[row]
        return Entries(
            state=state,
            column=pairs.place[column],
            throughput=throughput[row, column],
            weight=pairs.weight[column],
            gpus=pairs.gpus[column],
            speed=self.states.speed[state],
            users=users[row, column],
        )
