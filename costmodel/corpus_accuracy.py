"""How right the model is on the corpus: in folds of structures, and with whole groups left out.

Each figure comes from a fit that never saw what it predicts; see ``docs/corpus.md``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from costmodel.calibration import CalibrationFile
from costmodel.corpus import FOLDS, Apart, Corpus, folds_of_structures, joined, predict_apart
from costmodel.fit import Progress
from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.intervals import WIDEST
from costmodel.resolve import resolve
from presets import ServingRow

COVERED = 0.9
"""Share of errors inside an interval. [1]"""

FEWEST = 20
"""Rows from which a group has figures of its own. [1]"""

BY: dict[str, Callable[[ServingRow], object]] = {
    "engine": lambda row: row.framework,
    "serving": lambda row: row.serving,
    "drafts": lambda row: "with drafts" if row.mtp_depth else "without",
    "machine": lambda row: row.sku,
    "model": lambda row: row.model,
    "precision": lambda row: row.precision,
}

LEFT_OUT: dict[str, Sequence[Sequence[str]]] = {
    "sku": [["b300"], ["gb200"], ["h200"], ["mi355x"]],
    "model": [
        ["minimax-m2.5"],
        ["kimi-k2.5", "kimi-k2-thinking"],
        ["qwen3.5-397b-a17b"],
        ["glm-4.7"],
        ["glm-5", "glm-5.2"],
        ["minimax-m3"],
        ["deepseek-v4-pro"],
        ["gpt-oss-120b"],
    ],
    "framework": [["sglang"], ["vllm"], ["atom"]],
}
"""What a fit does not see any row of; TensorRT-LLM set the shared constants."""


@dataclass(frozen=True, eq=False)
class CorpusAccuracy:
    """Errors on the corpus by fits that never saw the rows they predict."""

    corpus: Corpus
    in_folds: Apart
    left_out: dict[str, tuple[IntArray, Apart]]  # places of the rows, and errors on them


@dataclass(frozen=True)
class GroupErrors:
    """Errors on a group of rows, absolute and relative [1]; None where nothing is published."""

    rows: int
    tpot: tuple[float, float] | None  # median and mean
    inside: float | None  # share of TPOT inside its 90 % interval
    tpot_in_decode: tuple[float, float] | None  # where the requests in decode are known
    tpot_physics: tuple[float, float] | None  # the same without anchors
    throughput: tuple[float, float] | None
    ttft: float | None  # median


def measure_corpus(
    start: CalibrationFile, corpus: Corpus, progress: Progress | None = None
) -> CorpusAccuracy:
    """Fit and predict for each figure; fits run side by side on all processors.

    `progress` is called after each of `count_corpus_fits` fits.
    """
    folds, groups = folds_of_structures(corpus), _left_out(corpus)
    jobs = [(own, True) for own in folds] + [(own, False) for own in groups.values()]
    found = []
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for part in pool.map(partial(_predicted, start, corpus), jobs):
            found.append(part)
            if progress is not None:
                progress()
    in_folds = joined(list(zip(folds, found[:FOLDS], strict=True)), len(corpus.rows))
    apart = zip(groups.values(), found[FOLDS:], strict=True)
    return CorpusAccuracy(corpus, in_folds, dict(zip(groups, apart, strict=True)))


def count_corpus_fits() -> int:
    """How many fits `measure_corpus` makes."""
    return FOLDS + sum(len(groups) for groups in LEFT_OUT.values())


def _predicted(start: CalibrationFile, corpus: Corpus, job: tuple[IntArray, bool]) -> Apart:
    own, neighbours = job
    return predict_apart(start, corpus, own, neighbours=neighbours)


def _left_out(corpus: Corpus) -> dict[str, IntArray]:
    """Places of the rows of each group that a fit is to do without."""
    found = {}
    for column, groups in LEFT_OUT.items():
        values = np.array([getattr(row, column) for row in corpus.rows])
        for group in groups:
            found[", ".join(group)] = np.flatnonzero(np.isin(values, group))
    return found


def errors_in_folds(accuracy: CorpusAccuracy, file: CalibrationFile) -> dict[str, GroupErrors]:
    """Gather the errors in folds by kind of row, the largest first, under intervals of a file."""
    chosen = _groups(accuracy.corpus) | {"contradicting others": ~accuracy.corpus.fitted}
    widths = _half_widths(accuracy.corpus, file)
    return {name: _errors(rows, accuracy.in_folds, widths) for name, rows in chosen.items()}


def _groups(corpus: Corpus) -> dict[str, BoolArray]:
    """Which rows are of each kind, the largest first; suspect ones are of none."""
    chosen = {"all": corpus.fitted}
    for heading, kind_of in BY.items():
        kinds = np.array([str(kind_of(row)) for row in corpus.rows])
        names, counts = np.unique(kinds[corpus.fitted], return_counts=True)
        for name, count in sorted(zip(names, counts, strict=True), key=lambda pair: -pair[1]):
            if count >= FEWEST:
                chosen[f"{heading}: {name}"] = corpus.fitted & (kinds == name)
    return chosen


@dataclass(frozen=True)
class GivenErrors:
    """Errors of TPOT on rows of structures of which one point is given, absolute and relative [1].

    Attributes
    ----------
    rows : int
        Without those given.
    before, after : (float, float)
        Median and mean, as in folds, and with the middle point of each structure given.
    narrower : float
        Of the errors that 90 % do not exceed, after over before.
    """

    rows: int
    before: tuple[float, float]
    after: tuple[float, float]
    narrower: float


def errors_of_one_given(accuracy: CorpusAccuracy) -> dict[str, GivenErrors]:
    """Gather errors with one measured point of each structure given, by kind of row."""
    apart, found = accuracy.in_folds, {}
    for name, rows in _groups(accuracy.corpus).items():
        known = rows & ~np.isnan(apart.one_given)
        if np.count_nonzero(known) < FEWEST:
            continue
        before, after = apart.figures["tpot"][known], apart.one_given[known]
        late = [float(np.quantile(np.abs(each), COVERED)) for each in (before, after)]
        pairs = _median_and_mean(before), _median_and_mean(after)
        assert pairs[0] is not None and pairs[1] is not None  # noqa: PT018 - of known rows
        found[name] = GivenErrors(int(known.sum()), pairs[0], pairs[1], late[1] / late[0])
    return found


def errors_left_out(accuracy: CorpusAccuracy, file: CalibrationFile) -> dict[str, GroupErrors]:
    """Gather the errors on what was left out as a whole, under intervals of a file."""
    fitted, widths = accuracy.corpus.fitted, _half_widths(accuracy.corpus, file)
    return {
        name: _errors(fitted[own], apart, widths[own])
        for name, (own, apart) in accuracy.left_out.items()
    }


def _half_widths(corpus: Corpus, file: CalibrationFile) -> FloatArray:
    """Half-width of TPOT of each row inside the data, of the logarithm [1]."""
    widths = resolve(file.calibration, corpus.deployments.kinds).tpot_half_width
    one_pool = np.array([row.serving == "aggregated" for row in corpus.rows])
    return np.where(one_pool, widths.corpus_aggregated, widths.corpus)


def _errors(chosen: BoolArray, apart: Apart, half_widths: FloatArray) -> GroupErrors:
    tpot, ttft = apart.figures["tpot"], _absolute(apart.figures["ttft"][chosen])
    inside = np.abs(tpot) <= np.minimum(half_widths * apart.widening, WIDEST)
    known = chosen & ~np.isnan(tpot)
    return GroupErrors(
        rows=int(np.count_nonzero(chosen)),
        tpot=_median_and_mean(tpot[chosen]),
        inside=float(inside[known].mean()) if known.any() else None,
        tpot_in_decode=_median_and_mean(apart.in_decode[chosen]),
        tpot_physics=_median_and_mean(apart.physics[chosen]),
        throughput=_median_and_mean(apart.figures["throughput"][chosen]),
        ttft=float(np.median(ttft)) if ttft.size else None,
    )


def _median_and_mean(logs: FloatArray) -> tuple[float, float] | None:
    known = _absolute(logs)
    return (float(np.median(known)), float(known.mean())) if known.size else None


def _absolute(logs: FloatArray) -> FloatArray:
    return np.asarray(np.abs(np.expm1(logs[~np.isnan(logs)])))
