"""Anchors: what measured rows like a question say of its step that the physics does not explain.

The level of a deployment (its release, kernels, flags of its recipe) stands in no column, and
points of one deployment share it. So the errors that the model leaves on measured rows are carried
over to what is like them: on the same worker, model, engine, machine, shape or release.

The error of a row is taken as a sum of independent normal effects, one for each group of rows that
are alike, and noise; the effects are their best linear predictions (C. R. Henderson, Biometrics 31,
1975), so that what few rows say is shrunk, and what no row says is nothing.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from costmodel.calibration import Anchor
from costmodel.calibration_file import shipped_calibration
from costmodel.inputs import FloatArray
from costmodel.intervals import holds_level
from costmodel.results import Case
from presets.frozen import FrozenDict

FILE = Path(__file__).parent / "data" / "anchors.csv.gz"
COLUMNS = ("key", "level", "rows")

WORKER = ("sku", "model", "precision", "engine", "depth", "gpus", "ep", "attention")


class Subject(NamedTuple):
    """What a measured row, or a question, is of."""

    sku: str
    model: str
    precision: str
    engine: str
    release: str
    depth: int
    gpus: int
    ep: int
    attention: str
    isl: int
    osl: int
    serving: str

    def key(self, fields: Sequence[str]) -> str:
        """Name the group that it belongs to by some fields."""
        return " ".join(f"{name}={getattr(self, name)}" for name in fields)


LIKENESS: Mapping[tuple[str, ...], float] = {
    (*WORKER, "isl", "osl", "serving"): 0.023,
    WORKER: 0.045,
    ("sku", "model", "precision", "engine", "isl", "osl"): 0.045,
    ("sku", "model"): 0.03,
    ("model", "precision", "engine"): 0.03,
    ("model", "engine"): 0.09,
    ("model",): 0.036,
    ("model", "engine", "depth"): 0.06,
    ("model", "engine", "precision", "gpus", "ep", "attention"): 0.064,
    ("engine", "gpus", "ep", "attention", "serving"): 0.072,
    ("engine", "release"): 0.075,
    ("engine", "release", "model"): 0.03,
    ("sku", "engine", "release"): 0.04,
    ("sku", "model", "engine", "release"): 0.04,
}
"""Fields by which rows are alike, and how far the effects of such groups scatter [1]; the first is
the finest: rows that it joins are points of one deployment, or of copies of it. Scatters are those
that predict deployments best whose rows are left out (`costmodel.corpus.predict_apart`)."""

FINEST = next(iter(LIKENESS))

NOISE = 0.06
"""Scatter of the rows of one group, of the logarithm. [1]"""

LARGEST = 0.35
"""Beyond this an error says no more, of the logarithm. [1]"""


NO_ANCHOR = Anchor(1.0, 0)
"""Of what no measured row is like."""

NONE: Mapping[str, Anchor] = FrozenDict()
"""Anchors of nobody."""


def subject_of(case: Case) -> Subject:
    """Say what a case is of."""
    scenario, chosen = case.scenario, case.configuration
    return Subject(
        sku=case.cluster.sku,
        model=scenario.model.name,
        precision=scenario.precision,
        engine=scenario.engine,
        release=case.release or "",
        depth=chosen.mtp_depth,
        gpus=chosen.decode_gpus_per_worker,
        ep=chosen.decode_ep,
        attention=chosen.decode_attention,
        isl=scenario.isl,
        osl=scenario.osl,
        serving=chosen.serving,
    )


def anchor_of(case: Case, own: Mapping[str, Anchor] = NONE) -> Anchor:
    """Find what measured rows say of a case: the shipped ones, and a user's own.

    Rows are counted that are of its worker.
    """
    if not case.scenario.anchors:
        return NO_ANCHOR
    shipped = _shipped_anchor(case)
    if not own:
        return shipped
    mine = _own_anchor(case, own)
    return Anchor(shipped.level * mine.level, shipped.rows + mine.rows)


def is_anchored(case: Case, own: Mapping[str, Anchor]) -> bool:
    """Tell whether rows of a user's own are of the deployment of a case, under whatever load."""
    if not own or not case.scenario.anchors or (case.of_a_row and run_key(case) in own):
        return False
    return subject_of(case).key(FINEST) in own


def run_key(case: Case) -> str:
    """Name a run, its load included: what it tells of itself is left out under this name."""
    one = case.configuration
    return f"{_left_out(subject_of(case))} {one.label}, {one.concurrency} users"


def _own_anchor(case: Case, own: Mapping[str, Anchor]) -> Anchor:
    """Find what a user's own rows say of a case; of a measured row the others alone."""
    if case.of_a_row and (apart := own.get(run_key(case))):
        return Anchor(float(np.exp(apart.level)), 0)
    subject = subject_of(case)
    return Anchor(level_of(subject, own), own.get(subject.key(WORKER), NO_ANCHOR).rows)


def _shipped_anchor(case: Case) -> Anchor:
    """Find what the shipped rows say of a case.

    Nothing where the shared constants were fitted to rows of its model and engine, which have the
    level already: machines of one family would else be told apart by what has been measured of
    them. A case that stands for a measured row sees none of the rows of its own deployment.
    """
    if holds_level(case.scenario, shipped_calibration().coverage):
        return NO_ANCHOR
    subject, known = subject_of(case), _shipped()
    if case.of_a_row:
        return Anchor(level_apart(subject, known), 0)
    own = known.get(subject.key(WORKER), NO_ANCHOR)
    return Anchor(level_of(subject, known), own.rows)


def level_of(subject: Subject, anchors: Mapping[str, Anchor]) -> float:
    """Join the effects of all groups of rows that a subject belongs to, as a factor [1]."""
    found = [anchors[key].level for key in _keys(subject) if key in anchors]
    return float(np.exp(sum(found)))


def level_apart(subject: Subject, anchors: Mapping[str, Anchor]) -> float:
    """Say what rows of all deployments but a subject's own tell of it, as a factor [1]."""
    apart = anchors.get(_left_out(subject))
    return level_of(subject, anchors) if apart is None else float(np.exp(apart.level))


def fit_anchors(
    subjects: Sequence[Subject],
    errors: FloatArray,
    likeness: Mapping[tuple[str, ...], float] = LIKENESS,
    largest: float = LARGEST,
    apart: Sequence[str] | None = None,
) -> dict[str, Anchor]:
    """Predict the effects of all groups of rows, and what each finest one would be told by others.

    Parameters
    ----------
    subjects
        Of the rows.
    errors
        Logarithm of what is predicted over what was measured. [1]
    likeness, largest
        As `LIKENESS` and `LARGEST`.
    apart
        Names under which stands what rows of one name are told by the others; those of the finest
        groups unless given.

    Returns
    -------
    Logarithms of the factors on the step, by key.
    """
    if not len(subjects):
        return {}
    from scipy.linalg import cho_factor, cho_solve  # heavy, and only calibration needs it

    softened = -largest * np.tanh(errors / largest)
    groups = [_grouped([each.key(fields) for each in subjects]) for fields in likeness]
    variances = [spread**2 for spread in likeness.values()]
    covariance = np.diag(np.full(len(subjects), NOISE**2))
    for (_, place), variance in zip(groups, variances, strict=True):
        covariance += variance * (place[:, None] == place)
    inverse = cho_solve(cho_factor(covariance), np.eye(len(subjects)))
    weights = inverse @ softened
    found: dict[str, Anchor] = {}
    for (names, place), variance in zip(groups, variances, strict=True):
        effects = variance * np.bincount(place, weights)
        counts = np.bincount(place)
        found |= {
            name: Anchor(float(effect), int(count))
            for name, effect, count in zip(names, effects, counts, strict=True)
        }
    names, place = _grouped([_left_out(each) for each in subjects] if apart is None else apart)
    for index, name in enumerate(names):
        own = np.flatnonzero(place == index)
        # The prediction of rows from all others: what remains of theirs is known in closed form.
        remaining = np.linalg.solve(inverse[np.ix_(own, own)], weights[own])
        level = float((softened[own] - remaining).mean())
        found[name] = Anchor(level, 0)
    return found


def _grouped(
    keys: Sequence[str],
) -> tuple[list[str], np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Keys that differ, and which of them each row has."""
    names, place = np.unique(keys, return_inverse=True)
    return names.tolist(), place


def _keys(subject: Subject) -> Iterator[str]:
    for fields in LIKENESS:
        if subject.release or "release" not in fields:
            yield subject.key(fields)


def _left_out(subject: Subject) -> str:
    return f"without {subject.key(FINEST)}"


def format_anchors(anchors: Mapping[str, Anchor]) -> bytes:
    """Text of the shipped anchors, packed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for key, anchor in anchors.items():
        writer.writerow([key, f"{anchor.level:.4f}", anchor.rows])
    return gzip.compress(text.getvalue().encode(), mtime=0)


@cache
def _shipped() -> Mapping[str, Anchor]:
    """Read the anchors that ship with the project, by key."""
    text = gzip.decompress(FILE.read_bytes()).decode()
    rows = csv.DictReader(io.StringIO(text))
    return {row["key"]: Anchor(float(row["level"]), int(row["rows"])) for row in rows}
