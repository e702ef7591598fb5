"""What users send: mean lengths, and how many drafted tokens are kept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import BoolArray, FloatArray, WorkerArrays

# Lengths are drawn uniformly from 0.8 to 1.0 of nominal (InferenceX benchmark, 2026).
SHORTEST = 0.8
REFERENCE_LENGTH = 1024.0


class Workload(NamedTuple):
    """Nominal input and output lengths; arrays broadcast."""

    isl: FloatArray  # [token]
    osl: FloatArray  # [token]
    cached_share: FloatArray = np.zeros(())  # of the input, whose KV is there before a request [1]
    as_written: BoolArray = np.zeros((), dtype=np.bool_)  # memory grows with the cache
    hand_over_page: FloatArray = np.asarray(np.inf)  # that is sent at once, of a layer [token]
    shortest: FloatArray = np.asarray(SHORTEST)  # length over the nominal one; 1: all the same [1]

    @property
    def mean_length(self) -> FloatArray:
        """Mean length over the nominal one [1]."""
        return (1.0 + self.shortest) / 2.0

    @property
    def length_deviation(self) -> FloatArray:
        """Standard deviation of lengths over their mean [1]."""
        return np.asarray((1.0 - self.shortest) / self.mean_length / np.sqrt(12.0))

    @property
    def input_tokens(self) -> FloatArray:
        """Mean input of a request [token]."""
        return self.mean_length * self.isl

    @property
    def cached_tokens(self) -> FloatArray:
        """Mean input of a request that is not prefilled [token]."""
        return self.input_tokens * self.cached_share

    @property
    def prefilled_tokens(self) -> FloatArray:
        """Mean input of a request that is prefilled [token]."""
        return self.input_tokens - self.cached_tokens

    @property
    def output_tokens(self) -> FloatArray:
        """Mean output of a request [token]."""
        return self.mean_length * self.osl

    @property
    def context(self) -> FloatArray:
        """Mean tokens in the cache of a request in flight [token].

        A request is seen in proportion to its length, so the mean position is
        ``E[o^2] / (2 E[o])``, with ``E[o^2] = (1 + s + s^2) / 3 osl^2`` for uniform lengths.
        """
        mean_square = (1.0 + self.shortest + self.shortest**2) / 3.0
        return self.input_tokens + mean_square / (2.0 * self.mean_length) * self.osl

    @property
    def kept_tokens(self) -> FloatArray:
        """Mean tokens of a request that memory is kept for: what is written, or all of it [token].

        With room for all of it from the start no request is put off later.
        """
        return np.where(self.as_written, self.context, self.input_tokens + self.output_tokens)


def acceptance_length(
    workers: WorkerArrays, workload: Workload, calibration: Calibration
) -> FloatArray:
    """Tokens kept per step, 1 to depth + 1 [1].

    Drafts kept are known at 1k/1k (`presets.drafts`); longer inputs and outputs are easier to
    predict, by a power of their length. What a user gave holds as it is.
    """
    lengths = (workload.isl / REFERENCE_LENGTH) ** calibration.acceptance_input * (
        workload.osl / REFERENCE_LENGTH
    ) ** calibration.acceptance_output
    factor = np.where(workers.kept_as_given, 1.0, calibration.acceptance * lengths)
    return 1.0 + np.minimum(workers.drafts_kept * factor, workers.mtp_depth)


def mean_over_median(mtp_depth: FloatArray, calibration: Calibration) -> FloatArray:
    """Mean TPOT over median TPOT: a few requests accept many drafts and pull the mean down."""
    return 1.0 - calibration.mean_to_median * mtp_depth
