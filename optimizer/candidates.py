"""What a search chooses from: decode workers, prefill workers, and how many of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from costmodel.inputs import FloatArray, IntArray
from costmodel.results import Configuration
from optimizer.prefill import PrefillOptions, options_of
from optimizer.problem import Problem
from optimizer.space import decode_fields
from optimizer.spans import Spans, spans_of
from optimizer.value import charged, copies_of, serves
from optimizer.worker_counts import WorkerCounts, take_counts, worker_counts


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every deployment of a space, but for the slots and the users of each.

    Attributes
    ----------
    problem : Problem
        What is asked, but for the target.
    spans : Spans
        Decode workers.
    options : PrefillOptions
        Prefill workers.
    counts : WorkerCounts
        How many of each; those that go with decode workers of one kind are neighbours.
    parts : dict
        Where those of each `fleet_key` are.
    """

    problem: Problem
    spans: Spans
    options: PrefillOptions
    counts: WorkerCounts
    parts: dict[int, slice]

    def asked(self, problem: Problem) -> Candidates:
        """Ask for another target, TTFT, concurrency or rate of the same workers."""
        return replace(self, problem=problem, spans=replace(self.spans, problem=problem))

    @property
    def number(self) -> int:
        """Deployments that break no engine rule and fit memory, GPU budget and domains [1]."""
        sizes = {key: part.stop - part.start for key, part in self.parts.items()}
        every = np.array([sizes.get(key, 0) for key in self.spans.key.tolist()])
        return int((every * self.spans.count).sum())

    def configuration(self, row: int, fleet: int, slots: int, users: int) -> Configuration:
        """Write one deployment as a configuration."""
        one_pool, counts, facts = self.problem.is_aggregated, self.counts, self.spans.known.facts
        shape, option = self.spans.shapes[self.spans.place[row]], counts.option[fleet]
        is_dp = one_pool or self.options.attention_dp[option]
        return Configuration(
            serving=self.problem.serving,
            prefill_workers=0 if one_pool else int(counts.prefill_workers[fleet]),
            prefill_gpus_per_worker=int(self.options.gpus[option]),
            prefill_attention="dp" if is_dp else "tp",
            decode_workers=int(counts.decode_workers[fleet]),
            **decode_fields(shape, facts.draft),
            max_batch=slots,
            concurrency=users,
            frontends=int(facts.frontends),
        )

    def merit(self, fleets: IntArray, throughput: FloatArray) -> Merit:
        """Say how good fleets are that yield some tokens [token/s].

        More tokens never have less merit.
        """
        problem, some = self.problem, take_counts(self.counts, fleets)
        if problem.objective.rate is None:
            ratio = np.rint(THROUGHPUT_SCALE * throughput) / some.weight
            return Merit(np.where(throughput > 0.0, ratio, -np.inf), -some.gpus.astype(np.float64))
        good = throughput > 0.0
        tokens = np.where(good, throughput, np.inf)
        good &= serves(problem, tokens, some.decode, some.prefill)
        copies = copies_of(problem, tokens)
        paid = charged(problem, some.decode, some.prefill, copies)
        # Of equally many that are charged, the fewest that serve, and of those what serves most.
        gpus = MOST_GPUS * paid + copies * some.gpus
        return Merit(
            np.where(good, -gpus.astype(np.float64), -np.inf),
            np.where(good, copies * throughput, 0.0),
        )


THROUGHPUT_SCALE = 1000.0
"""Throughput counts in thousandths of a token per second, so that what is equal is. [1]"""

MOST_GPUS = 2**18
"""More GPUs than any deployments take."""


@dataclass(frozen=True, eq=False)
class Merit:
    """How good deployments are: the first, the more the better; the second where that is equal."""

    first: FloatArray
    second: FloatArray

    @property
    def order(self) -> IntArray:
        """Places, best first; of equals the first stays first."""
        return np.asarray(np.lexsort((-self.second, -self.first)))


def candidates_of(problem: Problem, spans: Spans | None = None) -> Candidates:
    """Gather the workers of a space, and how many of each there may be.

    Raises
    ------
    InputError
        If no deployment of the space fits the cluster, its memory and the GPU budget.
    """
    spans = spans_of(problem) if spans is None else spans
    options = options_of(spans, problem)
    by_key = worker_counts(problem, spans, options)
    ends = np.cumsum([len(each) for each in by_key.values()]).tolist()
    starts = [0, *ends[:-1]]
    parts = dict(zip(by_key, map(slice, starts, ends), strict=True))
    names = WorkerCounts.__dataclass_fields__
    every = [np.concatenate([getattr(each, n) for each in by_key.values()]) for n in names]
    return Candidates(problem, spans, options, WorkerCounts(*every), parts)
