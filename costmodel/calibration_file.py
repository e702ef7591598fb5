"""Calibration files: read within the units and bounds of the shipped one, written whole or not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from costmodel.calibration import (
    FORMAT,
    Anchor,
    Calibration,
    CalibrationFile,
    Constant,
    Coverage,
    Positive,
    Whole,
    constant_names,
    flat_names,
)
from costmodel.correlation import Correlation
from costmodel.deviations import AXES, base_name, deviation_of
from presets import DataFileError
from presets.errors import closest_hint, shown
from presets.facts import Text
from presets.files import explained, read_toml, toml_value, validated, write_whole
from presets.frozen import FrozenDict

MAXIMUM_BYTES = 1_000_000

CORPUS = "corpus_serving.csv"
"""Table of the rows that deviations are fitted to, where the shared constants stay as they are."""

FURTHEST = 8.0
"""Largest factor between such a deviation and what it is before any row is seen. [1]"""

UNSEEN = {
    "draft_pass_time[engine]": (5e-4, "s", 4e-3),
    "draft_request_time[engine]": (2e-5, "s", 1.6e-4),
    "mixed_rank_stall[engine]": (0.3, "1", 1.0),
}
"""What deviations that are no factors are before any row is seen, the unit, and the most that they
may be, by their kind. No rank waits for more than all that the others prefill."""

FARTHER = {"first_token_time[engine]": 64.0}
"""Largest factor of some kinds: between two pools of ATOM a hand-over takes seconds. [1]"""

FARTHEST = 2.0
"""Largest level of an anchor, of the logarithm: sevenfold either way. [1]"""

DIGITS = 6
"""Significant digits of a number. [1]"""

HEADER = """# Constants of the cost model, written by `moeplan calibrate`; see docs/cost-model.md.
# Times are in seconds; standard errors are of the logarithm, correlations too.
"""


def read_calibration(path: Path) -> CalibrationFile:
    """Read a user's calibration file: units and bounds of the shipped one hold for it.

    Raises
    ------
    DataFileError
        If the file is missing, too large or not TOML, or a constant missing, unknown or unphysical.
    """
    file = _read(path)
    for name, constant in file.constants.items():
        shipped = shipped_calibration().constants.get(name)
        if shipped is not None:  # a deviation may be the user's own
            _check_against(shipped, constant, path, name)
    return file


def _check_against(shipped: Constant, given: Constant, path: Path, name: str) -> None:
    """Refuse a constant in another unit than the shipped one, or beyond its bounds."""
    if given.unit != shipped.unit:
        problem = f"{shown(given.unit)} is not valid; it must be {shipped.unit!r}"
        raise DataFileError(problem, path, key=f"{name}.unit")
    for field in ("value", "low", "high"):
        number = getattr(given, field)
        if not shipped.low <= number <= shipped.high:
            problem = (
                f"{number} lies outside the bounds of the constant, {shipped.low} to {shipped.high}"
            )
            raise DataFileError(problem, path, key=f"{name}.{field}")


def _read(path: Path) -> CalibrationFile:
    """Read a calibration file whose own units and bounds hold."""
    document = read_toml(path, MAXIMUM_BYTES)
    if document.get("format") != FORMAT:
        raise DataFileError(f"must say format = {FORMAT!r}", path)
    table = document.get("constants")
    if not isinstance(table, dict):
        raise DataFileError(
            "has no table [constants]; give a file that moeplan calibrate writes", path
        )
    names = constant_names()
    for name in table:
        _check_name(name, path)
    for name in names:
        if name not in table:
            raise DataFileError("is missing; fit the file anew", path, key=name)
    # Each constant is followed by its deviations.
    order = sorted(table, key=lambda name: (_place(base_name(name)), "[" in name))
    constants = {name: validated(Constant, table[name], path, name) for name in order}
    constants |= _deviations(document, path)
    coverage = validated(Coverage, document.get("coverage"), path, "coverage")
    anchors = validated(Anchors, {"levels": document.get("anchors", {})}, path, "anchors")
    levels = FrozenDict({key: Anchor(*each) for key, each in anchors.levels.items()})
    return CalibrationFile(constants, coverage, _correlations(document, path), levels)


def _place(name: str) -> int:
    """Place of a constant in the order of `Calibration`."""
    return flat_names().index(name)


class Anchors(BaseModel):
    """What rows of a user's own say of what is like them: of each group a level, and its rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # the logarithm of a factor on the step, and how many rows there are
    levels: dict[
        Text, tuple[Annotated[float, Field(strict=True, ge=-FARTHEST, le=FARTHEST)], Whole]
    ]


class CorpusDeviations(BaseModel):
    """Deviations that were fitted to the corpus, which have most in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: Text
    date: date
    # of each the factor, the spread of its prior, and the standard error of its logarithm
    factors: dict[str, tuple[Positive, Positive, Annotated[float, Field(strict=True, ge=0)]]]


def corpus_deviation(
    name: str, value: float | None, spread: float, error: float | None, source: str, on: date
) -> Constant:
    """Make the constant that a deviation is: a factor about 1, or what stands alone.

    Without a value it is as before any row is seen.
    """
    constant, _, where = name.removesuffix("]").partition("[")
    kind = re.sub("=[^],]*", "", name)
    prior, unit, high = UNSEEN.get(kind, (1.0, "1", FARTHER.get(kind, FURTHEST)))
    return Constant(
        value=prior if value is None else value,
        unit=unit,
        low=prior / FURTHEST,
        high=high,
        prior=prior,
        spread=spread,
        standard_error=error,
        kind="calibrated",
        informed_by=CORPUS,
        source=source,
        date=on,
        meaning=f"{'' if kind in UNSEEN else 'Factor on '}{constant} where {where}",
    )


def _deviations(document: dict[str, Any], path: Path) -> dict[str, Constant]:
    if "deviations" not in document:
        return {}
    given = validated(CorpusDeviations, document["deviations"], path, "deviations")
    found = {}
    for name, (factor, spread, error) in given.factors.items():
        _check_name(name, path)
        try:
            found[name] = corpus_deviation(name, factor, spread, error, given.source, given.date)
        except ValidationError as refusal:
            reason = explained(refusal.errors()[0], Constant)
            raise DataFileError(reason, path, key=f"deviations.factors.{name}") from None
    return found


def _check_name(name: str, path: Path) -> None:
    """Refuse what is neither a constant nor a deviation of one."""
    if name in constant_names():
        return
    if base_name(name) not in flat_names():
        hint = closest_hint(base_name(name), flat_names())
        raise DataFileError(f"is not a constant; {hint}", path, key=name)
    if deviation_of(name, 1.0) is None:
        problem = (
            f"is no deviation; write {base_name(name)}[TRAIT=VALUE], with one or more of "
            f"{', '.join(AXES)}"
        )
        raise DataFileError(problem, path, key=name)


def _correlations(document: dict[str, Any], path: Path) -> tuple[Correlation, ...]:
    """Read the optional correlations, each constant in at most one of them."""
    given = document.get("correlations", [])
    if not isinstance(given, list):
        raise DataFileError("must be a list of tables", path, key="correlations")
    found = tuple(validated(Correlation, one, path, "correlations") for one in given)
    seen: set[str] = set()
    for name in (name for one in found for name in one.constants):
        if name not in document["constants"]:
            known = tuple(document["constants"])
            problem = f"{shown(name)} is not a constant; {closest_hint(name, known)}"
            raise DataFileError(problem, path, key="correlations")
        if name in seen:
            raise DataFileError(
                f"{shown(name)} stands in two; leave it in one", path, key="correlations"
            )
        seen.add(name)
    return found


@cache
def shipped_calibration() -> CalibrationFile:
    """Read the calibration that ships with the project."""
    return _read(Path(__file__).parent / "data" / "calibration.toml")


def load_calibration(path: Path | None = None) -> Calibration:
    """Calibration from a file, or the shipped one."""
    return (shipped_calibration() if path is None else read_calibration(path)).calibration


def write_calibration(file: CalibrationFile, path: Path) -> None:
    """Write a calibration file; an existing file is replaced only once the new one is complete."""
    write_whole(path, format_calibration(file))


def format_calibration(file: CalibrationFile) -> str:
    """Text of a calibration file, in the order of the constants."""
    blocks = [f"{HEADER}format = {json.dumps(FORMAT)}\n"]
    own = {name: each for name, each in file.constants.items() if each.informed_by != CORPUS}
    blocks += [_constant_block(name, constant) for name, constant in own.items()]
    of_corpus = {name: each for name, each in file.constants.items() if name not in own}
    if of_corpus:
        blocks.append(_deviations_block(of_corpus))
    blocks.append(_coverage_block(file.coverage))
    blocks += [_correlation_block(correlation) for correlation in file.correlations]
    if file.anchors:
        blocks.append(_anchors_block(file.anchors))
    return "\n".join(blocks)


def _constant_block(name: str, constant: Constant) -> str:
    key = json.dumps(name) if "." in name or "[" in name else name
    # A deviation is multiplied with what is rounded as well.
    digits = 9 if "[" in name else DIGITS
    values = constant.model_dump(exclude_none=True)
    lines = [f"{field} = {_toml(value, digits)}" for field, value in values.items()]
    return "\n".join([f"[constants.{key}]", *lines, ""])


def _deviations_block(deviations: Mapping[str, Constant]) -> str:
    """Write a line for each deviation: its factor, the spread of its prior, its standard error."""
    first = next(iter(deviations.values()))
    common = [f"{key} = {_toml(getattr(first, key))}" for key in ("source", "date")]
    factors = [
        f"{json.dumps(name)} = [{', '.join(map(_toml, _parts(each)))}]"
        for name, each in deviations.items()
    ]
    return "\n".join(["[deviations]", *common, "", "[deviations.factors]", *factors, ""])


def _parts(deviation: Constant) -> tuple[float, float, float]:
    return deviation.value, deviation.spread, float(deviation.standard_error or 0.0)


def _coverage_block(coverage: Coverage, name: str = "coverage") -> str:
    """One table, and one for each part that it has."""
    parts = {part: getattr(coverage, part) for part in ("aggregated", "corpus")}
    nested = [
        _coverage_block(each, f"{name}.{part}") for part, each in parts.items() if each is not None
    ]
    return "\n".join([_coverage_table(name, coverage), *nested])


def _coverage_table(name: str, coverage: Coverage) -> str:
    values = coverage.model_dump(exclude={"aggregated", "corpus"})
    lines = [f"{field} = {_toml(value)}" for field, value in values.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _correlation_block(correlation: Correlation) -> str:
    """One list of correlations; a line per row of the matrix below its diagonal."""
    rows = [f"  {json.dumps(row)}," for row in correlation.below]
    lines = [f"constants = {_toml(correlation.constants)}", "below = [", *rows, "]"]
    return "\n".join(["[[correlations]]", *lines, ""])


def _anchors_block(anchors: Mapping[str, Anchor]) -> str:
    """Write a line for each group of rows: its level, and how many there are."""
    lines = [
        f"{toml_value(key)} = [{_toml(float(each.level))}, {each.rows}]"
        for key, each in anchors.items()
    ]
    return "\n".join(["[anchors]", *lines, ""])


def _toml(value: object, digits: int = DIGITS) -> str:
    """One value in TOML, numbers rounded."""
    return toml_value(float(f"{value:.{digits}g}") if isinstance(value, float) else value)
