"""Explanations of an answer: its links, what each limit costs, how far it holds, what to measure.

Each takes the answer alone, which keeps what was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

from costmodel.own_cluster import cluster_differs
from costmodel.results import Case, Configuration, Prediction
from costmodel.traffic import LinkUse, traffic_of
from costmodel.validation import serving_row_of
from moeplan.answers.best import Best
from moeplan.answers.explanation import Explanation, LinkLoad, Robustness, WorkerLinks
from moeplan.arguments import checked_arguments
from moeplan.numbers import whole_number
from moeplan.question import Question
from optimizer.problem import Problem
from optimizer.robustness.holdings import holdings
from optimizer.robustness.next_rows import next_rows, row_of
from optimizer.robustness.trials import DRAWS, SEED, steps_of, try_draws
from optimizer.sensitivity import otherwise_problems, sensitivities, wider_problems
from presets import InputError, published_rows, serving_rows
from presets.errors import shown

Progress = Callable[[], None]

MOST_DRAWS, HIGHEST_SEED = 100_000, 2**32 - 1
"""Bounds of what `robustness` takes. [1]"""


@checked_arguments
def explain(answer: Best, *, progress: Progress | None = None) -> Explanation:
    """Say what an answer moves over its links, and what each limit a little wider would give.

    Parameters
    ----------
    answer : Best
        From `best`.
    progress : callable, optional
        Called after each limit and fact, `explain_steps` times.

    Raises
    ------
    InputError
        Where the answer has no configuration.
    """
    problem, config, prediction = _found(answer)
    case = Case(config, problem.scenario, *problem.resources)
    traffic = traffic_of(case, problem.calibration)
    amount = answer.objective.amount or 0.0
    return Explanation(
        links=WorkerLinks(decode=_loads(traffic.decode), prefill=_loads(traffic.prefill)),
        shadow_prices=sensitivities(wider_problems(problem), config, prediction, amount, progress),
        assumed=sensitivities(otherwise_problems(problem), config, prediction, amount, progress),
    )


def explain_steps(answer: Best) -> int:
    """How often `explain` reports progress: limits that can be wider, facts that are assumed."""
    problem = _found(answer)[0]
    return sum(1 for _ in chain(wider_problems(problem), otherwise_problems(problem)))


@checked_arguments
def robustness(
    answer: Best, *, draws: int = DRAWS, seed: int = SEED, progress: Progress | None = None
) -> Robustness:
    """Say how far an answer holds where the constants are uncertain, and what to measure next.

    Parameters
    ----------
    answer : Best
        From `best`.
    draws, seed : int
        Draws of the constants; the same seed gives the same draws. [1]
    progress : callable, optional
        Called `robust_steps` times.

    Raises
    ------
    InputError
        Where the answer has no configuration, or a number is out of range.
    """
    draws = whole_number("draws", draws, 1, MOST_DRAWS, "draws")
    seed = whole_number("seed", seed, 0, HIGHEST_SEED, "")
    problem, config, _ = _found(answer)
    constants = answer.question.constants
    trials = try_draws(config, problem, constants, draws=draws, seed=seed, progress=progress)
    measured = [*serving_rows(), *map(serving_row_of, published_rows())]
    return Robustness(
        **dict(holdings(trials, seed)),
        objective=answer.objective.name,
        unit=answer.objective.unit,
        measure_next=next_rows(trials, problem, constants, measured, seed),
        independent=not constants.correlations,
        min_confidence=problem.limits.min_confidence,
        rows_can_say=not _unsayable(answer.question),
    )


def robust_steps(draws: int = DRAWS) -> int:
    """How often `robustness` reports progress."""
    return steps_of(draws)


def next_row_lines(found: Robustness, answer: Best) -> list[dict[str, Any]]:
    """Write what to measure next in the columns that `validate` reads, with nothing measured.

    Raises
    ------
    InputError
        Where the question is none that a row can tell.
    """
    check_rows_can_say(answer.question)
    problem, model = _found(answer)[0], answer.question.options.model
    rows = [row_of(one.config, problem) for one in found.measure_next]
    # A model of one's own is found again by its path.
    return [row.model_dump() | {"model": model} for row in rows]


def check_rows_can_say(question: Question) -> None:
    """Refuse what no row of measurements could tell: other links, memory or machines of prefill.

    Raises
    ------
    InputError
        Naming the option.
    """
    if reason := _unsayable(question):
        raise InputError(f"--next-rows: {reason}")


def _unsayable(question: Question) -> str | None:
    if cluster_differs(question.cluster):
        return (
            "the cluster file changes links or memory of its machine, which a row of "
            "measurements cannot say; leave --next-rows out, or ask about the machine as it is"
        )
    if question.prefill_cluster is not None:
        return (
            "a row of measurements names one machine and cannot say that prefill "
            f"runs on {shown(question.options.prefill_sku)}; leave --next-rows or --prefill-sku out"
        )
    return None


def _found(answer: Best) -> tuple[Problem, Configuration, Prediction]:
    if answer.config is None or answer.prediction is None:
        raise InputError(
            f"answer: status {answer.status!r} has no configuration to explain; give one that is "
            "optimal"
        )
    # One that was read back from JSON asks again what it says was asked.
    problem = answer.problem or answer.question.problem(answer.target_tok_s_per_user)
    return problem, answer.config, answer.prediction


def _loads(links: dict[str, LinkUse]) -> dict[Any, LinkLoad]:
    return {
        name: LinkLoad(
            moved_bytes=link.moved,
            in_use_gb_s=link.in_use / 1e9,
            rate_gb_s=link.rate / 1e9,
            utilisation=link.utilisation,
        )
        for name, link in links.items()
    }
