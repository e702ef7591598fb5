"""The base of all records: what is loaded from files, and what is answered."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of all that is loaded or answered: frozen, no unknown field, no NaN and no infinity.

    What a command does not load it does not pay for: schemas are built at first use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    def to_json(self) -> dict[str, Any]:
        """Content as ``--json`` prints it."""
        return self.model_dump(mode="json")
