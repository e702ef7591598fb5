"""Fits the corpus: deviations and intervals of the shipped calibration, anchors, docs/corpus.md."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from costmodel.anchors import FILE, format_anchors
from costmodel.calibration import CalibrationFile, Constant
from costmodel.calibration_file import corpus_deviation, shipped_calibration, write_calibration
from costmodel.corpus import anchors_in, corpus_of, fit_corpus
from costmodel.corpus_accuracy import CorpusAccuracy, measure_corpus
from costmodel.corpus_deviations import SHARED, SOURCE
from costmodel.coverage import coverage_of
from costmodel.deviations import Traits
from costmodel.inputs import FloatArray
from costmodel.intervals import corpus_class
from moeplan.render.corpus import markdown
from presets import corpus_rows
from presets.files import write_whole

CALIBRATION = Path("costmodel/data/calibration.toml")
COVERED = 0.9  # share of errors inside an interval
FEW = 30  # rows that say half as much as all do of how wide intervals are
WIDER = 3.0  # most that intervals of some traits are wider, or narrower
SPREAD = 0.3  # of the logarithm of such a factor
SHARED_WIDTHS = {axis: SHARED[axis] for axis in ("engine", "attention", "kernel_profile")}
NOTICE = "<!-- Made by `make corpus`, as `moeplan validate --cross-validate` prints it. -->\n\n"


def main(page: Path) -> None:
    """Fit, cross-validate, and write all three."""
    shipped, corpus = shipped_calibration(), corpus_of(corpus_rows())
    coverage = shipped.coverage.model_copy(update={"corpus": coverage_of(corpus.of_the_fit)})
    start = shipped._replace(coverage=coverage)
    accuracy = measure_corpus(start, corpus)
    file = fit_corpus(start, corpus)
    file = file._replace(constants=file.constants | widths(file, accuracy))
    write_calibration(file, CALIBRATION)
    FILE.write_bytes(format_anchors(anchors_in(file, corpus)))
    write_whole(page, NOTICE + markdown(accuracy, file))


def widths(file: CalibrationFile, accuracy: CorpusAccuracy) -> dict[str, Constant]:
    """Half-widths that hold 90 % of the errors on structures that a fit did not see.

    Of all rows of a class, and what those of an engine or attention are wider or narrower.
    """
    found, rows = {}, accuracy.corpus.rows
    classes = np.array([corpus_class(row.serving) for row in rows])
    for figure, errors in accuracy.in_folds.figures.items():
        known = accuracy.corpus.fitted & ~np.isnan(errors)
        apart = np.abs(errors) / accuracy.in_folds.widening
        for kind in np.unique(classes).tolist():
            name, places = f"{figure}_half_width.{kind}", np.flatnonzero(known & (classes == kind))
            constant = file.constants[name]
            width = float(np.clip(holding(apart[places]), constant.low, constant.high))
            found[name] = constant.model_copy(update={"value": width})
            traits = accuracy.corpus.deployments.kinds.of(places)
            found |= own_widths(name, traits, apart[places] / width)
    return found


def own_widths(name: str, traits: Sequence[Traits], errors: FloatArray) -> dict[str, Constant]:
    """Find what the intervals of some traits are wider or narrower than those of all rows.

    `errors` are over the half-width of all. Each factor counts as much as its rows beside `FEW`.
    """
    found = {}
    for axis, shared in SHARED_WIDTHS.items():
        values = np.array([getattr(each, axis) for each in traits])
        for value in np.setdiff1d(values, shared).tolist():
            own = values == value
            weight = own.sum() / (own.sum() + FEW)
            factor = float(np.clip(holding(errors[own]) ** weight, 1.0 / WIDER, WIDER))
            errors = np.where(own, errors / factor, errors)
            deviation = f"{name}[{axis}={value}]"
            found[deviation] = corpus_deviation(
                deviation, factor, SPREAD, None, SOURCE, date.today()
            )
    return found


def holding(errors: FloatArray) -> float:
    """Half-width that holds the share of errors that an interval is to hold [1]."""
    return float(np.quantile(errors, COVERED))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
