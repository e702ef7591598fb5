"""Print the lowest versions that ``pyproject.toml`` allows: ``python -m tools.floors``.

One line each, as a requirements file: what `moeplan` needs to run, and what its commands need.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("plot",)


def floors(requirements: Iterable[str]) -> list[str]:
    """Turn lower bounds into the versions themselves.

    Examples
    --------
    >>> floors(["numpy>=1.26", "plotext>=5.3.2,<6"])
    ['numpy==1.26', 'plotext==5.3.2']
    """
    found = [re.fullmatch(r"([\w-]+)>=([\d.]+)(?:,<[\d.]+)?", each) for each in requirements]
    if None in found:
        raise ValueError(
            f"each of {list(requirements)} must be a name, >= and a version, and at most <"
        )
    return [f"{each[1]}=={each[2]}" for each in found if each]


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [each for name in EXTRAS for each in project["optional-dependencies"][name]]
    print("\n".join(floors([*project["dependencies"], *extras])))
