"""What all answers are: frozen records, and whole answers that show themselves."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Result(BaseModel):
    """Base of all answers: frozen, no unknown field, no NaN and no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    def to_json(self) -> dict[str, Any]:
        """Content as ``--json`` prints it."""
        return self.model_dump(mode="json")


class Shown(Result):
    """A whole answer: short in print, a table in a notebook, and rows for a data frame."""

    def to_rows(self) -> list[dict[str, Any]]:
        """Flat dictionaries with equal keys, as ``--csv`` prints them: ``DataFrame(x.to_rows())``.

        A value that is missing is None.
        """
        from moeplan.render.notebook import rows_of

        return rows_of(self)

    def _repr_html_(self) -> str:
        """Show what the command prints, in a notebook."""
        from moeplan.render.notebook import html_of

        return html_of(self)

    def __repr__(self) -> str:
        """One line that says what was found."""
        return f"{type(self).__name__}({self._gist()})"

    __str__ = __repr__

    def _gist(self) -> str:
        raise NotImplementedError
