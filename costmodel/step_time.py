"""Seconds of a layer and of a decode step, by part."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from costmodel.inputs import FloatArray


class ExpertTime(NamedTuple):
    """Seconds of the experts of one layer by part; shapes broadcast."""

    experts: FloatArray
    dispatch: FloatArray
    combine: FloatArray
    hidden: FloatArray  # of dispatch and combine, behind the experts: no part of the sum


class StepTime(NamedTuple):
    """Seconds of one decode step by part; ``total`` is what a step takes. Shapes broadcast."""

    projection: FloatArray
    attention: FloatArray
    experts: FloatArray
    dispatch: FloatArray
    combine: FloatArray
    all_reduce: FloatArray
    draft: FloatArray
    head: FloatArray
    launch: FloatArray
    host: FloatArray
    interleaved_prefill: FloatArray  # of other requests, where a worker prefills what it decodes
    wait: FloatArray
    hidden: FloatArray  # of dispatch and combine, behind the experts: no part of the sum

    @property
    def parts(self) -> dict[str, FloatArray]:
        """What adds up to a step; of dispatch and combine that is what is exposed [s]."""
        return {name: part for name, part in self._asdict().items() if name != "hidden"}

    @property
    def total(self) -> FloatArray:
        """Sum of all parts [s]."""
        return np.asarray(sum(self.parts.values()))

    def scaled(self, factor: float | FloatArray) -> StepTime:
        """All parts so many times as long."""
        return StepTime(*(part * factor for part in self))

    @property
    def exposed_communication(self) -> FloatArray:
        """Time in which links, not GEMMs, hold up the step [s]."""
        return np.asarray(self.dispatch + self.combine + self.all_reduce)
