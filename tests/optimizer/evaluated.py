"""All deployments of a space that promise to meet a target, each evaluated exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from costmodel.predictions import predict
from costmodel.results import Configuration, Predicted
from optimizer import Problem
from optimizer.candidates import Candidates, candidates_of
from optimizer.evaluation import Chosen, Evaluated, evaluate
from optimizer.promises import Promised, fed, promised
from optimizer.spans import points_at


class Everything(NamedTuple):
    """What is promised, and what was found of it."""

    candidates: Candidates
    promised: Promised
    evaluated: Evaluated

    @property
    def configurations(self) -> list[Configuration]:
        """The settings that were found best, of those that meet the limits."""
        fields = ("row", "fleet", "slots", "users")
        good = self.evaluated.take(self.evaluated.throughput > 0.0)
        columns = (getattr(good, name).tolist() for name in fields)
        return [self.candidates.configuration(*key) for key in zip(*columns, strict=True)]

    def predicted(self) -> list[Predicted]:
        """Predict those."""
        problem = self.candidates.problem
        return predict(
            self.configurations,
            problem.scenario,
            problem.cluster,
            problem.calibration,
            problem.prefill_cluster,
            problem.limits.judged,
        )


def everything(problem: Problem, step: int = 1) -> Everything:
    """Evaluate all that promises to meet the target of a problem, or each of so many."""
    candidates = candidates_of(problem)
    (points,) = points_at(candidates.spans, np.array([problem.limits.target]))
    every = promised(candidates, points, fed(candidates))
    some = every.take(np.arange(0, len(every), step))
    point = some.point
    chosen = Chosen(
        points.row[point],
        some.fleet,
        points.full[point],
        points.more[point],
        np.full(len(point), points.target),
    )
    return Everything(candidates, some, evaluate(candidates, chosen))
