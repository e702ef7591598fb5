"""Measured rows of a user's table: what can be read, and all that cannot, at once."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from presets.column_maps import ColumnMap, map_of, mapped, read_column_map
from presets.errors import DataFileError, InputWarning, escaped, shown
from presets.files import explained
from presets.pools import NO_PREFILL_WORKERS
from presets.quantities import quantity, valid_quantity
from presets.rows import PublishedRow, ServingRow
from presets.table_file import Table, read_table

MOST_LISTED = 20
"""Most refused rows, and ignored columns, that are listed. [1]"""

MOST_FAULTS = 4
"""Most faults of one row that are listed. [1]"""

UNITS = {
    **dict.fromkeys(("isl", "osl", "mtp_depth"), "token"),
    **dict.fromkeys(("prefill_gpus_per_worker", "decode_gpus_per_worker", "decode_ep"), "GPU"),
    **dict.fromkeys(("prefill_workers", "decode_workers"), "worker"),
    **dict.fromkeys(("max_batch", "concurrency", "requests_in_decode"), "request"),
    **dict.fromkeys(("eplb_slots", "frontends"), "1"),
    "nic_gb_s": "GB/s",
    **dict.fromkeys(
        (
            *("ttft_ms", "tpot_ms", "ttft_median_ms", "tpot_median_ms", "iteration_ms"),
            *("tpot_p90_ms", "tpot_p99_ms", "ttft_p90_ms", "ttft_p99_ms"),
        ),
        "ms",
    ),
    **dict.fromkeys(("total_tok_s_per_gpu", "tok_s_per_user"), "tok/s"),
}
"""Unit of each column that is a quantity."""


@dataclass(frozen=True)
class MeasuredRows:
    """Measured rows of one file.

    Attributes
    ----------
    path : Path
        The file.
    rows : dict of int to ServingRow
        By line of the file (by number, in JSON).
    refused : dict of int to str
        What is wrong with each other row, and what would be valid.
    ignored : dict of str to str or None
        Columns that are not read, each with the column that is likely meant.
    notes : tuple of str
        How the file was understood where that is not plain.
    """

    path: Path
    rows: dict[int, ServingRow]
    refused: dict[int, str] = field(default_factory=dict)
    ignored: dict[str, str | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def without(self, refused: Mapping[int, str]) -> "MeasuredRows":
        """Refuse further rows, each for its reason."""
        rows = {line: row for line, row in self.rows.items() if line not in refused}
        return replace(
            self, rows=rows, refused=dict(sorted((self.refused | dict(refused)).items()))
        )

    def faults(self) -> list[str]:
        """List the refused rows by line, at most `MOST_LISTED`, and how many more there are."""
        listed = [
            f"line {line}{', ' if problem.startswith('column ') else ': '}{problem}"
            for line, problem in list(self.refused.items())[:MOST_LISTED]
        ]
        more = len(self.refused) - len(listed)
        return [*listed, *([f"and {more} more"] if more else [])]

    def check(self) -> None:
        """Warn of what was ignored or refused.

        Raises
        ------
        DataFileError
            Where no row is left: with one row its fault, with more all of them as notes.
        """
        for note in self.notes:
            _warn(f"{self.path}: {note}")
        if self.ignored:
            _warn(f"{self.path}: {_ignored(self.ignored)}")
        count, total = len(self.refused), len(self.refused) + len(self.rows)
        if not self.rows and count == 1:
            ((line, problem),) = self.refused.items()
            column, found, rest = problem.removeprefix("column ").partition(": ")
            if found and problem.startswith("column "):
                raise DataFileError(rest, self.path, line=line, column=column)
            raise DataFileError(problem, self.path, line=line)
        if not self.rows:
            error = DataFileError(
                f"none of {total} rows can be read; the first: {self.faults()[0]}", self.path
            )
            for fault in self.faults():
                error.add_note(escaped(fault))
            raise error
        if count:
            _warn(
                "\n  ".join([f"{self.path}: {count} of {total} rows are refused", *self.faults()])
            )


def read_measured_rows(path: str | Path, columns: str | Path | None = None) -> MeasuredRows:
    """Read a user's measurements: every row that can be, with what is wrong with the others.

    Parameters
    ----------
    path : str or Path
        A table in the columns of `measured_serving.csv` or of the published one, or an export that
        a map of columns describes; in a form that `read_table` knows. The columns of the
        configuration must be filled; measured ones may be missing or blank.
    columns : str, Path or None
        File with a map of columns of the user's own.

    Raises
    ------
    DataFileError
        Where a file is none of these, or needed columns are missing for all rows.
    """
    path = Path(path)
    table = read_table(path)
    extension = None if columns is None else read_column_map(Path(columns))
    by = map_of(table.columns, extension)
    refused = dict(table.broken)
    cells = table.rows
    if by is None:
        _check_header(table, path)
        cells = {line: _known(row) for line, row in cells.items()}
    else:
        cells = _mapped(table, by, refused)
    rows = _validated(cells, refused, by)
    return MeasuredRows(
        path=path,
        rows=rows,
        refused=dict(sorted(refused.items())),
        ignored=_not_read(table.columns, by, cells.values()),
        notes=(*table.notes, *([] if by is None else [_how(by)])),
    )


def _known(cells: Mapping[str, str]) -> dict[str, str]:
    return {name: cell for name, cell in cells.items() if name in ServingRow.model_fields}


def _mapped(table: Table, by: ColumnMap, refused: dict[int, str]) -> dict[int, dict[str, str]]:
    """Rows of an export in our columns; what cannot be mapped goes to `refused`."""
    rows = {}
    for line, cells in table.rows.items():
        try:
            rows[line] = mapped(cells, by)
        except ValueError as error:
            refused[line] = str(error)
    return rows


def _how(by: ColumnMap) -> str:
    """Say how an export is read."""
    pairs = [
        f"{key} from {shown(source.column)}" if source.column else f"{key} {source.value}"
        for key, source in by.columns.items()
    ]
    return f"read as {by.title}: {', '.join(pairs)}" + (f"; {by.note}" if by.note else "")


def _check_header(table: Table, path: Path) -> None:
    """Refuse a table without a needed column, all of which are named with what is likely meant."""
    required = [name for name in _required() if not _is_said_by_serving(name, table)]
    missing = [name for name in required if name not in table.columns]
    if not missing:
        return
    others = [name for name in table.columns if name not in ServingRow.model_fields]
    likely = {name: _likely(name, others) for name in missing}
    hints = [f"{name} may be {shown(other)}" for name, other in likely.items() if other]
    also = f", as are {len(missing) - 1} more" if missing[1:] else ""
    hint = f"; {', '.join(hints)}: rename, or map them with --columns" if hints else ""
    problem = f"column {missing[0]} is missing{also}{hint}; needed: {', '.join(required)}"
    raise DataFileError(problem, path, line=table.header or None, column=missing[0])


def _is_said_by_serving(name: str, table: Table) -> bool:
    """Whether a column may be missing: one pool has no prefill workers, of which rows speak."""
    return name in NO_PREFILL_WORKERS and "serving" in table.columns


def _required() -> list[str]:
    return [name for name, field in ServingRow.model_fields.items() if field.is_required()]


@lru_cache
def _adapter() -> TypeAdapter[list[ServingRow]]:
    return TypeAdapter(list[ServingRow])


def _validated(
    cells: Mapping[int, dict[str, str]], refused: dict[int, str], by: ColumnMap | None
) -> dict[int, ServingRow]:
    """Rows that are valid; the fault of each other goes to `refused`."""
    good: dict[int, dict[str, object]] = {}
    for line, row in cells.items():
        try:
            good[line] = _quantities(row)
        except ValueError as error:
            refused[line] = str(error)
    lines = list(good)
    try:
        # One call for all rows: a call per row takes twice as long.
        return dict(zip(lines, _adapter().validate_python(list(good.values())), strict=True))
    except ValidationError as error:
        faults: dict[int, list[str]] = {}
        for each in error.errors(include_url=False):
            index, *place = each["loc"]
            column = str(place[0]) if place else ""
            problem = explained(each, ServingRow)
            if each["type"] == "missing":
                problem = "is blank; it must be filled"
                if by is not None:
                    problem = f"is not there; {by.missing.get(column, 'give it by --columns')}"
            text = f"column {column}: {problem}" if column else problem
            faults.setdefault(lines[int(index)], []).append(text)
        refused |= {line: "; ".join(texts[:MOST_FAULTS]) for line, texts in faults.items()}
    kept = {line: row for line, row in good.items() if line not in refused}
    return dict(zip(kept, _adapter().validate_python(list(kept.values())), strict=True))


def _quantities(row: Mapping[str, str]) -> dict[str, object]:
    result: dict[str, object] = dict(row)
    for name, unit in UNITS.items():
        cell = row.get(name, "1")
        if _is_number(cell):
            continue
        try:
            result[name] = quantity(cell, unit)
        except ValueError as error:
            raise ValueError(
                f"column {name}: {error}; give a number, {valid_quantity(unit)}"
            ) from None
    return result


def _is_number(cell: str) -> bool:
    """Say whether a cell is a plain number, as nearly all are."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _not_read(
    columns: Sequence[str], by: ColumnMap | None, rows: Iterable[Mapping[str, str]]
) -> dict[str, str | None]:
    """Columns that nothing is taken from, with what each is likely meant for."""
    known = {*ServingRow.model_fields, *PublishedRow.model_fields}
    if by is not None:
        known |= {
            each
            for source in by.columns.values()
            for each in (source.column, source.unit_column)
            if each
        }
    filled = {name for row in rows for name in row}
    free = [name for name in ServingRow.model_fields if name not in filled]
    return {name: _likely(name, free) for name in columns if name not in known}


def _likely(name: str, names: Sequence[str]) -> str | None:
    """Which of some names is likely the same as one."""
    import difflib  # only faults need it

    plain = {_plain(each): each for each in reversed(names) if len(each) > 2}
    wanted = _plain(name)
    inside = [each for each in plain if len(wanted) > 2 and (each in wanted or wanted in each)]
    near = inside or difflib.get_close_matches(wanted, plain, n=1, cutoff=0.75)
    if not near:
        return None
    return plain[max(near, key=lambda each: difflib.SequenceMatcher(None, wanted, each).ratio())]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name[:60].lower()).strip("_")


def _ignored(columns: Mapping[str, str | None]) -> str:
    listed = [
        f"{shown(name)} (did you mean {likely}?)" if likely else shown(name)
        for name, likely in sorted(columns.items(), key=lambda item: item[1] is None)
    ]
    more = f" and {len(listed) - MOST_LISTED} more" if len(listed) > MOST_LISTED else ""
    return f"ignored columns: {', '.join(listed[:MOST_LISTED])}{more}"


def _warn(text: str) -> None:
    warnings.warn(escaped(text), InputWarning, stacklevel=3)
