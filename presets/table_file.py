"""Tables as users bring them: CSV of several forms, or JSON, as rows of text cells."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from presets.errors import DataFileError, shown
from presets.files import read_text

MAX_BYTES = 10_000_000
"""Longest table that is read. [B]"""

MAX_ROWS = 100_000
"""Most rows that are read. [1]"""

MAX_COLUMNS = 1000
"""Most columns that are read. [1]"""

MAX_DEPTH = 10
"""Deepest nesting of a row of JSON. [1]"""

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}

_DECIMAL_COMMA = re.compile(r"[+-]?(?:[0-9]++|[0-9]{1,3}(?:\.[0-9]{3})++),[0-9]++")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})++")


class Table(NamedTuple):
    """Rows of text by where each stands.

    Attributes
    ----------
    columns : tuple of str
        Names of the columns.
    header : int
        Line of the header; 0 where there is none.
    rows : dict of int to dict
        Filled cells by column, by line of CSV or number of the row in JSON.
    broken : dict of int to str
        What is wrong with rows that could not be parted into cells.
    notes : tuple of str
        How the file was understood where that is not plain.
    """

    columns: tuple[str, ...]
    header: int
    rows: dict[int, dict[str, str]]
    broken: dict[int, str]
    notes: tuple[str, ...] = ()


def read_table(path: Path) -> Table:
    """Read a table.

    Parameters
    ----------
    path : Path
        CSV parted by commas, semicolons or tabs, with any line ends; the two-part CSV of one run
        that AIPerf writes; or a JSON object or list of objects, whose nested keys become columns
        such as ``metrics.median_tpot``.

    Raises
    ------
    DataFileError
        Where the file cannot be read, is larger than the bounds above, or has no header or no rows.
    """
    text = read_text(path, MAX_BYTES)
    table = _json_table(text, path) if text.lstrip()[:1] in ("[", "{") else _csv_table(text, path)
    if not table.rows and not table.broken:
        raise DataFileError("has no rows under a header; give one line per row", path)
    return table


def _csv_table(text: str, path: Path) -> Table:
    first = next((line for line in text.splitlines() if _is_data(line)), "")
    delimiter = max(DELIMITERS, key=first.count)
    lines = _records(text, delimiter, path)
    number, header, problem = next(lines, (0, [], None))
    names = [cell.strip() for cell in header]
    if problem:
        raise DataFileError(problem, path, line=number)
    if len(names) > MAX_COLUMNS:
        reason = f"has {len(names)} columns; at most {MAX_COLUMNS} are read"
        raise DataFileError(reason, path, line=number)
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise DataFileError(f"column {shown(twice[0])} stands twice; keep one", path, line=number)
    if names[:1] == ["Metric"]:
        return _run_table(names, lines)
    rows: dict[int, dict[str, str]] = {}
    broken: dict[int, str] = {}
    for number, cells, problem in lines:
        if problem is None and len(cells) != len(names):
            problem = f"has {len(cells)} cells; the header has {len(names)}"
        if problem is not None:
            broken[number] = problem
            continue
        if len(rows) == MAX_ROWS:
            raise DataFileError(f"has more than {MAX_ROWS} rows, the most read", path)
        pairs = zip(names, (cell.strip() for cell in cells), strict=True)
        rows[number] = {name: cell for name, cell in pairs if cell and name}
    table = Table(tuple(filter(None, names)), 1, rows, broken)
    return table if delimiter == "," else _with_points(table, delimiter)


def _is_data(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _records(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str], str | None]]:
    """Line, cells and fault of each record; blank lines and leading comments are left out."""
    begun = False
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if not begun:
                raise DataFileError(f"is not CSV: {error}", path, line=reader.line_num) from None
            yield reader.line_num, [], f"is not CSV: {error}"
            continue
        blank = not any(cell.strip() for cell in cells)
        if blank or (not begun and cells[0].startswith("#")):
            continue
        begun = True
        yield reader.line_num, cells, None


def _run_table(names: list[str], lines: Iterator[tuple[int, list[str], str | None]]) -> Table:
    """One row from the statistics of one run: a line per metric, a column per statistic."""
    cells: dict[str, str] = {}
    for _, record, _ in lines:
        if record[:1] == ["Metric"]:
            names = [name.strip() for name in record]
            continue
        for name, cell in zip(names[1:], record[1:], strict=False):
            if cell.strip() and len(cells) < MAX_COLUMNS:
                cells[f"{record[0].strip()}.{name}"] = cell.strip()
    return Table(tuple(cells), 0, {1: cells} if cells else {}, {})


def _with_points(table: Table, delimiter: str) -> Table:
    """Read decimal commas, which go with semicolons; what could be either is refused."""
    every = [cell for cells in table.rows.values() for cell in cells.values()]
    notes = [f"{DELIMITERS[delimiter]} part its columns"]
    if not any(_DECIMAL_COMMA.fullmatch(cell) for cell in every):
        return table._replace(notes=tuple(notes))
    rows, broken = {}, dict(table.broken)
    for line, cells in table.rows.items():
        unclear = [name for name, cell in cells.items() if _THOUSANDS.fullmatch(cell)]
        if unclear:
            cell = shown(cells[unclear[0]])
            broken[line] = (
                f"column {unclear[0]}: {cell} has a point where other cells have decimal commas; "
                "write one way"
            )
            continue
        rows[line] = {name: _point(cell) for name, cell in cells.items()}
    notes.append("decimal commas are read as points")
    return table._replace(rows=rows, broken=broken, notes=tuple(notes))


def _point(cell: str) -> str:
    if _DECIMAL_COMMA.fullmatch(cell):
        return cell.replace(".", "").replace(",", ".")
    return cell


def _json_table(text: str, path: Path) -> Table:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataFileError(f"is not JSON: {error.msg}", path, line=error.lineno) from None
    except (ValueError, RecursionError) as error:
        raise DataFileError(f"is not JSON: {error}", path) from None
    records = content if isinstance(content, list) else [content]
    if len(records) > MAX_ROWS:
        raise DataFileError(f"has more than {MAX_ROWS} rows, the most read", path)
    rows: dict[int, dict[str, str]] = {}
    broken: dict[int, str] = {}
    for number, record in enumerate(records, start=1):
        cells: dict[str, str] = {}
        if isinstance(record, dict) and _flatten(record, "", cells, 0):
            rows[number] = cells
        else:
            broken[number] = (
                f"is no object of at most {MAX_COLUMNS} keys, nested at most {MAX_DEPTH} deep"
            )
    columns = dict.fromkeys(name for cells in rows.values() for name in cells)
    return Table(tuple(columns), 0, rows, broken)


def _flatten(value: Any, name: str, cells: dict[str, str], depth: int) -> bool:
    """Gather filled values under dotted names; False where there are too many."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return depth < MAX_DEPTH and all(
            _flatten(item, f"{name}.{key}" if name else str(key), cells, depth + 1)
            for key, item in items
        )
    if value is not None:
        text = value if isinstance(value, str) else json.dumps(value)
        if text.strip():
            cells[name] = text.strip()
    return len(cells) <= MAX_COLUMNS
