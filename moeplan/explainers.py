"""Explanations of an answer: its links, what each limit costs, how far it holds, what to measure.

Each is found by its own function from the answer and the options that it was asked with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costmodel.calibration import CalibrationFile
from costmodel.intervals import cluster_differs
from costmodel.results import Case, Configuration, Prediction, Scenario
from moeplan.explanations import (
    UNITS,
    Challenger,
    Explanation,
    Holding,
    LinkLoad,
    NextMeasurement,
    OnAverage,
    Robustness,
    ShadowPrice,
    WorkerLinks,
)
from moeplan.options import DEFAULTS, Options
from moeplan.results import Best
from moeplan.scenario import (
    calibration_file,
    cluster_of,
    goal_of,
    limits_of,
    prefill_cluster_of,
    scenario_of,
)
from presets import ClusterSpec, InputError, published_rows, serving_rows
from presets.errors import shown

if TYPE_CHECKING:
    from costmodel.traffic import LinkUse
    from optimizer import Goal, Limits, Space
    from optimizer.next_rows import NextRow
    from optimizer.robust import Holding as Held
    from optimizer.robust import Robustness as Found
    from optimizer.shadow import ShadowPrice as Price

Progress = Callable[[], None]


@dataclass(frozen=True)
class Asked:
    """What an answer answers, as the rooms take it."""

    config: Configuration
    prediction: Prediction
    scenario: Scenario
    cluster: ClusterSpec
    limits: Limits
    file: CalibrationFile
    goal: Goal
    prefill_cluster: ClusterSpec | None


def explain(
    answer: Best,
    options: Options = DEFAULTS,
    *,
    space: Space | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Say what an answer moves over its links, and what each limit a little wider would give.

    Parameters
    ----------
    answer : Best
        From `best`.
    options : Options
        Those that it was asked with.
    space : optimizer.Space, optional
        The one that was searched.
    progress : callable, optional
        Called after each limit, `explain_steps` times.

    Raises
    ------
    InputError
        Where the answer has no configuration.
    """
    from costmodel.traffic import traffic_of
    from optimizer.shadow import shadow_prices

    asked = _asked(answer, options)
    calibration = asked.file.calibration
    case = Case(asked.config, asked.scenario, asked.cluster, asked.prefill_cluster)
    traffic = traffic_of(case, calibration)
    prices = shadow_prices(
        asked.config,
        asked.prediction,
        asked.scenario,
        asked.cluster,
        asked.limits,
        calibration,
        space,
        progress,
        goal=asked.goal,
        prefill_cluster=asked.prefill_cluster,
    )
    return Explanation(
        links=WorkerLinks(decode=_loads(traffic.decode), prefill=_loads(traffic.prefill)),
        shadow_prices=tuple(_price(price, answer.objective.amount) for price in prices),
    )


def explain_steps(answer: Best, options: Options = DEFAULTS) -> int:
    """How often `explain` reports progress: the limits that can be wider."""
    from optimizer.shadow import wider_questions

    asked = _asked(answer, options)
    return sum(1 for _ in wider_questions(asked.cluster, asked.limits, asked.prefill_cluster))


def robustness(
    answer: Best,
    options: Options = DEFAULTS,
    *,
    space: Space | None = None,
    draws: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
) -> Robustness:
    """Say how far an answer holds where the constants are uncertain, and what to measure next.

    Parameters
    ----------
    answer, options, space
        As in `explain`.
    draws, seed : int
        Draws of the constants; the same seed gives the same draws. [1]
    progress : callable, optional
        Called `robust_steps` times.

    Raises
    ------
    InputError
        Where the answer has no configuration.
    """
    from costmodel.validation import serving_row_of
    from optimizer.next_rows import next_rows
    from optimizer.robust import holdings, try_draws

    asked = _asked(answer, options)
    where = asked.scenario, asked.cluster
    trials = try_draws(
        asked.config,
        *where,
        asked.limits,
        asked.file,
        space,
        draws=draws,
        seed=seed,
        progress=progress,
        goal=asked.goal,
        prefill_cluster=asked.prefill_cluster,
    )
    measured = [*serving_rows(), *map(serving_row_of, published_rows())]
    rows = next_rows(trials, *where, asked.file, measured, seed, asked.prefill_cluster)
    return _robustness(holdings(trials, seed), rows, asked)


def robust_steps(draws: int = 200) -> int:
    """How often `robustness` reports progress."""
    from optimizer.robust import steps_of

    return steps_of(draws)


def next_row_lines(
    found: Robustness, answer: Best, options: Options = DEFAULTS
) -> list[dict[str, Any]]:
    """Write what to measure next in the columns that `validate` reads, with nothing measured.

    Raises
    ------
    InputError
        Where the question is none that a row can tell.
    """
    from optimizer.next_rows import row_of

    check_rows_can_say(answer.sku, options)
    asked = _asked(answer, options)
    rows = [row_of(one.config, asked.scenario, asked.cluster) for one in found.measure_next]
    # A model of one's own is found again by its path.
    return [row.model_dump() | {"model": options.model} for row in rows]


def check_rows_can_say(sku: str | None, options: Options = DEFAULTS) -> None:
    """Refuse what no row of measurements could tell: other links, memory or machines of prefill.

    Raises
    ------
    InputError
        Naming the option.
    """
    cluster = cluster_of(sku, options)
    if cluster_differs(cluster):
        raise InputError(
            "--next-rows: the cluster file changes links or memory of its machine, which a row of "
            "measurements cannot say; leave --next-rows out, or ask about the machine as it is"
        )
    if prefill_cluster_of(cluster, options) is not None:
        raise InputError(
            f"--next-rows: a row of measurements names one machine and cannot say that prefill "
            f"runs on {shown(options.prefill_sku)}; leave --next-rows or --prefill-sku out"
        )


def _asked(answer: Best, options: Options) -> Asked:
    if answer.config is None or answer.prediction is None:
        raise InputError(f"answer: status {answer.status!r} has no configuration to explain")
    cluster = cluster_of(answer.sku, options)
    prefill_cluster = prefill_cluster_of(cluster, options)
    return Asked(
        config=answer.config,
        prediction=answer.prediction,
        scenario=scenario_of(options, cluster, prefill_cluster),
        cluster=cluster,
        limits=limits_of(answer.target_tok_s_per_user, options),
        file=calibration_file(options.calibration),
        goal=goal_of(options),
        prefill_cluster=prefill_cluster,
    )


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


def _price(price: Price, amount: float | None) -> ShadowPrice:
    return ShadowPrice(
        limit=price.limit,
        unit=UNITS[price.limit],
        before=price.before,
        after=price.after,
        config_changes=not price.same,
        throughput_change=price.throughput_change,
        cost_change=price.cost_change,
        objective_amount=price.amount,
        objective_change=price.amount / amount - 1.0 if amount else 0.0,
        config=price.configuration,
        prediction=price.prediction,
    )


def _robustness(found: Found, rows: tuple[NextRow, ...], asked: Asked) -> Robustness:
    from optimizer.value import UNITS as OBJECTIVE_UNITS

    return Robustness(
        draws=found.draws,
        feasible_draws=found.feasible,
        seed=found.seed,
        objective=asked.goal.objective,
        unit=OBJECTIVE_UNITS[asked.goal.objective],
        reaches_target=found.reaches,
        shortlist=found.fleets,
        as_configured=_holding(found.configured),
        retuned=_holding(found.retuned),
        structure=_holding(found.structure),
        challengers=tuple(
            Challenger(config=config, best=share) for config, share in found.challengers
        ),
        on_average=(
            OnAverage(config=found.on_average[0], gain=found.on_average[1])
            if found.on_average
            else None
        ),
        measure_next=tuple(
            NextMeasurement(
                config=row.configuration, expected_gain=row.gain, changes_choice=row.changes
            )
            for row in rows
        ),
        independent=not asked.file.correlations,
        min_confidence=asked.limits.min_confidence,
        rows_can_say=not cluster_differs(asked.cluster) and asked.prefill_cluster is None,
    )


def _holding(held: Held) -> Holding:
    return Holding(
        stays_best=held.best,
        within_1_percent=held.near,
        meets_limits=held.meets,
        expected_regret=held.regret,
        regret_95=held.worst_regret,
        expected_regret_in_unit=held.loss,
    )
