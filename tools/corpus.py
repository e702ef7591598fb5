"""Fits the corpus: deviations and intervals of the shipped calibration, anchors, docs/corpus.md."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from costmodel.anchors import FILE, format_anchors
from costmodel.calibration import CalibrationFile, Constant
from costmodel.calibration_file import shipped_calibration, write_calibration
from costmodel.corpus import anchors_in, corpus_of, fit_corpus
from costmodel.corpus_accuracy import CorpusAccuracy, measure_corpus
from costmodel.coverage import coverage_of
from costmodel.intervals import corpus_class
from moeplan.render.corpus import markdown
from presets import corpus_rows
from presets.files import write_whole

CALIBRATION = Path("costmodel/data/calibration.toml")
COVERED = 0.9  # share of errors inside an interval
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
    """Half-widths that hold 90 % of the errors on structures that a fit did not see."""
    found, rows = {}, accuracy.corpus.rows
    kinds = np.array([corpus_class(row.serving) for row in rows])
    for name, errors in accuracy.in_folds.figures.items():
        for kind in np.unique(kinds).tolist():
            constant = file.constants[f"{name}_half_width.{kind}"]
            kept = (kinds == kind) & accuracy.corpus.fitted & ~np.isnan(errors)
            known = np.abs(errors[kept]) / accuracy.in_folds.widening[kept]
            value = float(np.clip(np.quantile(known, COVERED), constant.low, constant.high))
            found[f"{name}_half_width.{kind}"] = constant.model_copy(update={"value": value})
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
