"""Exact evaluation of chosen deployments, with the slots and users that serve most.

A fuller batch takes longer and yields more, so that only two settings of a deployment can be best:
the most slots that may all be full, and the next more with fewer users, where the target, TTFT,
prefill or the NICs allow no more of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodel.inputs import BoolArray, FloatArray, IntArray, take
from costmodel.network import Benchmark, Fleet, Network
from costmodel.resolve import of_workers
from costmodel.root import WIDTH
from costmodel.serving import MOST_LOAD, benchmark_of, fullest, serve, steady_state
from optimizer.candidates import Candidates
from optimizer.throttled import LOAD_TOLERANCE, SAME, serve_fed
from optimizer.worker_counts import take_counts

MOST_USERS = 1_000_000
"""Largest concurrency of a configuration. [1]"""


@dataclass(frozen=True, eq=False)
class Chosen:
    """Deployments to evaluate at a target; one entry each.

    Attributes
    ----------
    row, fleet : array of int
        Index into the decode workers, and into the counts of workers.
    full, more : array of int
        Slots, as the operating points have them. [1]
    target : array of float
        [token/s]
    """

    row: IntArray
    fleet: IntArray
    full: IntArray
    more: IntArray
    target: FloatArray

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.row)

    def take(self, index: IntArray) -> Chosen:
        """Keep the chosen entries."""
        return Chosen(*(values[index] for values in vars(self).values()))


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What was evaluated; one entry each.

    Attributes
    ----------
    row, fleet : array of int
        As chosen.
    slots, users : array of int
        The setting of most throughput that meets the limits. [1]
    throughput : array of float
        Input and output tokens, as benchmarked; 0 where no setting meets the limits. [token/s]
    speed : array of float
        Interactivity that counts against the target. [token/s]
    """

    row: IntArray
    fleet: IntArray
    slots: IntArray
    users: IntArray
    throughput: FloatArray
    speed: FloatArray

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.row)

    def take(self, index: IntArray | BoolArray) -> Evaluated:
        """Keep the chosen entries."""
        return Evaluated(*(values[index] for values in vars(self).values()))


def joined(parts: list[Evaluated]) -> Evaluated:
    """Put parts one after the other."""
    names = Evaluated.__dataclass_fields__
    return Evaluated(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def evaluate(candidates: Candidates, chosen: Chosen) -> Evaluated:
    """Evaluate chosen deployments, each with the setting that serves most within the limits."""
    return Evaluation(candidates, chosen).best()


class Evaluation:
    """The settings of some deployments, and the best found of each so far."""

    def __init__(self, candidates: Candidates, chosen: Chosen) -> None:
        self.candidates, self.chosen = candidates, chosen
        self.limits = candidates.problem.limits
        count = len(chosen)
        self.slots, self.users = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        self.throughput, self.speed = np.zeros(count), np.zeros(count)
        self.network = _network(candidates, chosen)
        self.longest = np.full(count, np.inf)
        if self.limits.max_ttft is not None:
            widening = candidates.options.widening[candidates.counts.option[chosen.fleet]]
            factor = candidates.spans.ttft_factor(chosen.row, widening)
            self.longest = np.broadcast_to(self.limits.max_ttft / factor, count)

    def best(self) -> Evaluated:
        """Try the settings that can be best."""
        chosen, spans = self.chosen, self.candidates.spans
        kept = self.keep_full(chosen.full)
        slots = np.where(kept, chosen.more, chosen.full)
        guess = np.where(chosen.full > 0, chosen.full, 1e-3).astype(np.float64)
        slots = np.where(chosen.full > 0, slots, chosen.more)
        overfull = np.flatnonzero(~kept & (chosen.full > 0))
        if len(overfull):
            most = self.most_in_flight(overfull)
            fewer = spans.floor(chosen.row[overfull], most * (1.0 + 2.0 * WIDTH))
            below = np.zeros(len(chosen), dtype=np.int64)
            below[overfull] = fewer
            self.keep_full(below)
            slots[overfull] = spans.above(chosen.row[overfull], fewer)
            guess[overfull] = most
        # Without room for more slots, those with too many users to fill them may do with fewer.
        alone = (slots == 0) & (self.throughput == 0.0)
        slots = np.where(alone, chosen.full, slots)
        self.keep_fewer(np.flatnonzero(slots), slots, guess)
        return Evaluated(
            chosen.row, chosen.fleet, self.slots, self.users, self.throughput, self.speed
        )

    def keep_full(self, slots: IntArray) -> BoolArray:
        """Evaluate with all slots full; gives whether so many can be kept full.

        The user that rounding adds waits longest: whether they can is judged without it.
        """
        index = np.flatnonzero(slots)
        found = np.zeros(len(slots), dtype=np.bool_)
        if not len(index):
            return found
        network, of_rank = self.network.take(index), slots[index].astype(np.float64)
        with np.errstate(invalid="ignore"):  # a wait without end has no throughput
            steady = steady_state(network, of_rank, of_rank)
            filling, asked = np.ceil(steady.users), self.limits.concurrency
            users = filling if asked is None else np.full_like(filling, float(asked))
            result = benchmark_of(network, steady, of_rank, users)
            most = MOST_USERS if asked is None else asked
            runs = (steady.load <= MOST_LOAD) & (filling <= most)
            ttft = result.ttft_at(self.limits.ttft_percentile)
            if asked is None and self.limits.max_ttft is not None:
                shortest = benchmark_of(network, steady, of_rank, steady.users)
                runs_in_time = shortest.ttft_at(self.limits.ttft_percentile) <= self.longest[index]
            else:
                runs_in_time = np.ones(len(index), dtype=np.bool_)
            found[index] = runs & runs_in_time
            self._better(index, slots[index], users, result, runs & (ttft <= self.longest[index]))
        return found

    def most_in_flight(self, index: IntArray) -> FloatArray:
        """Largest batch that all limits but the target allow, per rank (dp) or worker (tp) [1]."""
        slots = self.chosen.full[index].astype(np.float64)
        asked = self.limits.concurrency
        users = np.full(len(slots), np.inf if asked is None else float(asked))
        limited = asked is None and self.limits.max_ttft is not None
        steady = fullest(
            self.network.take(index),
            slots,
            users,
            slots,
            self.longest[index] if limited else None,
            judged=self.limits.judged,
        )
        return steady.decode.requests

    def keep_fewer(self, index: IntArray, every_slots: IntArray, every_guess: FloatArray) -> None:
        """Evaluate with fewer requests in flight than slots, as many as the limits allow."""
        if not len(index):
            return
        network, slots = self.network.take(index), every_slots[index].astype(np.float64)
        limits = self.limits
        if limits.concurrency is not None:
            users = np.full(len(slots), float(limits.concurrency))
            result = serve(network, slots, users)
        else:
            slowest = self.candidates.spans.promised[self.chosen.row[index]]
            slowest = slowest / self.chosen.target[index]
            longest = None if limits.max_ttft is None else self.longest[index]
            guess = np.minimum(every_guess[index], slots)
            result, users = serve_fed(network, slots, longest, slowest, guess, limits.judged)
        # Steps may ask too much of the NICs at any batch.
        good = result.steady.load <= MOST_LOAD * (1.0 + LOAD_TOLERANCE)
        good &= result.ttft_at(limits.ttft_percentile) <= self.longest[index]
        self._better(index, every_slots[index], users, result, good)

    def _better(
        self,
        index: IntArray,
        slots: IntArray,
        users: FloatArray,
        result: Benchmark,
        good: BoolArray,
    ) -> None:
        """Keep what meets the limits and serves more than what was found before."""
        target = self.chosen.target[index]
        promised = self.candidates.spans.promised[self.chosen.row[index]]
        speed = promised / result.tpot_at(self.limits.target_percentile)
        # What was solved for meets the target as closely as it was solved for.
        margin = SAME if self.limits.concurrency is None else 0.0
        gpus = self.candidates.counts.gpus[self.chosen.fleet[index]]
        throughput = result.total_tok_s_per_gpu * gpus
        good = good & (speed >= target * (1.0 - margin)) & (users <= MOST_USERS)
        good &= throughput > self.throughput[index]
        some = index[good]
        self.slots[some], self.users[some] = slots[good], users[good].astype(np.int64)
        self.throughput[some] = throughput[good]
        self.speed[some] = np.maximum(speed, target)[good]


def _network(candidates: Candidates, chosen: Chosen) -> Network:
    """Put the workers of deployments together, as the closed network has them."""
    spans, counts = candidates.spans, take_counts(candidates.counts, chosen.fleet)
    known, place, options = spans.known, spans.place[chosen.row], candidates.options
    return Network(
        machine=known.facts.machine,
        model=known.facts.model,
        workers=take(known.workers, place),
        paths=take(known.paths, place),
        prefill=take(options.prefill, counts.option),
        fleet=Fleet(
            counts.prefill_workers.astype(np.float64),
            options.gpus[counts.option].astype(np.float64),
            counts.decode_workers.astype(np.float64),
            known.facts.frontends,
        ),
        workload=candidates.problem.scenario.workload,
        calibration=of_workers(known.constants, place, len(known.shapes)),
        mixed=None if known.mixed is None else take(known.mixed, place),
    )
