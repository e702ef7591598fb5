"""What is asked of the search, apart from its limits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import BoolArray
from costmodel.results import Scenario
from optimizer.entries import Entries
from optimizer.goal import Goal
from optimizer.ground import Ground
from optimizer.lattice import Lattice, evaluate
from optimizer.limits import Limits
from optimizer.space import Space
from optimizer.value import serves


class Question(NamedTuple):
    """What is searched, served, on what, how it is predicted, and what is made best."""

    space: Space
    scenario: Scenario
    ground: Ground
    calibration: Calibration
    goal: Goal

    def lattice(self, limits: Limits, slowest: float) -> Lattice:
        """Evaluate all deployments within the limits whose decode is no slower than `slowest`."""
        ground = self.ground._replace(max_gpus=limits.max_gpus)
        return evaluate(
            self.space, self.scenario, ground, self.calibration, limits, self.goal, slowest
        )

    def serving(self, entries: Entries) -> Entries:
        """Entries whose replicas serve the asked rate within the GPU budget; all without a rate."""
        return entries.take(self.serves(entries))

    def serves(self, entries: Entries) -> BoolArray:
        """Whether replicas of entries serve the asked rate within the GPU budget."""
        rate, budget = self.goal.rate, self.ground.budget
        if rate is None:
            return np.ones(len(entries), dtype=np.bool_)
        return serves(rate, entries.throughput, entries.gpus, budget, self.scenario)
