"""What all answers are: frozen records that hold data and flat rows, and show themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from presets.record import Record

_views: list[Callable[[Answer], str]] = []


class Answer(Record):
    """A whole answer: short in print, a table in a notebook, and rows for a data frame."""

    def to_rows(self) -> list[dict[str, Any]]:
        """Flat dictionaries with equal keys, as ``--csv`` prints them: ``DataFrame(x.to_rows())``.

        A value that is missing is None.
        """
        raise NotImplementedError

    def _repr_html_(self) -> str | None:
        """Show what the command prints, in a notebook; None where nothing was told how."""
        return _views[-1](self) if _views else None

    def __repr__(self) -> str:
        """One line that says what was found."""
        return f"{type(self).__name__}({self._gist()})"

    __str__ = __repr__

    def _gist(self) -> str:
        raise NotImplementedError


def show_answers(view: Callable[[Answer], str]) -> None:
    """Tell how answers are written as HTML; how that looks is no business of a record."""
    _views.append(view)
