"""Deployments that are solved for as they could win, or be among the runners-up.

With every slot full a batch may be too slow and the next smaller one faster than was asked. Between
them users are the setting: as many as leave the interactivity at the target. Such a deployment
depends on the target, so it is no point of the lattice. Nor are those of prefill tp that hardly
differ from one of dp: of these the largest batch that is fast enough is looked at too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.root import WIDTH, enclosed
from costmodel.serving import MOST_LOAD
from optimizer.columns import Columns, take_columns
from optimizer.entries import Entries, joined
from optimizer.evaluation import MOST_USERS
from optimizer.lattice import Lattice
from optimizer.problem import Problem
from optimizer.states import DecodeStates
from optimizer.throttled import SAME, Cells, join_cells, throttle

NEAR = 0.1
"""How closely the batch in flight at a target is bounded, of the logarithm. [1]"""

FEW = 0.01
"""Share of the first batch of a shape below which its batch in flight is not bounded. [1]"""

Better = Callable[[Entries], BoolArray]
"""Which entries could be the answer or among its runners-up."""


def slowed(
    problem: Problem, lattice: Lattice, targets: Sequence[float], better: Sequence[Better]
) -> list[Entries]:
    """Solve for the users of deployments that could beat the best of the lattice.

    Parameters
    ----------
    problem, lattice
        What is asked, but for the target, and the pass over all deployments. With a given number of
        users there is nothing to solve for.
    targets
        [token/s]
    better
        For each target, whether entries could be the answer or among its runners-up.

    Returns
    -------
    Deployments that meet the limits, by target.
    """
    limits = problem.limits
    if limits.concurrency is not None:
        return [joined([]) for _ in targets]
    states, before = lattice.states, lattice.states.speed_before
    rows = [np.flatnonzero((states.speed < one) & (before >= one)) for one in targets]
    rates = _rates_at_target(problem, lattice, rows, targets)
    cells, which = [], []
    for place, is_better in enumerate(better):
        fast = _largest_fast(states, rows[place], targets[place])
        full = states.rate.request_rate[fast]
        for part in (
            *_promising(problem, lattice, lattice.columns, rows[place], rates[place], is_better),
            *_promising(problem, lattice, lattice.put_off, fast, full, is_better),
        ):
            cells.append(part)
            which.append(np.full(len(part), place))
    if not cells:
        return [joined([]) for _ in targets]
    every, place_of = join_cells(cells), np.concatenate(which)
    target = np.array(targets)[place_of]
    result, users = throttle(
        lattice.states,
        lattice.options,
        every,
        limits,
        problem.scenario.workload,
        target,
    )
    speed = lattice.states.promised[every.state] / result.tpot_at(limits.target_percentile)
    good = (speed >= target * (1.0 - SAME)) & (users <= MOST_USERS)
    found = Entries(
        state=every.state,
        column=every.fleet.place,
        throughput=result.total_tok_s_per_gpu * every.fleet.gpus,
        weight=every.fleet.weight,
        gpus=every.fleet.gpus,
        speed=np.maximum(speed, target),  # of those that are good, the same
        users=users,
    )
    if limits.max_ttft is not None:
        widening = lattice.options.widening[every.fleet.option]
        factor = states.ttft_factor(every.state, widening)
        good &= result.ttft_at(limits.ttft_percentile) * factor <= limits.max_ttft
    return [found.take(good & (place_of == place)) for place in range(len(targets))]


def _rates_at_target(
    problem: Problem, lattice: Lattice, rows: Sequence[IntArray], targets: Sequence[float]
) -> list[FloatArray]:
    """Bound the requests per second that one worker of each state gives at the target [1/s].

    That is with as many requests in flight as its own step allows; uneven routing allows fewer.
    """
    states = lattice.states
    every = np.concatenate(rows)
    if not len(every):
        return [np.zeros(0) for _ in rows]
    target = np.repeat(targets, [len(some) for some in rows])
    longest = states.promised[every] / target
    rate = partial(states.rate_of, every, problem=problem)
    percentile = problem.limits.target_percentile

    def slowness(log_batch: FloatArray) -> FloatArray:
        return np.asarray(np.log(rate(np.exp(log_batch)).tpot_at(percentile) / longest))

    full = states.batch[every].astype(np.float64)
    before = states.before[every]
    least = np.where(before < 0, FEW * full, states.batch[before])
    _, most = enclosed(slowness, np.log(least), np.log(full), NEAR)
    split = np.cumsum([len(some) for some in rows])[:-1]
    return np.split(rate(np.exp(most + WIDTH)).request_rate, split)


def _largest_fast(states: DecodeStates, slow: IntArray, target: float) -> IntArray:
    """States just before those that are too slow, and the last of a shape where it is fast."""
    before = states.before[slow]
    last = np.flatnonzero(states.is_last & (states.speed >= target))
    return np.concatenate([before[before >= 0], last])


def _promising(
    problem: Problem,
    lattice: Lattice,
    columns: Mapping[int, Columns],
    rows: IntArray,
    rates: FloatArray,
    is_better: Better,
) -> list[Cells]:
    """Cells of states and columns that could win, as a bound says.

    The bound is what the workers would give at the target, or with prefill at its largest load. A
    run drains over half of a round at its end.
    """
    states, options = lattice.states, lattice.options
    workload = problem.scenario.workload
    tokens = float(workload.input_tokens + workload.output_tokens)
    tokens *= 1.0 - 1.0 / (2.0 * float(problem.calibration.rounds))
    found = []
    for key, pairs in columns.items():
        chosen = states.column_key[rows] == key
        if not chosen.any() or not len(pairs):
            continue
        fed = MOST_LOAD * pairs.prefill_workers * options.prefill.capacity[pairs.option]
        full = rates[chosen][:, None] * pairs.decode_workers
        state, column = (
            index.ravel()
            for index in np.meshgrid(rows[chosen], np.arange(len(pairs)), indexing="ij")
        )
        bound = Entries(
            state=state,
            column=pairs.place[column],
            throughput=tokens * np.minimum(full, fed).ravel(),
            weight=pairs.weight[column],
            gpus=pairs.gpus[column],
            speed=np.zeros(len(state)),
            users=np.ones(len(state)),
        )
        kept = is_better(bound)
        found.append(Cells(state[kept], take_columns(pairs, column[kept])))
    return found
