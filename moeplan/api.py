"""The public functions: each joins the rooms for one question."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from costmodel.percentiles import Judged
from costmodel.predictions import predict as predict_configurations
from costmodel.results import Configuration
from costmodel.runs import frontends_of
from moeplan.answers.best import Best, Measured, PredictedDeployment
from moeplan.answers.build import best_of, predicted_of, version
from moeplan.answers.curve import Curve, Curves, curve_of
from moeplan.answers.measured import measured_point
from moeplan.answers.record import Answer, show_answers
from moeplan.answers.serving import better_of, refused
from moeplan.arguments import checked_arguments
from moeplan.clusters import gpus_needed, named_machine
from moeplan.machines import machines_of
from moeplan.numbers import positive_number, whole_number
from moeplan.options import DEFAULTS, Options, checked
from moeplan.question import SHIPPED, Question, ask, at_depth
from presets import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from moeplan.answers.availability import Availability
    from moeplan.answers.comparison import Comparison
    from moeplan.answers.fleet import FleetPlan
    from optimizer.answer import Answer as Found
    from optimizer.problem import Problem
    from optimizer.space import Space
    from presets.demand_file import Demand
    from presets.pools import Serving

UNIT = "tok/s/user"

NO_RATES: Mapping[str, float] = MappingProxyType({})


@checked_arguments
def best(
    sku: str | None, target: float, options: Options = DEFAULTS, *, space: Space | None = None
) -> Best:
    """Find the deployment that is best at or above an interactivity target.

    It gives most throughput per dollar unless the options name another objective.

    Parameters
    ----------
    sku : str or None
        Machine; None takes that of the machine or the cluster in `options`.
    target : float
        Interactivity. [token/s/user]
    options : Options
        Model, workload, limits, price and files.
    space : optimizer.Space, optional
        What is searched.

    Raises
    ------
    InputError
        Where something asked for is not valid.

    Returns
    -------
    Best
        With status "infeasible" and a reason where nothing meets the target.
    """
    return curve(sku, [target], options, space=space).rows[0]


@checked_arguments
def curve(
    sku: str | None,
    targets: Sequence[float],
    options: Options = DEFAULTS,
    *,
    space: Space | None = None,
) -> Curve:
    """Find the best deployment for each of several targets; arguments are those of `best`.

    Of one pool and two, where either is asked for, each target has the better.
    """
    return curve_of(_best_by_target(sku, targets, options, space))


@checked_arguments
def curves(
    skus: Sequence[str],
    targets: Sequence[float],
    options: Options | Mapping[str, Options] = DEFAULTS,
    *,
    space: Space | None = None,
) -> Curves:
    """Find the best deployment for each of several targets on each of one or more machines.

    Arguments and exceptions are those of `compare`, which puts two or more in relation besides.
    """
    found, refused = curves_of(skus, targets, options, space, least=1)
    return Curves(
        curves={label: curve_of(rows) for label, rows in found.items()},
        refused=refused,
        version=version(),
    )


def _best_by_target(
    sku: str | None,
    targets: Sequence[float],
    options: Options,
    space: Space | None,
    explained: Collection[float] | None = None,
) -> list[Best]:
    """Answer one machine; of targets that are not `explained` it is left open why none is met."""
    checked = [positive_number("target", target, UNIT) for target in targets]
    question = ask(sku, options)
    if not checked:
        raise InputError("targets: none is given; give at least one")
    found: dict[Serving, list[Best]] = {}
    errors: dict[Serving, InputError] = {}
    for mode in question.modes:
        try:
            problem = question.problem(checked[0], space, mode)
            found[mode] = _answers(problem, checked, question, explained)
        except InputError as error:
            errors[mode] = error
    if not found:
        raise errors[question.modes[0]]
    first, *others = found.values()
    rows = [better_of(*pair) for pair in zip(first, *others, strict=True)] if others else first
    for mode, why in errors.items():
        rows = [refused(row, mode, str(why)) for row in rows]
    return rows


def _answers(
    problem: Problem,
    targets: Sequence[float],
    question: Question,
    explained: Collection[float] | None,
) -> list[Best]:
    """Answer one serving mode for each of several targets."""
    from optimizer.safe import curve_with_safe  # predictions need no solver
    from optimizer.search import curve as search

    answers = curve_with_safe(problem, targets, explained)
    # What would be best if only GPUs that serve were paid, to say what the bill changes.
    by_gpu: list[Found | None] = [None] * len(answers)
    if problem.objective.billing == "domain":
        unbilled = replace(problem, objective=replace(problem.objective, billing="gpu"))
        by_gpu = [*search(unbilled, targets)]
    return [best_of(*pair, question) for pair in zip(answers, by_gpu, strict=True)]


@checked_arguments
def compare(
    skus: Sequence[str],
    targets: Sequence[float],
    options: Options | Mapping[str, Options] = DEFAULTS,
    *,
    space: Space | None = None,
) -> Comparison:
    """Compare machines at several targets: measured frontier and best as modelled, side by side.

    A machine that refuses the options stands in `refused` with the reason; the others are compared.

    Parameters
    ----------
    skus : sequence of str
        Two or more machines; ratios are of the first, of those not refused, to each other. Also
        files and words, such as ``gb200:vllm`` or ``mine.yaml``, as `moeplan.machines` reads them.
    targets : sequence of float
        Interactivity. [token/s/user]
    options : Options or mapping
        For all machines, or for each by name.
    space : optimizer.Space, optional
        What is searched.

    Raises
    ------
    InputError
        Where a machine is unknown, or something asked for is valid for none of them.
    """
    from moeplan.answers.comparison import comparison_of  # other questions need none

    found, refused = curves_of(skus, targets, options, space)
    return comparison_of(targets, found, refused, version())


def curves_of(
    skus: Sequence[str],
    targets: Sequence[float],
    options: Options | Mapping[str, Options] = DEFAULTS,
    space: Space | None = None,
    explained: Collection[float] | None = None,
    least: int = 2,
) -> tuple[dict[str, list[Best]], dict[str, str]]:
    """Answer each of `least` machines or more, by label; beside them stands why others refuse.

    Arguments and exceptions are those of `compare`; `explained` are the targets at which it is
    found out why nothing meets the limits, all unless given.
    """
    found: dict[str, list[Best]] = {}
    refused: dict[str, InputError] = {}
    for label, sku, own in machines_of(skus, options, least=least):
        try:
            found[label] = _best_by_target(sku, targets, own, space, explained)
        except InputError as error:
            refused[label] = error
    if not found:
        raise next(iter(refused.values()))
    return found, {label: str(error) for label, error in refused.items()}


@checked_arguments
def fleet(
    demand: Path | str | Demand,
    options: Options = DEFAULTS,
    machines: Sequence[str] = (),
    *,
    budget: float | None = None,
    max_power: float | None = None,
    max_racks: int | None = None,
    seconds: float | None = None,
    progress: Callable[[], None] | None = None,
) -> FleetPlan:
    """Plan all workers that serve several tiers of demand.

    Parameters
    ----------
    demand : Path, str or Demand
        Demand file, or what `read_demand` gave.
    options : Options
        With `cluster`, `prices`, `objective` (cost, gpus or power) and `calibration`; what is
        served stands in the demand.
    machines : sequence of str
        Machines in place of those of the demand, such as ``gb200`` or ``gb200=1440``.
    budget, max_power : float, optional
        Most that the GPUs that serve may cost [USD/h] and draw [W], in place of what the demand
        says.
    max_racks : int, optional
        Most NVLink domains that they may stand in, in place of what the demand says.
    seconds : float, optional
        Time after which the best plan so far is given, with its gap. [s]
    progress : callable, optional
        Called once for each integer program that is solved.

    Raises
    ------
    InputError
        Where something asked for is not valid.

    Returns
    -------
    FleetPlan
        With status "infeasible" and a reason where nothing serves all tiers.
    """
    from moeplan.answers.fleet_build import fleet_plan  # other questions need none
    from moeplan.fleet_question import fleet_problem, offer_of
    from optimizer.fleet_search import MOST_SECONDS, plan_fleet
    from presets.demand_file import DEMAND_UNITS, MOST_RACKS, read_demand

    wanted = read_demand(demand) if isinstance(demand, Path | str) else demand
    options = checked(options)
    limits = {"budget": budget, "max_power": max_power}
    wanted = wanted.model_copy(
        update={
            name: positive_number(name, value, DEMAND_UNITS[name])
            for name, value in limits.items()
            if value is not None
        }
    )
    if max_racks is not None:
        most = whole_number("max_racks", max_racks, 1, MOST_RACKS, "racks")
        wanted = wanted.model_copy(update={"max_racks": most})
    problem = fleet_problem(wanted, options, [offer_of(each) for each in machines])
    limit = MOST_SECONDS if seconds is None else positive_number("seconds", seconds, "seconds")
    return fleet_plan(plan_fleet(problem, limit, progress), str(options.calibration or SHIPPED))


@checked_arguments
def replan(
    plan: Path | str,
    lost: Sequence[str],
    *,
    spares: int = 0,
    seconds: float | None = None,
    progress: Callable[[], None] | None = None,
) -> FleetPlan:
    """Plan anew on what a loss leaves: the fewest workers started or moved, of those the best.

    Parameters
    ----------
    plan : Path or str
        What ``moeplan fleet --json`` printed.
    lost : sequence of str
        What is lost, as `failed` of a cluster file has it: ``domain 3`` or ``gb200/server 5-7``,
        numbered from 0.
    spares : int
        Workers of each pool that may fail afterwards. [1]
    seconds : float, optional
        Time after which the best plan so far is given. [s]
    progress : callable, optional
        Called once for each integer program that is solved.

    Raises
    ------
    InputError
        Where the file is no plan, or what is lost is not there.

    Returns
    -------
    FleetPlan
        With `replan`, and status "infeasible" where what is left does not serve all tiers.
    """
    from moeplan.fleet_replan import replanned  # other questions need none
    from optimizer.fleet_search import MOST_SECONDS

    limit = MOST_SECONDS if seconds is None else positive_number("seconds", seconds, "seconds")
    return replanned(Path(plan), lost, spares=spares, seconds=limit, progress=progress)


@checked_arguments
def availability(
    plan: Path | str,
    *,
    years: int = 20,
    seed: int = 0,
    spare_domains: int = 1,
    rates: Mapping[str, float] = NO_RATES,
    repairs: Mapping[str, float] = NO_RATES,
    progress: Callable[[], None] | None = None,
) -> Availability:
    """Draw years of failures and count how long a plan serves each of its tiers.

    Parameters
    ----------
    plan : Path or str
        What ``moeplan fleet --json`` printed.
    years : int
        That are drawn, 1 to 1,000. [1]
    seed : int
        The same gives the same failures.
    spare_domains : int
        NVLink domains of each machine that stand by in the last case. [1]
    rates, repairs : mapping, optional
        Failures of one part [1/year], and the mean time that it is away [s], by kind of part: gpu,
        server, switch, rack. Those not named are as shipped.
    progress : callable, optional
        Called for each failure and each state that is looked at.

    Raises
    ------
    InputError
        Where the file is no plan, or a number is not valid.
    """
    from moeplan.fleet_availability import availability_of, stated  # other questions need none
    from presets.failures import load_failures

    failures = stated(load_failures(), rates, repairs)
    return availability_of(
        Path(plan),
        failures,
        years=whole_number("years", years, 1, 1000, "years"),
        seed=whole_number("seed", seed, 0, 2**63 - 1, ""),
        spare_domains=whole_number("spare_domains", spare_domains, 0, 1000, "domains"),
        progress=progress,
    )


@checked_arguments
def predict(
    sku: str | None, configuration: Configuration, options: Options = DEFAULTS
) -> PredictedDeployment:
    """Predict one given configuration.

    Where the KV cache of `max_batch` requests does not fit, the batch is cut to `batch_limit`.

    Parameters
    ----------
    sku : str or None
        Machine; None takes that of the machine or the cluster in `options`.
    configuration : Configuration
        What is run.
    options : Options
        Model, workload, price and files. Limits are not looked at: without a cluster of its own the
        question is put to one that is large enough.

    Raises
    ------
    InputError
        Where the configuration does not fit the cluster or the model, or not one request the
        memory.
    """
    options = at_depth(checked(options), configuration.mtp_depth)
    question = ask(sku, options, gpus_needed(configuration, named_machine(sku, options)))
    cluster, scenario = question.cluster, question.scenario
    frontends = frontends_of(configuration, cluster.sku, scenario.precision)
    configuration = configuration.model_copy(update={"frontends": frontends})
    calibration = question.constants.calibration
    predicted = predict_configurations(
        [configuration],
        scenario,
        cluster,
        calibration,
        question.prefill_cluster,
        Judged(options.target_percentile, options.ttft_percentile),
    )[0]
    return predicted_of(predicted, question)


@checked_arguments
def measured_frontier(
    sku: str | None, target: float, options: Options = DEFAULTS
) -> Measured | None:
    """Look up what the published rows say at a target; None where they say nothing.

    Parameters
    ----------
    sku : str or None
        Machine; None takes that of the machine or the cluster in `options`.
    target : float
        Interactivity. [token/s/user]
    options : Options
        The published rows are of its defaults; for any other scenario there are none.
    """
    target = positive_number("target", target, UNIT)
    question = ask(sku, options)
    most = question.options.max_gpus
    return measured_point(question.scenario, question.cluster, target, most)


def _page(answer: Answer) -> str:
    from moeplan.render.notebook import html_of  # with what draws tables, which JSON does without

    return html_of(answer)


show_answers(_page)
