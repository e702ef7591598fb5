"""Writing a calibration file, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from costmodel.calibration import CORPUS, FORMAT, CalibrationFile, Constant, Coverage
from costmodel.correlation import Correlation
from presets.files import toml_value, write_whole

DIGITS = 6
"""Significant digits of a number. [1]"""

HEADER = """# Constants of the cost model, written by `moeplan calibrate`; see docs/cost-model.md.
# Times are in seconds; standard errors are of the logarithm, correlations too.
"""


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


def _toml(value: object, digits: int = DIGITS) -> str:
    """One value in TOML, numbers rounded."""
    return toml_value(float(f"{value:.{digits}g}") if isinstance(value, float) else value)
