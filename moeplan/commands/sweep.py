"""``moeplan sweep``: every question of a grid, as a table of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from moeplan.commands import parameters as given

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = given.examples(
    "moeplan sweep grid.yaml --output answers.csv",
    "moeplan sweep grid.yaml --output answers.parquet --jobs 8",
)

FORMS = (".csv", ".parquet")

Grid = Annotated[
    str,
    typer.Argument(
        metavar="GRID.yaml", help="Machines, targets, prices and options; docs/curves.md has keys."
    ),
]
Output = Annotated[
    str, typer.Option("--output", metavar="FILE", help="Table to write: .csv or .parquet.")
]
Jobs = Annotated[
    str | None,
    typer.Option("--jobs", metavar="NUMBER", help="Processes. [default: one for each core]"),
]


def command(grid: Grid, output: Output, jobs: Jobs = None) -> None:
    """Answer every question of a grid; what was answered before a stop is not asked again.

    Until it ends, answers stand in a folder beside the output, whose name ends in .parts.
    """
    import os  # --help does without these
    import shutil

    from moeplan import output as out
    from moeplan.numbers import file_name, whole_number
    from moeplan.sweep import read_grid, sweep
    from presets.errors import InputError, shown

    source, path = file_name("GRID.yaml", grid), file_name("--output", output)
    if path.suffix not in FORMS:
        raise InputError(
            f"--output: {shown(path.name)} is not valid; give a name that ends in "
            f"{' or '.join(FORMS)}"
        )
    out.check_writable("--output", path, {"GRID.yaml": source})
    if path.suffix == ".parquet":
        _parquet([])  # before the work: its library may be missing
    processes = os.cpu_count() or 1
    if jobs is not None:
        processes = whole_number("--jobs", jobs, 1, 1024, "processes")
    groups = read_grid(source)
    parts = path.with_name(f".{path.name}.parts")
    total = sum(group.questions for group in groups)
    with out.progress("Questions", total) as advance:

        def answered(count: int) -> None:
            for _ in range(count):
                advance()

        rows = sweep(groups, parts, processes, answered)
    content = _parquet(rows) if path.suffix == ".parquet" else out.csv_text(rows)
    out.write_file("--output", path, content)
    shutil.rmtree(parts)
    refused = sum(row["status"] == "refused" for row in rows)
    told = f", {refused:,} of them refused with a reason" if refused else ""
    out.emit(f"{len(rows):,} questions{told}: {path}")


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """Write rows as Parquet."""
    from moeplan.sweep import columns_of  # --help does without these
    from presets.extras import needed_for

    with needed_for("--output FILE.parquet", "parquet"):
        import pyarrow as pa  # a table as CSV needs none
        from pyarrow import parquet  # as above
    if not rows:
        return b""
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns_of(rows)), sink)
    return bytes(sink.getvalue())
