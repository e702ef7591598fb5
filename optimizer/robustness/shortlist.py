"""Fleets that may be best under some draw of the constants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from costmodel.results import Configuration
from optimizer.answer import Answer
from optimizer.problem import Problem
from optimizer.robustness.retune import fleet_of
from optimizer.search import curve

FAN = (0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15)
"""Targets, over the one asked for, whose answers the shortlist has. [1]"""

Progress = Callable[[], None]


def shortlist(
    winner: Configuration, problems: Sequence[Problem], progress: Progress = lambda: None
) -> tuple[Configuration, ...]:
    """Fleets that may be best under some draw, the winner's first.

    Every winner and runner-up of the whole space, at targets around the one asked for under the
    first problem and at that target under the others, and each of these fleets with one worker more
    or less of either role.

    Parameters
    ----------
    winner : Configuration
        As answered.
    problems : sequence of Problem
        Under the values of the fit, and under some draws.
    progress : callable
        Called after each of them.
    """
    problem = problems[0]
    target = problem.limits.target
    found = [winner]
    for place, each in enumerate(problems):
        targets = [target] if place else [target * factor for factor in FAN]
        found += _named(curve(each, targets, explained=False))
        progress()
    fleets = dict.fromkeys(fleet_of(each) for each in found)
    for fleet in list(fleets):
        fleets |= dict.fromkeys(_neighbours(fleet, problem))
    return tuple(fleets)


def _named(answers: Sequence[Answer]) -> list[Configuration]:
    """Winners and runners-up of answers."""
    found = [answer.configuration for answer in answers if answer.configuration]
    return found + [other.configuration for answer in answers for other in answer.runners_up]


def _neighbours(fleet: Configuration, problem: Problem) -> Iterator[Configuration]:
    """Give a fleet with one worker more or less of either role, where the space has it.

    One pool has one role.
    """
    space = problem.space
    changes = (-1, 0, 1)
    counts = (0,) if fleet.is_aggregated else space.prefill_workers
    for prefill, decode in product((0,) if fleet.is_aggregated else changes, changes):
        workers = fleet.prefill_workers + prefill, fleet.decode_workers + decode
        if workers[0] not in counts or workers[1] not in space.decode_workers:
            continue
        sizes = fleet.prefill_gpus_per_worker, fleet.decode_gpus_per_worker
        if problem.has_room((sizes[1], workers[1]), (sizes[0], workers[0])):
            yield fleet.model_copy(
                update={"prefill_workers": workers[0], "decode_workers": workers[1]}
            )
