"""Chosen deployments of the lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from costmodel.inputs import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
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
    weight : array of int
        What the objective divides by, as the columns have it.
    gpus : array of int
        [GPU]
    speed : array of float
        Interactivity that counts against the target. [token/s]
    users : array of float
        Users served at once. [1]
    """

    state: IntArray
    column: IntArray
    throughput: FloatArray
    weight: IntArray
    gpus: IntArray
    speed: FloatArray
    users: FloatArray

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.state)

    def take(self, index: IntArray | np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Entries:
        """Keep the chosen entries."""
        index = np.flatnonzero(index) if index.dtype == np.bool_ else index
        return Entries(*(getattr(self, field.name)[index] for field in fields(self)))


def joined(parts: Sequence[Entries]) -> Entries:
    """Put parts one after the other; none give none."""
    none = np.zeros(0, dtype=np.int64)
    parts = [Entries(none, none, np.zeros(0), none, none, np.zeros(0), np.zeros(0)), *parts]
    names = (field.name for field in fields(Entries))
    return Entries(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
