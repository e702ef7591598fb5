"""Tables and paragraphs that fit the width they are shown at.

Nothing is cut off or broken within a word. A table that is too wide breaks its headings and texts
between words, then is halved; where that does not do, or the width is below `NARROW`, each figure
has a line of its own. A word wider than the whole width stays whole, so that it can be copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

NARROW = 60
"""Columns of the screen below which no table is drawn. [1]"""

INDENT = 2
"""Columns before all but headings. [1]"""

GAP = 3
"""Columns between those of a table. [1]"""

TIGHT_GAP = 2
"""The same where the width is short. [1]"""

MOST_LINES = 6
"""Lines of a cell from which its row is better read one figure a line. [1]"""


class Paragraph:
    """A text, broken between words; lines after the first are indented by `hang` more."""

    def __init__(self, text: str, indent: int = INDENT, hang: int = 0, style: str = "") -> None:
        self._text, self._indent, self._hang, self._style = text, indent, hang, style

    def __rich_console__(self, screen: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Write the lines."""
        indent = self._indent
        for line in broken(self._text, options.max_width - indent - self._hang):
            yield _line(" " * indent + line, self._style)
            indent = self._indent + self._hang


class Table:
    """Rows of text under headings, or without; columns from `left` on stand to the right."""

    def __init__(self, columns: Sequence[str], left: int, rows: Sequence[Sequence[str]]) -> None:
        self._columns, self._left, self._rows = columns, left, rows
        self._width = len(columns or (rows or [()])[0])

    def __rich_console__(
        self, screen: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Write a table, or two, or one figure a line."""
        room = options.max_width - INDENT
        for tables in ([self], self._halves()):
            drawn = [table._drawn(room) for table in tables]
            if options.max_width >= NARROW and drawn and all(drawn):
                for number, lines in enumerate(drawn):
                    yield from [Text()] if number else []
                    yield from lines
                return
        yield from self._figures()

    def _halves(self) -> list[Table]:
        """Make two tables of one, the first column in both; none where that names no row."""
        # Columns that go on under the heading of the one before stay with it.
        starts = [at for at, name in enumerate(self._columns) if at > 1 and name[:1] != "\n"]
        named = len({row[0] for row in self._rows}) == len(self._rows)
        if not starts or not named:
            return []
        middle = min(starts, key=lambda at: abs(2 * at - 1 - self._width))
        return [self._part([*range(middle)]), self._part([0, *range(middle, self._width)])]

    def _part(self, places: list[int]) -> Table:
        """Take some columns."""
        left = sum(place < self._left for place in places)
        rows = [[row[place] for place in places] for row in self._rows]
        return Table([self._columns[place] for place in places], left, rows)

    def _drawn(self, room: int) -> list[Text]:
        """Give the lines of the table; none where it finds no room."""
        heads = [[name] for name in self._columns or [""] * self._width]
        cells = [[row[place] for row in self._rows] for place in range(self._width)]
        lines, words = [*map(_longest_line, cells)], [*map(_longest_word, cells)]
        whole = [*map(max, map(_longest_line, heads), lines)]
        least = [*map(_longest_word, heads)]
        texts = [*map(max, least, [*words[: self._left], *lines[self._left :]])]
        headings = [*map(max, least, lines)]
        wide = GAP if self._columns else TIGHT_GAP
        for floors, gap in product((headings, texts), (wide, TIGHT_GAP)):
            free = room - gap * (self._width - 1)
            widths = _narrowed(whole, floors, free)
            if sum(widths) <= free and self._highest(widths) <= MOST_LINES:
                return list(self._lines(widths, gap))
        return []

    def _highest(self, widths: list[int]) -> int:
        """Count the lines of the highest row."""
        rows = (zip(row, widths, strict=True) for row in self._rows)
        return max((len(broken(cell, width)) for row in rows for cell, width in row), default=0)

    def _lines(self, widths: list[int], gap: int) -> Iterator[Text]:
        if self._columns:
            yield from self._row(self._columns, widths, gap, "bold")
            yield _line(" " * INDENT + "─" * (sum(widths) + gap * (len(widths) - 1)))
        for row in self._rows:
            yield from self._row(row, widths, gap)

    def _row(
        self, cells: Sequence[str], widths: list[int], gap: int, style: str = ""
    ) -> Iterator[Text]:
        lines = [broken(cell, width) for cell, width in zip(cells, widths, strict=True)]
        for height in range(max(map(len, lines))):
            texts = [cell[height] if height < len(cell) else "" for cell in lines]
            blanks = [" " * (width - cell_len(t)) for t, width in zip(texts, widths, strict=True)]
            padded = [
                text + blank if place < self._left else blank + text
                for place, (text, blank) in enumerate(zip(texts, blanks, strict=True))
            ]
            yield _line(" " * INDENT + (" " * gap).join(padded), style)

    def _figures(self) -> Iterator[RenderableType]:
        """Write each row as its first cell and a line for each other one."""
        names = self._names()
        for number, row in enumerate(self._rows):
            if not names:
                yield Paragraph(": ".join(filter(None, row)), hang=INDENT)
                continue
            if number:
                yield Text()
            for place, (name, cell) in enumerate(zip(names, row, strict=True)):
                text = f"{name}: {cell}" if name else cell
                if cell:
                    yield Paragraph(" ".join(text.split()), INDENT * (1 + (place > 0)), INDENT)

    def _names(self) -> list[str]:
        """Name each column in one line; a heading without a first line is of the one before."""
        names, group = [], ""
        for column in self._columns:
            first, *rest = column.split("\n")
            group = first or group
            names.append(" ".join([group, *rest]) if rest else first)
        return names


def broken(text: str, width: int) -> list[str]:
    """Break a text between words; a word that is wider than the width has a line of its own.

    Examples
    --------
    >>> broken("7 workers of 4 GPUs", 10)
    ['7 workers', 'of 4 GPUs']
    """
    lines = []
    for line in text.split("\n"):
        start = ""
        for word in line.split(" "):
            longer = f"{start} {word}" if start else word
            if start and cell_len(longer) > width:
                lines.append(start)
                longer = word
            start = longer
        lines.append(start)
    return lines


def _line(text: str, style: str = "") -> Text:
    return Text(text.rstrip(), style=style, no_wrap=True, overflow="ignore")


def _longest_line(cells: Sequence[str]) -> int:
    return max((cell_len(line) for cell in cells for line in cell.split("\n")), default=0)


def _longest_word(cells: Sequence[str]) -> int:
    return max((cell_len(word) for cell in cells for word in cell.split()), default=0)


def _narrowed(widths: Sequence[int], least: Sequence[int], free: int) -> list[int]:
    """Take from the widest columns, none below its least, until all are within what is free."""
    found = list(widths)
    while sum(found) > free:
        spare = [place for place, width in enumerate(found) if width > least[place]]
        if not spare:
            break
        found[max(spare, key=found.__getitem__)] -= 1
    return found
