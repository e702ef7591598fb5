"""Measurements: the shipped tables."""

import datetime
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from presets.errors import DataFileError, unknown_name
from presets.facts import Provenance
from presets.files import explained, read_preset
from presets.folders import DATA
from presets.record import Record
from presets.rows import (
    AllReduceRow,
    AllToAllRow,
    EngineSettingsRow,
    IsoRow,
    PublishedRow,
    RunSettingsRow,
    ServingRow,
)
from presets.table_file import read_table

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
    return read_rows(FOLDER / "measured_serving.csv", ServingRow)


@lru_cache
def alltoall_rows() -> tuple[AllToAllRow, ...]:
    """Load the measured dispatch and combine latencies."""
    return read_rows(FOLDER / "alltoall_latency.csv", AllToAllRow)


@lru_cache
def allreduce_rows() -> tuple[AllReduceRow, ...]:
    """Load the measured all-reduce latencies."""
    return read_rows(FOLDER / "allreduce_latency.csv", AllReduceRow)


@lru_cache
def aggregated_rows() -> tuple[ServingRow, ...]:
    """Load the 177 measured operating points of workers that prefill and decode."""
    return read_rows(FOLDER / "aggregated_serving.csv", ServingRow)


@lru_cache
def corpus_rows() -> tuple[ServingRow, ...]:
    """Load the 4,354 published operating points of many models, engines and machines."""
    return read_rows(FOLDER / "corpus_serving.csv.gz", ServingRow)


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
    sku: str,
    precision: str,
    isl: int | None,
    decode_attention: str,
    mtp_depth: int | None,
    date: datetime.date | None = None,
) -> RunSettingsRow | None:
    """How measured runs of a kind were set up; None where there are none.

    An `isl` or `mtp_depth` of None asks for what holds for all, a `date` of None for the latest.

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
        same = same and (row.before is None or (date is not None and date < row.before))
        if same and all(getattr(row, key) in (None, value) for key, value in asked_or_any.items()):
            return row
    return None


_TABLES = {
    "aggregated_serving": aggregated_rows,
    "corpus_serving": corpus_rows,
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


def read_rows(path: Path, row_class: type[RowT]) -> tuple[RowT, ...]:
    """Read a shipped table into rows; the fields of the row are the columns.

    Raises
    ------
    DataFileError
        Where the file is malformed; the text names the line, the column, the value and what is
        valid.
    """
    table = read_table(path)
    if table.broken:
        line, problem = next(iter(table.broken.items()))
        raise DataFileError(problem, path, line=line)
    known = row_class.model_fields
    cells = [
        {name: cell for name, cell in row.items() if name in known} for row in table.rows.values()
    ]
    try:
        return tuple(TypeAdapter(list[row_class]).validate_python(cells))  # type: ignore[valid-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        row, column = first["loc"][0], str(first["loc"][1]) if len(first["loc"]) > 1 else None
        line = list(table.rows)[int(row)]
        raise DataFileError(explained(first, row_class), path, line=line, column=column) from None


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
