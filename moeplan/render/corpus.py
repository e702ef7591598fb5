"""Errors on the public corpus in Markdown: for ``docs/corpus.md`` and, rendered, the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from costmodel.corpus_accuracy import errors_in_folds, errors_left_out, errors_of_one_given
from moeplan.render.accuracy import in_percent, markdown_table

if TYPE_CHECKING:
    from costmodel.calibration import CalibrationFile
    from costmodel.corpus_accuracy import CorpusAccuracy, GroupErrors

HEADER = ("rows", "number", "TPOT", "inside", "in decode", "physics", "tok/s/GPU", "TTFT")

INTRODUCTION = """\
Published operating points of many models, engines and machines (`corpus_serving.csv.gz`; sources in
each row), each predicted by constants that were fitted to no row of its structure (machine, model,
precision, engine, lengths, drafts and workers, whatever the load), anchored at the rows of all
other deployments. Errors in %, median / mean, of TTFT the median; *inside*: share of TPOT inside
its 90 % interval. Rows that contradict others are in no fit and stand apart. `make corpus` fits the
deviations and anchors again."""

COLUMNS = """\
*TPOT* is predicted from the users of a row, as every command does; *in decode* from the requests
that were in decode, as the fit sees it; *physics* is the latter without anchors."""

GIVEN = """\
TPOT where the middle point of each structure by users is given as a row of one's own, as `moeplan
calibrate` keeps it, and the other points are predicted, from their users; before as above.
*Narrower*: the error that 90 % of the rows do not exceed, over that before."""

UNSEEN = """\
What a fit and its anchors had no row of. An engine takes the constants of the shared ones, and
intervals are as wide as `moeplan` prints them for what lies outside the data."""


def markdown(accuracy: CorpusAccuracy, file: CalibrationFile) -> str:
    """Write the report."""
    parts = [
        "# Accuracy on the public corpus",
        INTRODUCTION,
        COLUMNS,
        _table(errors_in_folds(accuracy, file)),
        "## One measured point given",
        GIVEN,
        _given_table(accuracy),
        "## Left out as a whole",
        UNSEEN,
        _table(errors_left_out(accuracy, file)),
    ]
    return "\n\n".join(parts) + "\n"


def summary(accuracy: CorpusAccuracy, file: CalibrationFile) -> dict[str, object]:
    """Gather the same figures for machines."""
    return {
        "in_folds": {name: asdict(each) for name, each in errors_in_folds(accuracy, file).items()},
        "one_given": {name: asdict(each) for name, each in errors_of_one_given(accuracy).items()},
        "left_out": {name: asdict(each) for name, each in errors_left_out(accuracy, file).items()},
    }


def _table(found: Mapping[str, GroupErrors]) -> str:
    return markdown_table(HEADER, [[name, *_cells(each)] for name, each in found.items()])


def _given_table(accuracy: CorpusAccuracy) -> str:
    rows = [
        [name, str(each.rows), _pair(each.before), _pair(each.after), f"{each.narrower:.2f}"]
        for name, each in errors_of_one_given(accuracy).items()
    ]
    return markdown_table(("rows", "number", "before", "one point given", "narrower"), rows)


def _cells(errors: GroupErrors) -> list[str]:
    pairs = (errors.tpot_in_decode, errors.tpot_physics, errors.throughput)
    return [
        str(errors.rows),
        _pair(errors.tpot),
        in_percent(errors.inside),
        *(_pair(pair) for pair in pairs),
        in_percent(errors.ttft),
    ]


def _pair(errors: tuple[float, float] | None) -> str:
    return "" if errors is None else " / ".join(in_percent(each) for each in errors)
