"""Measurements: the shipped tables, and tables of the same form that a user brings."""

import csv
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from presets.errors import DataFileError, shown, unknown_name
from presets.facts import Provenance, Record
from presets.files import DATA, explained, read_preset, read_text
from presets.rows import (
    AllReduceRow,
    AllToAllRow,
    EngineSettingsRow,
    IsoRow,
    PublishedRow,
    RunSettingsRow,
    ServingRow,
)

MAX_BYTES = 10_000_000
"""Longest table that is read. [B]"""

MAX_ROWS = 100_000
"""Most rows that are read. [1]"""

FOLDER = DATA / "measurements"

RowT = TypeVar("RowT", bound=Record)


class _Sources(Record):
    tables: dict[str, Provenance]


@lru_cache
def measurement_sources() -> Mapping[str, Provenance]:
    """Where each shipped table comes from, by name of the table, with its units."""
    return MappingProxyType(read_preset(FOLDER / "sources.toml", _Sources).tables)


@lru_cache
def published_rows() -> tuple[PublishedRow, ...]:
    """Load the 20 published rows, GB200 first, as printed.

    Examples
    --------
    >>> [row.tok_s_per_user for row in published_rows() if row.sku == "b200"][0]
    309.17
    """
    return read_rows(FOLDER / "inferencex_2026-05-22.csv", PublishedRow)


@lru_cache
def iso_rows() -> tuple[IsoRow, ...]:
    """Load the published comparison at equal interactivity."""
    return read_rows(FOLDER / "inferencex_2026-05-22_iso.csv", IsoRow)


@lru_cache
def serving_rows() -> tuple[ServingRow, ...]:
    """Load the 202 measured operating points."""
    return read_serving_rows(FOLDER / "measured_serving.csv")


@lru_cache
def alltoall_rows() -> tuple[AllToAllRow, ...]:
    """Load the measured dispatch and combine latencies."""
    return read_rows(FOLDER / "alltoall_latency.csv", AllToAllRow)


@lru_cache
def allreduce_rows() -> tuple[AllReduceRow, ...]:
    """Load the measured all-reduce latencies."""
    return read_rows(FOLDER / "allreduce_latency.csv", AllReduceRow)


@lru_cache
def engine_settings_rows() -> tuple[EngineSettingsRow, ...]:
    """Load the engine settings behind the FP4 rows on B200 and GB200."""
    return read_rows(FOLDER / "engine_settings.csv", EngineSettingsRow)


@lru_cache
def run_settings_rows() -> tuple[RunSettingsRow, ...]:
    """Load how the runs behind measured rows were set up, the particular before the general."""
    return read_rows(FOLDER / "run_settings.csv", RunSettingsRow)


@lru_cache
def run_settings(
    sku: str, precision: str, isl: int | None, decode_attention: str, mtp_depth: int | None
) -> RunSettingsRow | None:
    """How measured runs of a kind were set up; None where there are none.

    An `isl` or `mtp_depth` of None asks for what holds for all.

    Examples
    --------
    >>> run_settings("b200", "fp8", 8192, "dp", 0).moe_backend
    'TRTLLM'
    >>> run_settings("b200", "fp8", 1024, "dp", 0).moe_backend
    'DEEPGEMM'
    """
    asked = {"sku": sku, "precision": precision, "decode_attention": decode_attention}
    asked_or_any = {"isl": isl, "mtp_depth": mtp_depth}
    for row in run_settings_rows():
        same = all(getattr(row, key) == value for key, value in asked.items())
        if same and all(getattr(row, key) in (None, value) for key, value in asked_or_any.items()):
            return row
    return None


_TABLES = {
    "allreduce_latency": allreduce_rows,
    "alltoall_latency": alltoall_rows,
    "inferencex_2026-05-22": published_rows,
    "inferencex_2026-05-22_iso": iso_rows,
    "measured_serving": serving_rows,
}


@lru_cache
def load_columns(table: str) -> Mapping[str, NDArray[Any]]:
    """Load a shipped table by columns.

    Parameters
    ----------
    table : str
        Name of the table, as in `measurement_sources`; all but "engine_settings".

    Returns
    -------
    mapping of str to array
        Read-only arrays: numbers as float or int, a missing number as NaN, text as str.

    Examples
    --------
    >>> int(load_columns("allreduce_latency")["gpus"].max())
    8
    """
    if table not in _TABLES:
        raise unknown_name("table", table, _TABLES)
    rows = _TABLES[table]()
    names = type(rows[0]).model_fields
    return MappingProxyType({name: _array(getattr(row, name) for row in rows) for name in names})


def read_serving_rows(path: str | Path) -> tuple[ServingRow, ...]:
    """Read a user's measurements.

    Parameters
    ----------
    path : str or Path
        A CSV file of at most `MAX_BYTES` and `MAX_ROWS` rows, in the columns of
        `measured_serving.csv` or of the published table. The columns of the configuration must be
        there and filled; measured columns may be missing or blank; other columns are ignored.

    Raises
    ------
    DataFileError
        Where the file is malformed; the text names the line, the column, the value and what is
        valid.
    """
    return read_rows(Path(path), ServingRow)


def read_rows(path: Path, row_class: type[RowT]) -> tuple[RowT, ...]:
    """Read a CSV file into rows; the fields of the row are the columns."""
    return tuple(read_numbered_rows(path, row_class).values())


def read_numbered_rows(path: Path, row_class: type[RowT]) -> dict[int, RowT]:
    """Read a CSV file into rows by their line in the file; arguments as in `read_rows`."""
    lines, cells = _cells(path, row_class)
    try:
        # One call for all rows: a call per row takes twice as long.
        return dict(zip(lines, _adapter(row_class).validate_python(cells), strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        row, column = first["loc"][0], str(first["loc"][1]) if len(first["loc"]) > 1 else None
        problem = explained(first, row_class)
        if first["type"] == "missing":
            problem = "is blank; it must be filled"
        raise DataFileError(problem, path, line=lines[int(row)], column=column) from None


@lru_cache
def _adapter(row_class: type[RowT]) -> TypeAdapter[list[RowT]]:
    return TypeAdapter(list[row_class])  # type: ignore[valid-type]


def _cells(path: Path, row_class: type[Record]) -> tuple[list[int], list[dict[str, str]]]:
    """Line number and filled cells of each row, for the columns that the row class knows."""
    reader = csv.reader(read_text(path, MAX_BYTES).splitlines(keepends=True), strict=True)
    lines: list[int] = []
    cells: list[dict[str, str]] = []
    header: list[str] | None = None
    try:
        for record in reader:
            if not any(cell.strip() for cell in record):
                continue
            if header is None:
                header = _header(record, row_class, path, reader.line_num)
                continue
            if len(record) != len(header):
                problem = f"has {len(record)} cells; the header has {len(header)}"
                raise DataFileError(problem, path, line=reader.line_num)
            if len(cells) == MAX_ROWS:
                raise DataFileError(f"has more than {MAX_ROWS} rows, the most read", path)
            lines.append(reader.line_num)
            cells.append(_filled(header, record, row_class))
    except csv.Error as error:
        raise DataFileError(f"is not CSV: {error}", path, line=reader.line_num) from None
    if not cells:
        raise DataFileError("has no rows under a header", path)
    return lines, cells


def _filled(header: list[str], record: list[str], row_class: type[Record]) -> dict[str, str]:
    pairs = zip(header, (cell.strip() for cell in record), strict=True)
    return {name: cell for name, cell in pairs if cell and name in row_class.model_fields}


def _header(record: list[str], row_class: type[Record], path: Path, line: int) -> list[str]:
    """Check that the columns are named once each and that none is missing."""
    names = [cell.strip() for cell in record]
    for name in names:
        if names.count(name) > 1:
            raise DataFileError(f"column {shown(name)} stands twice", path, line=line)
    required = [name for name, field in row_class.model_fields.items() if field.is_required()]
    missing = [name for name in required if name not in names]
    if missing:
        problem = f"column {missing[0]} is missing; needed: {', '.join(required)}"
        raise DataFileError(problem, path, line=line, column=missing[0])
    return names


def _array(values: Iterable[Any]) -> NDArray[Any]:
    """Column as an array that cannot be written to; a missing value is NaN or blank."""
    cells = list(values)
    if any(isinstance(cell, int | float) for cell in cells):
        cells = [np.nan if cell is None else cell for cell in cells]
        array = np.array(cells)
    elif all(cell is None for cell in cells):
        array = np.full(len(cells), np.nan)
    else:
        array = np.array(["" if cell is None else str(cell) for cell in cells])
    array.setflags(write=False)
    return array
