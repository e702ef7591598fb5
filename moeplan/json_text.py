"""JSON as users and recipes hold it, with what is wrong in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from presets import DataFileError


def parse_json(text: str, path: Path) -> Any:
    """Parse JSON; `path` is what errors name.

    Raises
    ------
    DataFileError
        Where it is none.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataFileError(f"is not JSON: {error.msg}", path, line=error.lineno) from None
    except (ValueError, RecursionError) as error:
        raise DataFileError(f"is not JSON: {error}", path) from None
