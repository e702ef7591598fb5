"""Where text goes: the terminal, JSON, CSV, or a file written whole."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from presets.errors import DataFileError, InputError, escaped, shown

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

PLAIN_WIDTH = 100
"""Columns where no terminal says how many it has. [1]"""

LEAST_WIDTH = 20
"""Columns that are taken where a terminal says that it has fewer, or none. [1]"""

BROKEN_PIPE = 141
"""Exit status when the reader of the output has gone, as a shell reports SIGPIPE. [1]"""


def emit(text: str) -> None:
    """Print text to standard output, escaped; end quietly where its reader has gone."""
    _write(escaped(text))


def _write(text: str) -> None:
    with _guarded():
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()


@contextmanager
def _guarded() -> Iterator[None]:
    """End quietly where the reader of the output has gone, and in one sentence where it is full.

    Raises
    ------
    InputError
        Where standard output is closed, or its disk is full.
    """
    try:
        yield
    except BrokenPipeError:
        # What is left in the buffer must not be written again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from None
    except (OSError, AttributeError) as error:
        if sys.stdout is not None and not isinstance(error, OSError):
            raise
        sys.stdout = None  # nothing may be flushed there at the end
        reason = getattr(error, "strerror", None) or "it is closed"
        raise InputError(f"standard output cannot be written: {reason}") from None


def note(*sentences: str) -> None:
    """Say something beside the answer, on standard error."""
    for sentence in sentences:
        print(f"Note: {sentence}.", file=sys.stderr)


def emit_json(content: Mapping[str, Any]) -> None:
    """Print JSON; a value that is no JSON number is an error of this program."""
    emit(json.dumps(content, indent=2, allow_nan=False))


def emit_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of rows with equal keys; a missing value is blank."""
    emit(csv_text(rows))


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    r"""Write a table of rows with equal keys as CSV text.

    Examples
    --------
    >>> csv_text([{"sku": "b200", "price": None}])
    'sku,price\nb200,\n'
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def emit_report(parts: Iterable[RenderableType]) -> None:
    """Print tables and paragraphs, their text escaped; colour goes to a terminal only."""
    with _guarded():
        screen = console(sys.stdout)
        with screen.capture() as captured:
            for part in parts:
                screen.print(_Escaped(part), crop=False)
    lines = (line.rstrip() for line in captured.get().split("\n"))
    _write("\n".join(lines))


class _Escaped:
    """What is printed, without what a terminal would obey in its text."""

    def __init__(self, part: RenderableType) -> None:
        self._part = part

    def __rich_console__(self, screen: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment  # --json draws nothing

        for segment in screen.render(self._part, options):
            text = segment.text if segment.control else escaped(segment.text)
            yield Segment(text, segment.style, segment.control)


def console(file: Any) -> Console:
    """Open a console on a stream, as wide as COLUMNS or its terminal say, else `PLAIN_WIDTH`."""
    from rich.console import Console  # --json draws nothing

    told = file.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return Console(
        file=file,
        width=max(Console(file=file).width, LEAST_WIDTH) if told else PLAIN_WIDTH,
        # Without colour rich would still print bold and dim.
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )


def columns() -> int:
    """How wide standard output is [1]."""
    return console(sys.stdout).width


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Show a bar on standard error, or a spinner where no `total` is known.

    Gives what to call after each piece of work, or each evaluation where there is no total.
    """
    # --json draws nothing
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    counted: tuple[ProgressColumn, ...] = (BarColumn(), MofNCompleteColumn())
    if total is None:
        spinner = SpinnerColumn(finished_text="")
        counted = (spinner, TextColumn("evaluations: {task.completed:,.0f}"))
    screen = console(sys.stderr)
    bar = Progress(TextColumn(title), *counted, TimeElapsedColumn(), console=screen)
    task = bar.add_task(title, total=total)

    def advance() -> None:
        bar.start()  # not before: what is refused is refused without a bar
        bar.advance(task)

    try:
        yield advance
        bar.update(task, total=bar.tasks[task].completed)
    finally:
        if bar.live.is_started:
            bar.stop()


def write_file(option: str, path: Path, content: str | bytes) -> None:
    """Write a file whole, or say why it cannot be.

    Raises
    ------
    InputError
        Naming the option and the path.
    """
    from presets.files import write_whole  # with pydantic, which a refusal does without

    check_writable(option, path)
    try:
        write_whole(path, content)
    except OSError as error:
        raise _unwritable(option, path, error.strerror or str(error)) from None


def check_writable(
    option: str, path: Path, inputs: Mapping[str, Path | str | None] | None = None
) -> None:
    """Refuse, before the work is done, a file that cannot be written, or that is read.

    Parameters
    ----------
    option : str
        What named the file, for messages.
    path : Path
        The file.
    inputs : mapping, optional
        The other files of the command, by what named them.

    Raises
    ------
    InputError
        Naming the option and the path.
    """
    from presets.files import same_file  # as above

    try:
        problem = _problem(path)
        if problem is None:
            named = {name: Path(other) for name, other in (inputs or {}).items() if other}
            also = [name for name, other in named.items() if same_file(path, other)]
            problem = f"it is also {also[0]}" if also else None
    except OSError as error:
        problem = error.strerror or str(error)
    except ValueError:  # a NUL in the name
        problem = "it is not a file name"
    if problem:
        raise _unwritable(option, path, problem)


def check_replaceable_rows(option: str, path: Path) -> None:
    """Refuse a file of rows that holds measurements, or anything but rows.

    Raises
    ------
    InputError
        Naming the option and the path.
    """
    from presets import read_measured_rows  # only rows to measure need it

    if not path.is_file() or path.stat().st_size == 0:
        return
    try:
        found = read_measured_rows(path)
    except DataFileError:
        found = None
    if found is None or found.refused or any(row.is_measured for row in found.rows.values()):
        reason = "it is there and is no file of rows without measurements"
        raise _unwritable(option, path, reason)


def _problem(path: Path) -> str | None:
    """Say why a file cannot be written; None where it can."""
    from presets.files import is_stream, link_target  # as above

    if path.is_dir():
        return "it is a folder"
    if is_stream(path):
        return None if os.access(path, os.W_OK) else "it cannot be written to"
    folder = link_target(path).parent
    if not folder.is_dir():
        return f"there is no folder {str(folder if path.is_symlink() else path.parent)!r}"
    return None if os.access(folder, os.W_OK) else "its folder cannot be written to"


def _unwritable(option: str, path: Path, problem: str) -> Exception:
    return InputError(
        f"{option}: {shown(str(path))} cannot be written: {problem}; give another name"
    )
