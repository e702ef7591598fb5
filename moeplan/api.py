"""The public functions: each joins the rooms for one question."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from costmodel.percentiles import Judged
from costmodel.predictions import predict as predict_configurations
from costmodel.results import Configuration
from costmodel.runs import frontends_of
from moeplan.answers.best import Best, Measured
from moeplan.answers.build import best_of, predicted_of, version
from moeplan.answers.curve import Curve, Curves, curve_of
from moeplan.answers.measured import measured_point
from moeplan.answers.predicted import PredictedDeployment
from moeplan.answers.record import Answer, show_answers
from moeplan.answers.serving import better_of, refused
from moeplan.arguments import checked_arguments
from moeplan.clusters import gpus_needed, named_machine
from moeplan.machines import machines_of
from moeplan.numbers import positive_number
from moeplan.options import DEFAULTS, Options, checked
from moeplan.question import Question, ask, at_depth
from presets import InputError

if TYPE_CHECKING:
    from moeplan.answers.comparison import Comparison
    from optimizer.answer import Answer as Found
    from optimizer.problem import Problem
    from optimizer.space import Space
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
