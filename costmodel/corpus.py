"""The corpus: published points of many models, engines and machines, and what is fitted to them.

The shared constants are those of DeepSeek R1 on TensorRT-LLM, on Hopper and Blackwell, and stay as
they are. Engines, families of chips, formats and kinds of attention deviate from them, and what is
left is the level that measured rows tell of (`costmodel.anchors`). Both are fitted in turns, so
that a release that is slow as a whole does not bend the physics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np

from costmodel.anchors import (
    Subject,
    fit_anchors,
    level_apart,
    level_of,
    subject_of,
)
from costmodel.calibration import Anchor, Calibration, CalibrationFile, Constant
from costmodel.calibration_file import CORPUS, corpus_deviation
from costmodel.coverage import coverage_of
from costmodel.deployments import Deployments, case_of, check_offered, deployments_of, run
from costmodel.deviations import Traits
from costmodel.fit import Progress, fit_constants
from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.intervals import extrapolations, holds_level
from costmodel.observations import (
    TIME_SPREAD,
    Observations,
    compared,
    decode_residuals,
    observations_of,
    structure_key,
)
from costmodel.own_anchors import levels_by_one
from costmodel.results import Case
from presets import InputError, ServingRow

SHARED = {
    "engine": ("trtllm",),
    "kernel_profile": ("hopper", "blackwell"),
    "format": ("fp4", "fp8", "bf16"),  # that of draft layers among them
    "attention": ("mla",),
}
"""Traits of the rows that set the shared constants: what has no other needs no deviation."""

SCATTER = 0.06
"""Standard deviation of the logarithm of a step that deviations do not explain. [1]"""

WAIT_SCATTER = 0.4
"""The same of TTFT. [1]"""

CROWD = 0.35
"""Rows of one structure weigh as their number to the power of 1 less twice this. [1]"""

EVALUATIONS = 14
"""Most steps of a fit: the last change its figures in the third digit. [1]"""

TURNS = 2
"""Times that deviations and levels are fitted: a third changes errors in the third digit. [1]"""

FOLDS = 4

FIGURES = ("tpot", "ttft", "throughput")

SOURCE = "fit by tools.corpus"


class Kind(NamedTuple):
    """Deviations of one constant, one for each combination of some traits that rows have."""

    constant: str
    axes: tuple[str, ...]
    spread: float  # of the logarithm, before any row is seen


KINDS = (
    Kind("layer_time", ("attention", "kernel_profile"), 0.5),
    Kind("layer_time", ("engine",), 0.3),
    Kind("layer_time", ("engine", "kernel_profile"), 0.15),
    Kind("step_time", ("engine",), 0.4),
    Kind("request_time", ("engine",), 0.5),
    Kind("hbm_efficiency", ("kernel_profile",), 0.1),
    Kind("cache_efficiency", ("kernel_profile",), 0.2),
    Kind("cache_efficiency", ("attention",), 0.3),
    Kind("expert_efficiency", ("format", "kernel_profile"), 0.4),
    Kind("expert_efficiency", ("engine",), 0.3),
    Kind("expert_efficiency", ("engine", "format"), 0.2),
    Kind("engine_factor", ("engine", "attention"), 0.15),
    Kind("engine_factor", ("attention", "kernel_profile"), 0.15),
    Kind("dense_efficiency", ("attention", "kernel_profile"), 0.3),
    Kind("dense_efficiency", ("engine",), 0.2),
    Kind("attention_efficiency", ("kernel_profile",), 0.3),
    Kind("attention_efficiency", ("attention",), 0.3),
    Kind("all_reduce_factor", ("kernel_profile",), 0.3),
    Kind("all_reduce_factor", ("engine",), 0.3),
    Kind("all_reduce_launch", ("kernel_profile",), 0.3),
    Kind("all_reduce_launch", ("engine",), 0.3),
    Kind("exchange_factor", ("kernel_profile",), 0.4),
    Kind("exchange_factor", ("engine",), 0.4),
    Kind("sync_share", ("engine",), 0.4),
    Kind("draft_factor", ("engine",), 0.5),
    Kind("mixed_prefill", ("engine",), 0.3),
    Kind("mixed_fixed_share", ("engine",), 0.5),
    Kind("mixed_expert_ranks", ("engine", "kernel_profile"), 0.05),
    Kind("prefill_efficiency", ("attention", "kernel_profile"), 0.4),
    Kind("prefill_efficiency", ("engine",), 0.2),
)
"""Of what decode steps take, and what prefill adds to them."""

WAITS = (
    Kind("first_token_time", ("engine",), 0.6),
    Kind("prefill_wait", ("engine",), 0.8),
    Kind("mixed_rank_steps", ("engine",), 1.0),
)
"""Of what TTFT has beside prefill."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Rows that the model covers, as arrays; one entry per row, anchors not applied.

    Attributes
    ----------
    rows : list of ServingRow
    cases : list of Case
    deployments : Deployments
    seen : Observations
    requests : array of float
        In decode, on all workers. [1]
    fitted : array of bool
        Whether constants are fitted to a row: not to suspect ones.
    """

    rows: list[ServingRow]
    cases: list[Case]
    deployments: Deployments
    seen: Observations
    requests: FloatArray
    fitted: BoolArray

    @property
    def subjects(self) -> list[Subject]:
        """What each row is of."""
        return [subject_of(case) for case in self.cases]

    @property
    def structures(self) -> IntArray:
        """Number of the deployment of each row: its load apart, rows of one have the same."""
        return numbered([(row.framework, *structure_key(row)) for row in self.rows])

    @property
    def crowd(self) -> FloatArray:
        """Weight of each row, of its residual, among those of its structure [1]."""
        keys = self.structures.tolist()
        counts = Counter(keys)
        return np.array([counts[key] ** -CROWD for key in keys])

    @property
    def of_the_fit(self) -> list[ServingRow]:
        """Rows that constants are fitted to."""
        return [row for row, good in zip(self.rows, self.fitted, strict=True) if good]

    def take(self, index: IntArray) -> Corpus:
        """Keep the chosen rows."""
        return corpus_of([self.rows[place] for place in index])

    def errors(self, calibration: Calibration) -> FloatArray:
        """Logarithm of TPOT predicted at the requests in decode over TPOT measured [1]."""
        spreads = decode_residuals(self.deployments, self.requests, self.seen, calibration)
        return TIME_SPREAD * spreads


def numbered(keys: Sequence[Hashable]) -> IntArray:
    """Give each key a number, equal ones the same; one entry per key."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


def corpus_of(rows: Sequence[ServingRow]) -> Corpus:
    """Put the rows that the model covers into arrays; the others are left out."""
    kept, cases = [], []
    for row in rows:
        try:
            case = case_of(row)
            check_offered(case)
        except InputError:
            continue
        kept.append(row)
        cases.append(case._replace(scenario=case.scenario.model_copy(update={"anchors": False})))
    users = np.array([float(row.concurrency) for row in kept])
    in_decode = [row.requests_in_decode or float(row.concurrency) for row in kept]
    return Corpus(
        rows=kept,
        cases=cases,
        deployments=deployments_of(cases),
        seen=observations_of(kept),
        requests=np.minimum(in_decode, users),
        fitted=np.array([row.suspect is None for row in kept]),
    )


def deviations_in(traits: Sequence[Traits], kinds: Sequence[Kind] = KINDS) -> dict[str, Constant]:
    """Name the deviations that rows of some traits can tell of, each as where no row was seen."""
    found = {}
    for kind in kinds:
        for values in sorted({tuple(getattr(each, axis) for axis in kind.axes) for each in traits}):
            where = dict(zip(kind.axes, values, strict=True))
            if all(value in SHARED[axis] for axis, value in where.items()):
                continue
            pairs = ",".join(f"{axis}={value}" for axis, value in where.items())
            name = f"{kind.constant}[{pairs}]"
            found[name] = corpus_deviation(name, 1.0, kind.spread, None, SOURCE, date.today())
    return found


def shared_constants(file: CalibrationFile) -> CalibrationFile:
    """Leave out what is fitted to the corpus."""
    kept = {name: one for name, one in file.constants.items() if one.informed_by != CORPUS}
    return file._replace(constants=kept)


def fit_corpus(
    start: CalibrationFile, corpus: Corpus, progress: Progress | None = None
) -> CalibrationFile:
    """Fit deviations from the shared constants, which stay."""
    chosen = corpus.take(np.flatnonzero(corpus.fitted))
    crowd = chosen.crowd
    deviations = deviations_in(chosen.deployments.kinds.kinds)
    file = shared_constants(start)
    file = file._replace(constants=file.constants | deviations)
    levels = np.zeros(len(crowd))
    for _ in range(TURNS):

        def residuals(calibration: Calibration, levels: FloatArray = levels) -> FloatArray:
            return crowd / SCATTER * (chosen.errors(calibration) + levels)

        file = fit_constants(
            file, list(deviations), residuals, progress=progress, maximum_evaluations=EVALUATIONS
        ).file
        anchors = anchors_in(file, chosen)
        levels = np.log([level_of(subject, anchors) for subject in chosen.subjects])
    return _fit_waits(file, chosen, np.exp(levels), progress)._replace(
        correlations=start.correlations
    )


def _fit_waits(
    file: CalibrationFile, corpus: Corpus, levels: FloatArray, progress: Progress | None
) -> CalibrationFile:
    """Fit what TTFT has beside prefill, given how long decode steps take."""
    mean, median = corpus.seen.ttft_mean, corpus.seen.ttft_median
    known = np.flatnonzero(~np.isnan(mean) | ~np.isnan(median))
    mean, median, crowd = mean[known], median[known], corpus.crowd[known]
    has_mean = ~np.isnan(mean)
    deployments = corpus.take(known).deployments
    leveled = deployments._replace(workers=deployments.workers._replace(level=levels[known]))

    def residuals(calibration: Calibration) -> FloatArray:
        result = run(leveled, calibration)
        found = np.where(has_mean, result.ttft_mean / mean, result.ttft_median / median)
        return crowd / WAIT_SCATTER * np.log(found)

    waits = deviations_in(deployments.kinds.kinds, WAITS)
    if not waits:
        return file
    file = file._replace(constants=file.constants | waits)
    return fit_constants(
        file, list(waits), residuals, progress=progress, maximum_evaluations=EVALUATIONS // 2
    ).file


def anchors_in(file: CalibrationFile, corpus: Corpus) -> dict[str, Anchor]:
    """Fit what the rows of a corpus tell of what is like them."""
    places = np.flatnonzero(corpus.fitted)
    subjects = corpus.subjects
    errors = corpus.errors(file.calibration)[places]
    return fit_anchors([subjects[place] for place in places], errors)


class Apart(NamedTuple):
    """Errors on rows that a fit did not see, of the logarithm [1]; NaN where unknown.

    Attributes
    ----------
    figures : dict of str to array of float
        Of TPOT, TTFT and throughput where the users are known, by figure. [1]
    in_decode : array of float
        Of TPOT where the requests in decode are known. [1]
    physics : array of float
        The same without anchors. [1]
    widening : array of float
        Factor on half-widths, for what lies outside the rows that the fit saw. [1]
    one_given : array of float
        Of TPOT where the middle point of each structure is given besides, as a user's own row; NaN
        for that point itself. [1]
    """

    figures: dict[str, FloatArray]
    in_decode: FloatArray
    physics: FloatArray
    widening: FloatArray
    one_given: FloatArray


def predict_apart(
    start: CalibrationFile,
    corpus: Corpus,
    own: IntArray,
    *,
    neighbours: bool,
    anchored: bool = True,
) -> Apart:
    """Predict some rows of a corpus by a fit to the others.

    Parameters
    ----------
    start
        The shared constants, and the rows that they cover.
    own
        Places of the rows that the fit does not see. [1]
    neighbours
        Whether these rows anchor one another, each but those of its own deployment: what is asked
        is how well a deployment is known that nobody measured, not a model or a machine.
    """
    seen = corpus.take(np.setdiff1d(np.arange(len(corpus.rows)), own))
    file = fit_corpus(start, seen)
    coverage = start.coverage.model_copy(update={"corpus": coverage_of(seen.of_the_fit)})
    apart = corpus.take(own)
    anchors = anchors_in(file, corpus if neighbours else seen)
    level = level_apart if neighbours else level_of
    levels = np.array(
        [
            1.0 if holds_level(case.scenario, coverage) else level(subject, anchors)
            for case, subject in zip(apart.cases, apart.subjects, strict=True)
        ]
    )
    physics = apart.errors(file.calibration)
    in_decode = physics + np.log(levels)
    workers = apart.deployments.workers._replace(level=levels)
    result = run(apart.deployments._replace(workers=workers), file.calibration)
    figures = {
        name: np.log(predicted / measured)
        for name, (predicted, measured) in compared(result, apart.seen).items()
        if name in FIGURES
    }
    kept = np.where(apart.fitted, figures["tpot"], np.nan)
    levels = levels * levels_by_one(apart.cases, apart.structures, kept)
    workers = apart.deployments.workers._replace(level=levels)
    again = run(apart.deployments._replace(workers=workers), file.calibration)
    predicted, measured = compared(again, apart.seen)["tpot"]
    outside = [
        sum(one.weight for one in extrapolations(case, coverage) if one.decode)
        for case in apart.cases
    ]
    widening = file.calibration.extrapolation_widening ** np.array(outside)
    one_given = np.log(predicted / measured)
    return Apart(figures, in_decode, physics, widening, one_given)


def joined(parts: Sequence[tuple[IntArray, Apart]], rows: int) -> Apart:
    """Put errors on groups of rows in the order of the rows."""
    places = np.concatenate([own for own, _ in parts])

    def whole(pieces: Sequence[FloatArray]) -> FloatArray:
        found = np.full(rows, np.nan)
        found[places] = np.concatenate(pieces)
        return found

    each = [part for _, part in parts]
    return Apart(
        {name: whole([part.figures[name] for part in each]) for name in FIGURES},
        whole([part.in_decode for part in each]),
        whole([part.physics for part in each]),
        whole([part.widening for part in each]),
        whole([part.one_given for part in each]),
    )


def folds_of_structures(corpus: Corpus, folds: int = FOLDS, seed: int = 0) -> list[IntArray]:
    """Deal structures to folds at random; places of the rows of each [1]."""
    structures = corpus.structures
    dealt = np.random.default_rng(seed).integers(0, folds, structures.max() + 1)[structures]
    return [np.flatnonzero(dealt == fold) for fold in range(folds)]
