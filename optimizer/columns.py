"""Fleets: how many workers of each role, for each size of decode worker, and their price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from optimizer.placement import packs
from optimizer.space import Space
from optimizer.states import DecodeStates, IntArray, PrefillOptions
from presets import ClusterSpec, InputError

MICRO_DOLLARS = 1e-6
"""Unit of integer prices. [USD]"""


@dataclass(frozen=True)
class Prices:
    """Price of one GPU in each role, as integers [1e-6 USD/h]."""

    prefill: int
    decode: int


@dataclass(frozen=True)
class Columns:
    """Pairs of decode and prefill counts for one size of decode worker, the cheapest first.

    Attributes
    ----------
    decode_workers, prefill_workers : array of int
        [1]
    option : array of int
        Index into the prefill options.
    prefill_gpus, decode_gpus : array of int
        All GPUs of each role. [GPU]
    cost : array of int
        Price of all GPUs. [1e-6 USD/h]
    """

    decode_workers: IntArray
    prefill_workers: IntArray
    option: IntArray
    prefill_gpus: IntArray
    decode_gpus: IntArray
    cost: IntArray

    @property
    def gpus(self) -> IntArray:
        """All GPUs of the deployment."""
        return self.prefill_gpus + self.decode_gpus

    def __len__(self) -> int:
        """Count the columns."""
        return len(self.cost)


def all_columns(
    space: Space,
    states: DecodeStates,
    options: PrefillOptions,
    cluster: ClusterSpec,
    max_gpus: int,
) -> dict[int, Columns]:
    """Fleets of every size of decode worker that has a state.

    Raises
    ------
    InputError
        If the GPU budget holds none.
    """
    sizes = np.unique(states.workers.gpus).astype(int).tolist()
    budget, prices = min(max_gpus, cluster.gpus), prices_of(cluster)
    columns = {size: _columns(space, size, options, cluster, budget, prices) for size in sizes}
    if not any(map(len, columns.values())):
        smallest = min(sizes) * min(space.decode_workers) + int(options.gpus[0]) * min(
            space.prefill_workers
        )
        scarce = f"max_gpus {max_gpus}" if max_gpus <= cluster.gpus else f"gpus {cluster.gpus}"
        raise InputError(
            f"{scarce} is too few on {cluster.sku}; the smallest deployment that holds the model "
            f"takes {smallest}"
        )
    return columns


def prices_of(cluster: ClusterSpec) -> Prices:
    """Price of a cluster's GPUs; either role runs on the same machine."""
    price = max(1, round(cluster.hardware().price_usd_per_hour.value / MICRO_DOLLARS))
    return Prices(prefill=price, decode=price)


def _columns(
    space: Space,
    size: int,
    options: PrefillOptions,
    cluster: ClusterSpec,
    budget: int,
    prices: Prices,
) -> Columns:
    """Pairs of counts within the budget that find room in the NVLink domains."""
    sizes = options.gpus.tolist()
    found = [
        (decode, prefill, option, prefill * sizes[option], decode * size)
        for decode, prefill, option in product(
            space.decode_workers, space.prefill_workers, range(len(sizes))
        )
        if decode * size + prefill * sizes[option] <= budget
        and packs(cluster, (size, decode), (sizes[option], prefill))
    ]
    table = np.array(found, dtype=np.int64).reshape(-1, 5).T
    decode, prefill, option, prefill_gpus, decode_gpus = table
    cost = prices.prefill * prefill_gpus + prices.decode * decode_gpus
    columns = Columns(decode, prefill, option, prefill_gpus, decode_gpus, cost)
    order = np.lexsort((columns.option, columns.prefill_workers, columns.gpus, columns.cost))
    return take_columns(columns, order)


def take_columns(columns: Columns, index: IntArray) -> Columns:
    """Keep the chosen columns."""
    return Columns(**{name: values[index] for name, values in vars(columns).items()})


def join_columns(parts: Sequence[Columns]) -> Columns:
    """Put columns one after the other."""
    names = vars(parts[0])
    return Columns(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in names})


def level_starts(pairs: Columns) -> IntArray:
    """First column of every level: columns of one cost and one number of GPUs."""
    changed = (np.diff(pairs.cost) != 0) | (np.diff(pairs.gpus) != 0)
    return np.concatenate([[0], np.flatnonzero(changed) + 1])
