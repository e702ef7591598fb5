"""Libraries that only some commands need: a missing one is told with what installs it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from presets.errors import MissingPackageError


@contextmanager
def needed_for(use: str, extra: str) -> Iterator[None]:
    """Import a library of an optional dependency of ``pyproject.toml``.

    Parameters
    ----------
    use : str
        What needs it, as the reader named it.
    extra : str
        Name of the optional dependency.

    Raises
    ------
    MissingPackageError
        Where it is not installed: with the command for this very environment.

    Examples
    --------
    >>> with needed_for("--plot", "plot"):
    ...     import json
    """
    try:
        yield
    except ModuleNotFoundError as error:
        here = shlex.quote(sys.executable)
        installer = (
            f"{here} -m pip install" if find_spec("pip") else f"uv pip install --python {here}"
        )
        raise MissingPackageError(
            f"{use} needs {error.name}, which is not installed; run: {installer} 'moeplan[{extra}]'"
        ) from None
