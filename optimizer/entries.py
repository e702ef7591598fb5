"""Chosen deployments of the lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from costmodel.inputs import FloatArray
from optimizer.states import IntArray


@dataclass(frozen=True)
class Entries:
    """Chosen deployments of the lattice, one entry each.

    Attributes
    ----------
    state : array of int
        Index into the decode states.
    column : array of int
        Index into the columns of the state's size.
    throughput : array of float
        Input and output tokens of the whole deployment, as benchmarked. [token/s]
    cost : array of int
        [1e-6 USD/h]
    gpus : array of int
        [GPU]
    speed : array of float
        Median interactivity. [token/s]
    """

    state: IntArray
    column: IntArray
    throughput: FloatArray
    cost: IntArray
    gpus: IntArray
    speed: FloatArray

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.state)

    @property
    def per_dollar(self) -> FloatArray:
        """Throughput over cost [1e6 token h / (s USD)]."""
        return np.asarray(self.throughput / self.cost)

    def take(self, index: IntArray | np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Entries:
        """Keep the chosen entries."""
        return Entries(*(getattr(self, field.name)[index] for field in fields(self)))


def joined(parts: Sequence[Entries]) -> Entries:
    """Put parts one after the other; none give none."""
    none = np.zeros(0, dtype=np.int64)
    parts = [Entries(none, none, np.zeros(0), none, none, np.zeros(0)), *parts]
    names = (field.name for field in fields(Entries))
    return Entries(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
