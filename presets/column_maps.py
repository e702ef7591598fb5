"""Column maps: how the columns of other programs' exports become those of measured rows."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from presets.errors import DataFileError, closest_hint, shown
from presets.facts import Provenance, Text
from presets.files import read_toml, validated
from presets.folders import DATA
from presets.pools import NO_PREFILL_WORKERS
from presets.record import Record
from presets.rows import ServingRow

MAX_BYTES = 100_000
"""Longest map that is read. [B]"""

DERIVED = ("prefill_gpus", "decode_gpus", "total_tok_s")
"""What a map may give besides the columns of rows, for rows to be computed from.

GPUs of all workers of a role [GPU]; tokens of all GPUs [token/s].
"""


class Source(Record):
    """Where the value of one column comes from.

    Attributes
    ----------
    column : str or None
        Column of the export.
    unit, unit_column : str or None
        Unit of its values, or the column that names it; None where it is that of the row.
    until : str or None
        The value ends before the first of these characters.
    values : dict
        What values stand for; a value that is not there stays.
    blank : str, int, float or None
        What a blank cell stands for; None leaves it blank.
    value : str, int, float or None
        The same for all rows, in place of a column.
    """

    column: Text | None = None
    unit: Text | None = None
    unit_column: Text | None = None
    until: Text | None = None
    values: dict[str, str] = Field(default_factory=dict)
    blank: Text | int | float | None = None
    value: Text | int | float | None = None


def _source(given: Any) -> Any:
    """Read the short forms: text is a column, a number the same for all rows."""
    if isinstance(given, str):
        return {"column": given}
    return given if isinstance(given, dict | Source) else {"value": given}


class ColumnMap(Record):
    """How an export becomes measured rows.

    Attributes
    ----------
    title : str
        Of the export, in print.
    provenance : Provenance or None
        Where its format is described.
    recognised_by : tuple of str
        Columns that say that a file is such an export; none: by being named alone.
    columns : dict
        Source of each column of `ServingRow`, or of `DERIVED`.
    all_users_fit : bool
        Whether a `max_batch` that is not there is taken so large that no user waits for a slot.
    note : str
        What is taken for granted.
    missing : dict
        Why a column may not be there, and what to do about it.
    """

    title: Text = "a map of columns"
    provenance: Provenance | None = None
    recognised_by: tuple[Text, ...] = ()
    columns: dict[str, Annotated[Source, BeforeValidator(_source)]] = Field(max_length=100)
    all_users_fit: bool = False
    note: str = ""
    missing: dict[str, Text] = Field(default_factory=dict)


@lru_cache
def shipped_maps() -> tuple[ColumnMap, ...]:
    """Load the maps of the exports that are recognised."""
    return tuple(read_column_map(path) for path in sorted((DATA / "columns").glob("*.toml")))


def read_column_map(path: Path) -> ColumnMap:
    """Read a map of columns.

    Raises
    ------
    DataFileError
        Where the file is no map, or maps to a column that rows do not have.
    """
    found = validated(ColumnMap, read_toml(path, MAX_BYTES), path)
    valid = (*ServingRow.model_fields, *DERIVED)
    for key, source in found.columns.items():
        if key not in valid:
            problem = f"is no column of measured rows; {closest_hint(key, valid)}"
            raise DataFileError(problem, path, key=f"columns.{key}")
        if (source.column is None) == (source.value is None):
            problem = "must have a column of the export or a value for all rows, one of the two"
            raise DataFileError(problem, path, key=f"columns.{key}")
    return found


def map_of(columns: tuple[str, ...], extension: ColumnMap | None) -> ColumnMap | None:
    """Find the map of a file by its columns, extended by a user's; None where it needs none."""
    names = set(columns)
    known = [each for each in shipped_maps() if set(each.recognised_by) <= names]
    if extension is None:
        return known[0] if known else None
    if not known:
        return extension
    base = known[0]
    given = extension.model_fields_set - {"columns", "missing", "recognised_by"}
    update = {name: getattr(extension, name) for name in given}
    merged = {
        name: getattr(base, name) | getattr(extension, name) for name in ("columns", "missing")
    }
    return base.model_copy(update=update | merged)


def mapped(cells: Mapping[str, str], by: ColumnMap) -> dict[str, str]:
    """Cells of a measured row from those of an export; a column with its own name stays.

    Raises
    ------
    ValueError
        Where GPUs do not go into workers.
    """
    row = {name: cell for name, cell in cells.items() if name in ServingRow.model_fields}
    for key, source in by.columns.items():
        value = _value(cells, source)
        if value is not None:
            row[key] = value
    return _derived(row, by)


def _value(cells: Mapping[str, str], source: Source) -> str | None:
    if source.value is not None:
        return str(source.value)
    cell = cells.get(source.column or "")
    if cell is None:
        return None if source.blank is None else str(source.blank)
    if source.until is not None:
        cell = cell[: next((i for i, each in enumerate(cell) if each in source.until), len(cell))]
    unit = source.unit or cells.get(source.unit_column or "")
    cell = source.values.get(cell, cell)
    return f"{cell} {unit}" if unit else cell or None


def _derived(row: dict[str, str], by: ColumnMap) -> dict[str, str]:
    """Compute workers from GPUs, throughput per GPU from that of all, and a batch for all users."""
    if row.get("serving") == "aggregated":  # an export may count its GPUs under either role
        counted = [key for key in by.columns if key.startswith("prefill_")]
        row = {key: cell for key, cell in row.items() if key not in counted}
        row = {key: str(value) for key, value in NO_PREFILL_WORKERS.items()} | row
    for role in ("prefill", "decode"):
        _part(row, f"{role}_gpus", f"{role}_workers", f"{role}_gpus_per_worker")
    numbers = {key: _count(row.get(key)) for key in row}
    gpus = sum(
        numbers.get(f"{role}_workers", 0) * numbers.get(f"{role}_gpus_per_worker", 0)
        for role in ("prefill", "decode")
    )
    total = row.pop("total_tok_s", None)
    if total is not None and gpus and "total_tok_s_per_gpu" not in row:
        number, _, _ = total.partition(" ")
        row["total_tok_s_per_gpu"] = repr(float(number.replace(",", "")) / gpus)
    workers, users = numbers.get("decode_workers", 0), numbers.get("concurrency", 0)
    if by.all_users_fit and "max_batch" not in row and workers and users:
        ranks = numbers.get("decode_gpus_per_worker", 0) or 1
        groups = ranks // (numbers.get("decode_attention_tp", 0) or 1)
        holders = workers * (max(groups, 1) if row.get("decode_attention") == "dp" else 1)
        row["max_batch"] = str(-(-users // holders))
    return row


def _part(row: dict[str, str], total: str, workers: str, each: str) -> None:
    """Part GPUs into workers by the number of workers or the size of one, whichever is there."""
    gpus = _count(row.pop(total, None))
    known = [key for key in (workers, each) if key in row]
    if not gpus or len(known) != 1:
        return
    parts = _count(row[known[0]])
    if not parts or gpus % parts:
        raise ValueError(
            f"{known[0]} {shown(row[known[0]])} does not divide the {gpus} GPUs of {total}"
        )
    row[each if known[0] == workers else workers] = str(gpus // parts)


def _count(cell: str | None) -> int:
    """Whole number of a cell; 0 where it is none."""
    text = (cell or "").replace(",", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
