"""Every deployment of a space, as evaluated in one pass and reduced to what can still be best.

Decode states are rows and pairs of decode and prefill counts are columns. Rows come fastest first
and columns lightest first, so that a deployment is dominated where one above or left of it has at
least its throughput: a running maximum in both directions finds them all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from costmodel.inputs import FloatArray, IntArray
from costmodel.results import Configuration
from optimizer.columns import (
    Columns,
    join_columns,
    take_columns,
)
from optimizer.entries import Entries
from optimizer.prefill import PrefillOptions
from optimizer.space import decode_fields
from optimizer.states import (
    DecodeStates,
    column_key,
)

MOST_GPUS = float(2**20)
"""More than any deployments take: of equally many that are charged fewer that serve win. [GPU]"""


class Lattice(NamedTuple):
    """What the pass over all deployments leaves.

    Attributes
    ----------
    states : DecodeStates
        Rows.
    options : PrefillOptions
        Prefill workers by size.
    columns : dict
        From `column_key` of a decode worker to its columns.
    put_off : dict
        Those of which only what could win is looked at, after the pass.
    candidates : int
        Deployments of the space, after engine rules, memory, GPU budget and placement. [1]
    evaluated : int
        Those whose decode worker is fast enough to be looked at. [1]
    feasible : array of int
        Deployments of each state that meet every limit but the target, with full slots, and whose
        replicas serve the rate where one is asked for; 0 where not evaluated. [1]
    front : Entries
        Deployments with full slots that none as fast and as light beats in throughput. Where whole
        domains are counted, the best of each decode state.
    by_structure : Entries
        Best throughput per weight of each decode state with each size of prefill worker, among
        those with full slots. Where whole domains are counted, as the front.
    throttled : Entries
        Deployments with fewer requests in flight than slots.
    shortest_ttft : array of float
        That counts against a limit: of each state over its columns, where it is fast enough;
        infinite where none is. [s]
    """

    states: DecodeStates
    options: PrefillOptions
    columns: dict[int, Columns]
    put_off: dict[int, Columns]
    candidates: int
    evaluated: int
    feasible: IntArray
    front: Entries
    by_structure: Entries
    throttled: Entries
    shortest_ttft: FloatArray

    def fleets(self, entries: Entries) -> Columns:
        """Columns of entries, one each."""
        keys = self.states.column_key[entries.state]
        none = take_columns(next(iter(self.columns.values())), entries.column[:0])
        by_key = [
            take_columns(self.columns[int(key)], entries.column[keys == key])
            for key in np.unique(keys)
        ]
        in_place = np.argsort(np.argsort(keys, kind="stable"))
        return take_columns(join_columns([none, *by_key]), in_place)


def configuration_of(lattice: Lattice, state: int, column: int, users: int) -> Configuration:
    """Write one deployment of the lattice as a configuration."""
    shape = lattice.states.shape_of(state)
    one_pool = lattice.states.mixed is not None
    pairs = lattice.columns[column_key(shape, one_pool)]
    option = pairs.option[column]
    return Configuration(
        serving="aggregated" if one_pool else "disaggregated",
        prefill_workers=0 if one_pool else int(pairs.prefill_workers[column]),
        prefill_gpus_per_worker=int(lattice.options.gpus[option]),
        prefill_attention="dp" if one_pool or lattice.options.attention_dp[option] else "tp",
        decode_workers=int(pairs.decode_workers[column]),
        **decode_fields(shape, lattice.states.facts.draft),
        max_batch=int(lattice.states.batch[state]),
        concurrency=users,
        frontends=int(lattice.states.facts.frontends),
    )
