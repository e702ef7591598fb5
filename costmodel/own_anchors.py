"""Anchors of a user's own rows: what few measured points say of deployments like them.

They stand in the calibration file that `moeplan calibrate` writes, and hold beside the shipped
anchors: the error that is carried over is that of a prediction which has these already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from costmodel.anchors import LIKENESS, fit_anchors, level_of, run_key, subject_of
from costmodel.calibration import Anchor, Calibration
from costmodel.deployments import case_of, deployments_of, run
from costmodel.inputs import FloatArray, IntArray
from costmodel.observations import compared, observations_of
from costmodel.results import Case
from presets import ServingRow

SHARE = 0.5
"""Of the variance of rows that are alike, what is left to say once other rows have said theirs: one
point of a deployment then tells 80 % of its error to the others. On the corpus 70 to 90 % predict
the other points equally well (`costmodel.corpus_accuracy`). [1]"""

OWN_LIKENESS = {
    fields: float(np.sqrt(SHARE)) * scatter
    for fields, scatter in LIKENESS.items()
    if "release" not in fields  # which no question names
}
"""As `LIKENESS`, of a user's own rows."""

LARGEST = 1.0
"""As `costmodel.anchors.LARGEST`: own rows count further, as nothing else tells of them. What is
three times off or more is refused before. [1]"""


def own_anchors(cases: Sequence[Case], errors: FloatArray) -> dict[str, Anchor]:
    """Fit anchors to rows of one's own, and what each run is told by the others.

    Parameters
    ----------
    cases
        Of the rows.
    errors
        Logarithm of what is predicted over what was measured; NaN where unknown. [1]
    """
    chosen = [cases[place] for place in np.flatnonzero(np.isfinite(errors)).tolist()]
    return fit_anchors(
        [subject_of(case) for case in chosen],
        errors[np.isfinite(errors)],
        OWN_LIKENESS,
        LARGEST,
        [run_key(case) for case in chosen],
    )


def anchors_of_rows(rows: Sequence[ServingRow], calibration: Calibration) -> dict[str, Anchor]:
    """Fit anchors to the errors that a calibration leaves on a user's rows.

    Of TPOT, or of the step where that alone was measured. Anchors that the calibration has already
    stay, and new ones add to them.
    """
    cases = [case_of(row)._replace(of_a_row=False) for row in rows]
    result = run(deployments_of(cases, calibration.anchors), calibration)
    pairs = compared(result, observations_of(rows))
    tpot, step = (np.log(pairs[name][0] / pairs[name][1]) for name in ("tpot", "iteration"))
    new = own_anchors(cases, np.where(np.isnan(tpot), step, tpot))
    return added(calibration.anchors, new)


def added(before: Mapping[str, Anchor], after: Mapping[str, Anchor]) -> dict[str, Anchor]:
    """Add anchors that were fitted to what others left."""
    found = dict(before)
    for key, (level, rows) in after.items():
        old = before.get(key, Anchor(0.0, 0))
        found[key] = Anchor(old.level + level, old.rows + rows)
    return found


def levels_by_one(cases: Sequence[Case], structures: IntArray, errors: FloatArray) -> FloatArray:
    """Level of each case by the middle one of its structure, by users; NaN for that itself [1].

    Parameters
    ----------
    cases
        Of rows.
    structures
        Number of the deployment of each, whatever its load. [1]
    errors
        As `own_anchors` has them; what is unknown is neither given nor told. [1]
    """
    levels, known = np.full(len(errors), np.nan), np.isfinite(errors)
    for structure in np.unique(structures[known]):
        rows = np.flatnonzero(known & (structures == structure))
        users = [cases[place].configuration.concurrency for place in rows.tolist()]
        middle = int(rows[np.argsort(users, kind="stable")[(len(rows) - 1) // 2]])
        own = own_anchors([cases[middle]], errors[[middle]])
        for place in set(rows.tolist()) - {middle}:
            levels[place] = level_of(subject_of(cases[place]), own)
    return levels
