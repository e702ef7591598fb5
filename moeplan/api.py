"""The public functions: each joins the rooms for one question."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from costmodel.predictions import predict as predict_configurations
from costmodel.results import Configuration
from costmodel.runs import frontends_of
from moeplan.answers.best import Best, Curve, Measured, PredictedDeployment
from moeplan.answers.build import best_of, predicted_of, version
from moeplan.answers.measured import measured_point
from moeplan.answers.record import Answer, show_answers
from moeplan.answers.serving import better_of, refused
from moeplan.arguments import checked_arguments
from moeplan.clusters import gpus_needed, named_machine
from moeplan.numbers import positive_number
from moeplan.options import DEFAULTS, Options, checked
from moeplan.question import SHIPPED, Question, ask, at_depth, calibration_file
from presets import InputError, load_hardware

if TYPE_CHECKING:
    from collections.abc import Callable

    from costmodel.adaptation import Adaptation  # a search does without these
    from costmodel.fit import Fit
    from costmodel.validation import Validation
    from moeplan.answers.comparison import Comparison
    from moeplan.answers.fleet import FleetPlan
    from optimizer.answer import Answer as Found
    from optimizer.problem import Problem
    from optimizer.space import Space
    from presets import MeasuredRows, ServingRow
    from presets.demand_file import Demand
    from presets.pools import Serving

UNIT = "tok/s/user"


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
    rows = _best_by_target(sku, targets, options, space)
    return Curve(
        sku=rows[0].sku,
        scenario=rows[0].scenario,
        rows=tuple(rows),
        question=rows[0].question,
        version=rows[0].version,
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
        Two or more machines; ratios are of the first, of those not refused, to each other.
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

    curves, refused = curves_of(skus, targets, options, space)
    return comparison_of(targets, curves, refused, version())


def curves_of(
    skus: Sequence[str],
    targets: Sequence[float],
    options: Options | Mapping[str, Options] = DEFAULTS,
    space: Space | None = None,
    explained: Collection[float] | None = None,
) -> tuple[dict[str, Sequence[Best]], dict[str, str]]:
    """Answer each machine of a comparison; beside them stands why others refuse the options.

    Arguments and exceptions are those of `compare`; `explained` are the targets at which it is
    found out why nothing meets the limits, all unless given.
    """
    for sku in skus:
        if _options_of(sku, options).machine is None:
            load_hardware(sku)
    if len(skus) < 2 or len(set(skus)) < len(skus):
        given = ", ".join(skus) or "none"
        raise InputError(f"machines: {given} is not valid; give two or more different machines")
    curves: dict[str, Sequence[Best]] = {}
    refused: dict[str, InputError] = {}
    for sku in skus:
        try:
            own = _options_of(sku, options)
            curves[sku] = _best_by_target(sku, targets, own, space, explained)
        except InputError as error:
            refused[sku] = error
    if not curves:
        raise refused[skus[0]]
    return curves, {sku: str(error) for sku, error in refused.items()}


@checked_arguments
def fleet(
    demand: Path | str | Demand,
    options: Options = DEFAULTS,
    machines: Sequence[str] = (),
    *,
    budget: float | None = None,
    max_power: float | None = None,
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
    from moeplan.answers.fleet import fleet_plan  # other questions need none
    from moeplan.fleet_question import fleet_problem, offer_of
    from optimizer.fleet_search import MOST_SECONDS, plan_fleet
    from presets.demand_file import DEMAND_UNITS, read_demand

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
    problem = fleet_problem(wanted, options, [offer_of(each) for each in machines])
    limit = MOST_SECONDS if seconds is None else positive_number("seconds", seconds, "seconds")
    return fleet_plan(plan_fleet(problem, limit, progress), str(options.calibration or SHIPPED))


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
        [configuration], scenario, cluster, calibration, question.prefill_cluster
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


@checked_arguments
def read_rows(
    path: Path | str, calibration: Path | str | None = None, columns: Path | str | None = None
) -> MeasuredRows:
    """Read measured operating points, and refuse each that no engine could have run.

    Warns of columns that are ignored and of rows that are refused; `refused` of the result has all
    of them.

    Parameters
    ----------
    path : Path or str
        CSV or JSON file in the columns of the shipped ``measured_serving``, of the published table,
        or of an export for which there is a map of columns.
    calibration : Path, str or None
        Calibration file; None takes the shipped one.
    columns : Path, str or None
        Map of columns of one's own; docs/files.md has its keys.

    Raises
    ------
    InputError
        Where a file is malformed, or no row is left.
    """
    from costmodel.row_checks import rows_that_cannot_run  # a search does without these
    from presets import read_measured_rows

    found = read_measured_rows(path, columns)
    known = calibration_file(calibration).calibration
    found = found.without(rows_that_cannot_run(found.rows, known))
    found.check()
    return found


@checked_arguments
def validate(
    rows: Path | str | MeasuredRows,
    calibration: Path | str | None = None,
    columns: Path | str | None = None,
) -> Validation:
    """Predict measured operating points and compare.

    Parameters
    ----------
    rows : Path, str or MeasuredRows
        File, as `read_rows` reads it, or what it gave.
    calibration : Path, str or None
        Calibration file; None takes the shipped one.
    columns : Path, str or None
        Map of columns of one's own.

    Raises
    ------
    InputError
        Where a file is malformed, no row could have been run, or none holds a measurement.
    """
    from costmodel.validation import check_measured  # a search does without these
    from costmodel.validation import validate as validate_rows

    chosen = calibration_file(calibration)
    found = _rows_of(rows, calibration, columns)
    measured = tuple(found.rows.values())
    check_measured(measured)
    validation = validate_rows(measured, chosen.calibration)
    return replace(validation, refused=found.refused, ignored=tuple(found.ignored))


@checked_arguments
def calibrate(
    rows: Path | str | MeasuredRows | Sequence[Path | str | MeasuredRows],
    calibration: Path | str | None = None,
    progress: Callable[[], None] | None = None,
    *,
    from_priors: bool = False,
    force: bool = False,
) -> Fit | Adaptation:
    """Fit the constants of the cost model to measured operating points.

    Gives an `Adaptation` unless `from_priors`: its `verdict` says whether rows left out are
    predicted better, `moves` what moved and by which rows.

    Parameters
    ----------
    rows : Path, str, MeasuredRows or sequence of them
        Files, as in `validate`.
    calibration : Path, str or None
        Calibration file to start from, with priors and bounds; None takes the shipped one.
    progress : callable, optional
        Called once for each evaluation.
    from_priors : bool
        Forget the fit that the file holds and start from its priors, as for the shipped constants.
    force : bool
        Take rows as they are, however far from what the calibration predicts.

    Raises
    ------
    InputError
        As in `validate`, and where values are three times or more from what the calibration
        predicts, with the likely cause.
    """
    measured = rows_to_fit(rows, calibration, force=force)
    return fit_rows(measured, calibration, progress, from_priors=from_priors)


def rows_to_fit(
    rows: Path | str | MeasuredRows | Sequence[Path | str | MeasuredRows],
    calibration: Path | str | None = None,
    *,
    force: bool = False,
) -> dict[str, ServingRow]:
    """Read and check the rows of `calibrate`, by where each stands; arguments are those of it."""
    from costmodel.outliers import check_outliers  # a search does without these
    from costmodel.stages import check_rows

    files = rows if isinstance(rows, Sequence) and not isinstance(rows, str) else [rows]
    found = [_rows_of(each, calibration) for each in files]
    measured = {
        f"{each.path}, line {line}": row for each in found for line, row in each.rows.items()
    }
    check_rows([*measured.values()])
    if not force:
        check_outliers(measured, calibration_file(calibration).calibration)
    return measured


def fit_rows(
    rows: Mapping[str, ServingRow],
    calibration: Path | str | None = None,
    progress: Callable[[], None] | None = None,
    *,
    from_priors: bool = False,
) -> Fit | Adaptation:
    """Fit the rows that `rows_to_fit` gives; arguments are those of `calibrate`."""
    from costmodel.adaptation import adapt  # a search does without these
    from costmodel.stages import calibrate as fit

    start, measured = calibration_file(calibration), tuple(rows.values())
    if from_priors:
        return fit(measured, start, progress)
    return replace(adapt(measured, start, progress), places=tuple(rows))


def _rows_of(
    rows: Path | str | MeasuredRows,
    calibration: Path | str | None,
    columns: Path | str | None = None,
) -> MeasuredRows:
    if isinstance(rows, Path | str):
        return read_rows(rows, calibration, columns)
    return rows


def _options_of(sku: str, options: Options | Mapping[str, Options]) -> Options:
    return options if isinstance(options, Options) else options.get(sku, DEFAULTS)


def _page(answer: Answer) -> str:
    from moeplan.render.notebook import html_of  # with what draws tables, which JSON does without

    return html_of(answer)


show_answers(_page)
