"""Write outputs into documents: ``python -m tools.examples FILE...``, as ``make examples`` does.

A block stands after a marker that says what it holds::

    <!-- output: best --sku gb200 --target 125 -->             all that the command prints
    <!-- output until "Why": best --sku gb200 --target 125 --> lines before the first such beginning
    <!-- table "20 published rows" of accuracy.md: figure, mean, worst -->
    <!-- options -->                                           every option of a question

The third copies columns of the first table under a heading of another document; its path is from
the folder of the document that holds the marker.
"""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import chdir, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from moeplan.cli import main
from moeplan.commands.parameters import flag
from moeplan.options import entries
from presets.files import write_whole

OUTPUT = re.compile(
    r'(<!-- output(?: until "(?P<until>[^"\n]+)")?: (?P<command>[^\n]+) -->\n)```\n.*?^```$',
    re.DOTALL | re.MULTILINE,
)
TABLE = re.compile(
    r'(<!-- table "(?P<heading>[^"\n]+)" of (?P<file>\S+): (?P<columns>[^\n]+) -->\n)'
    r"(?:\|[^\n]*\n)*"
)
OPTIONS = re.compile(r"(<!-- options -->\n)(?:\|[^\n]*\n)*")
SECONDS = re.compile(r"\s+\d+\.\d+ s\.$", re.MULTILINE)


def renewed(text: str, folder: Path) -> str:
    """Give a document with every block made anew; where only seconds differ the old one stays.

    Raises
    ------
    ValueError
        Where a command fails, or what a marker names is not there.
    """

    def output(found: re.Match[str]) -> str:
        lines = printed(found["command"])
        block = f"{found[1]}```\n$ moeplan {found['command']}\n{cut(lines, found['until'])}```"
        return found[0] if timeless(block) == timeless(found[0]) else block

    def table(found: re.Match[str]) -> str:
        source = (folder / found["file"]).read_text(encoding="utf-8")
        return found[1] + columns_of(table_under(source, found["heading"]), found["columns"])

    def options(found: re.Match[str]) -> str:
        return found[1] + options_table()

    return OPTIONS.sub(options, TABLE.sub(table, OUTPUT.sub(output, text)))


@cache
def printed(command: str) -> str:
    """Run a command of ``moeplan`` in an empty folder and give what it prints, 100 columns wide."""
    screen = io.StringIO()
    with TemporaryDirectory() as folder, chdir(folder), redirect_stdout(screen):
        status = main(shlex.split(command))
    if status:
        raise ValueError(f"moeplan {command} ended with status {status}")
    return screen.getvalue()


def cut(text: str, until: str | None) -> str:
    r"""Keep the lines before the first that begins as told, and say that more follow.

    Examples
    --------
    >>> cut("Best\n\nWhy: this\n", "Why")
    'Best\n...\n'
    """
    if until is None:
        return text
    kept, beginning, _ = text.partition(f"\n{until}")
    if not beginning:
        raise ValueError(f"no line begins with {until!r}")
    return kept.rstrip() + "\n...\n"


def timeless(text: str) -> str:
    """Mask the seconds that a search took.

    Examples
    --------
    >>> timeless("46,628 dominated; 0.25 s.")
    '46,628 dominated; seconds'
    """
    return SECONDS.sub(" seconds", text)


def table_under(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table under a heading."""
    _, found, rest = text.partition(f"# {heading}\n")
    table = re.search(r"(?:^\|.*\n)+", rest, re.MULTILINE)
    if not found or table is None:
        raise ValueError(f"no table stands under {heading!r}")
    lines = table[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def columns_of(rows: Sequence[Sequence[str]], columns: str) -> str:
    r"""Write the named columns of a table.

    Examples
    --------
    >>> columns_of([["figure", "rows", "mean"], ["---"] * 3, ["TPOT", "20", "3.7"]], "figure, mean")
    '| figure | mean |\n| --- | --- |\n| TPOT | 3.7 |\n'
    """
    names = columns.split(", ")
    missing = [name for name in names if name not in rows[0]]
    if missing:
        raise ValueError(f"the table has no column {missing[0]!r}; it has {', '.join(rows[0])}")
    chosen = [rows[0].index(name) for name in names]
    return "".join(f"| {' | '.join(row[place] for place in chosen)} |\n" for row in rows)


def options_table() -> str:
    """Write every option of a question: as it is typed, its value, default and key in JSON."""
    rows = [["option", "value", "default", "in JSON", "what it is"], ["---"] * 5]
    for name, option, default in entries():
        # Where the default depends on the question the help ends with it.
        told, _, rest = option.help.partition(" [default: ")
        value = (
            "`" + option.metavar.replace("|", "\\|") + "`" if option.metavar else "none: a switch"
        )
        usual = rest.removesuffix("]") or {None: "none", False: "off"}.get(default, f"`{default}`")
        rows.append([f"`{flag(name)}`", value, usual, f"`{option.key}`", told])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write_examples(paths: Sequence[Path]) -> None:
    """Make the blocks of documents anew; each is written whole or not at all."""
    for path in paths:
        text = path.read_text(encoding="utf-8")
        write_whole(path, renewed(text, path.parent))


if __name__ == "__main__":
    write_examples([Path(name) for name in sys.argv[1:]])
