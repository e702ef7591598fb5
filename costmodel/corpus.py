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
from typing import NamedTuple

import numpy as np

from costmodel.anchors import (
    Subject,
    fit_anchors,
    level_apart,
    level_of,
    subject_of,
)
from costmodel.calibration import Anchor, Calibration, CalibrationFile
from costmodel.calibration_file import CORPUS
from costmodel.corpus_deviations import (
    PREFILL,
    WAITS,
    deviations_in,
    shared_constants,
)
from costmodel.coverage import coverage_of
from costmodel.deployments import Deployments, case_of, check_offered, deployments_of, run
from costmodel.deviations import base_name
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

SCATTER = 0.06
"""Standard deviation of the logarithm of a step that deviations do not explain. [1]"""

WAIT_SCATTER = 0.4
"""The same of TTFT. [1]"""

RUN_SCATTER = 0.12
"""The same of TPOT where the number of requests in decode is predicted too. [1]"""

CROWD = 0.35
"""Rows of one structure weigh as their number to the power of 1 less twice this. [1]"""

EVALUATIONS = 14
"""Most steps of a fit: the last change its figures in the third digit. [1]"""

FOLDS = 4

FIGURES = ("tpot", "ttft", "throughput")


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


def fit_corpus(
    start: CalibrationFile, corpus: Corpus, progress: Progress | None = None
) -> CalibrationFile:
    """Fit deviations from the shared constants, which stay."""
    chosen = corpus.take(np.flatnonzero(corpus.fitted))
    deviations = deviations_in(chosen.deployments.kinds.kinds)
    file = shared_constants(start)
    file = file._replace(constants=file.constants | deviations)
    file, levels = _fit_steps(file, list(deviations), chosen, np.zeros(len(chosen.rows)), progress)
    file = _fit_runs(file, chosen, np.exp(levels), progress)
    # With the rate of prefill as runs tell it, steps are fitted once more.
    steps = [name for name in deviations if base_name(name) not in PREFILL]
    file, _ = _fit_steps(file, steps, chosen, levels, progress)
    return file._replace(correlations=start.correlations)


def _fit_steps(
    file: CalibrationFile,
    names: Sequence[str],
    corpus: Corpus,
    levels: FloatArray,
    progress: Progress | None,
) -> tuple[CalibrationFile, FloatArray]:
    """Fit decode steps, given levels that like rows share, and then these, logarithms."""
    crowd = corpus.crowd

    def residuals(calibration: Calibration) -> FloatArray:
        return np.asarray(crowd / SCATTER * (corpus.errors(calibration) + levels))

    fitted = fit_constants(
        file, names, residuals, progress=progress, maximum_evaluations=EVALUATIONS
    ).file
    anchors = anchors_in(fitted, corpus)
    found = [level_of(subject, anchors) for subject in corpus.subjects]
    return fitted, np.asarray(np.log(found))


def _fit_runs(
    file: CalibrationFile, corpus: Corpus, levels: FloatArray, progress: Progress | None
) -> CalibrationFile:
    """Fit how many requests are in decode and how long the others wait, given decode steps.

    The rate of prefill is fitted once more, as it bounds how many there are.
    """
    deployments, seen, crowd = corpus.deployments, corpus.seen, corpus.crowd
    leveled = deployments._replace(workers=deployments.workers._replace(level=levels))
    tpot_known, ttft_known = ~np.isnan(seen.tpot_mean), ~np.isnan(seen.ttft_mean)
    tpot = np.where(tpot_known, seen.tpot_mean, seen.tpot_median)
    ttft = np.where(ttft_known, seen.ttft_mean, seen.ttft_median)

    def residuals(calibration: Calibration) -> FloatArray:
        result = run(leveled, calibration)
        tokens = np.where(tpot_known, result.tpot_mean, result.tpot_median) / tpot
        first = np.where(ttft_known, result.ttft_mean, result.ttft_median) / ttft
        spreads = np.log(tokens) / RUN_SCATTER, np.log(first) / WAIT_SCATTER
        weighed = np.concatenate([crowd * each for each in spreads], axis=-1)
        return np.asarray(np.nan_to_num(weighed))

    waits = deviations_in(deployments.kinds.kinds, WAITS)
    file = file._replace(constants=file.constants | waits)
    names = [
        name
        for name, constant in file.constants.items()
        if constant.informed_by == CORPUS and (name in waits or base_name(name) in PREFILL)
    ]
    if not names:
        return file
    return fit_constants(
        file, names, residuals, progress=progress, maximum_evaluations=EVALUATIONS // 2
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
