"""Parts of a cluster that are named in its file: ``gpu 117``, ``leaf 3``, ``uplink 2/5``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from presets.errors import shown

KINDS = ("gpu", "nic", "server", "domain", "leaf", "spine", "core")
"""Parts that have a number; numbers start at 0."""

OF_GPUS = ("gpu", "server", "domain")
"""Parts that are GPUs, which may be reserved."""

MAX_PARTS = 100_000
"""Most parts that a list may name, ranges written out. [1]"""

_PART = re.compile(r"(?P<kind>[a-z]+)s? (?P<first>\d{1,6})(?:-(?P<last>\d{1,6}))?")
_UPLINK = re.compile(r"uplink (?P<leaf>\d{1,6})/(?P<spine>\d{1,6})")


class Parts(NamedTuple):
    """Numbers of parts by kind; uplinks are pairs of leaf and spine."""

    gpu: frozenset[int] = frozenset()
    nic: frozenset[int] = frozenset()
    server: frozenset[int] = frozenset()
    domain: frozenset[int] = frozenset()
    leaf: frozenset[int] = frozenset()
    spine: frozenset[int] = frozenset()
    core: frozenset[int] = frozenset()
    uplink: frozenset[tuple[int, int]] = frozenset()


def parts_of(names: Iterable[str], kinds: tuple[str, ...] = (*KINDS, "uplink")) -> Parts:
    """Read names of parts.

    Parameters
    ----------
    names : iterable of str
        Such as "gpu 117", "gpu 8-15", "leaf 3" or "uplink 2/5", leaf before spine.
    kinds : tuple of str
        Kinds that may be named.

    Raises
    ------
    ValueError
        Where one is no name of a part, with what would be.

    Examples
    --------
    >>> parts_of(["gpu 8-10", "uplink 2/5"]).gpu
    frozenset({8, 9, 10})
    """
    found: dict[str, set[int]] = {kind: set() for kind in KINDS}
    uplinks = set()
    for name in names:
        if (uplink := _UPLINK.fullmatch(name)) and "uplink" in kinds:
            uplinks.add((int(uplink["leaf"]), int(uplink["spine"])))
            continue
        part = _PART.fullmatch(name)
        if not part or part["kind"] not in kinds:
            raise ValueError(f"{shown(name)} names no part; give such as {_examples(kinds)}")
        first, last = int(part["first"]), int(part["last"] or part["first"])
        if not first <= last < first + MAX_PARTS:
            raise ValueError(
                f"{shown(name)} is no range; give the lower number first, and at most "
                f"{MAX_PARTS} parts"
            )
        found[part["kind"]].update(range(first, last + 1))
    return Parts(
        **{kind: frozenset(numbers) for kind, numbers in found.items()},
        uplink=frozenset(uplinks),
    )


def _examples(kinds: tuple[str, ...]) -> str:
    examples = {"gpu": "'gpu 117'", "server": "'server 0-3'", "leaf": "'leaf 3'"}
    examples |= {"uplink": "'uplink 2/5' (leaf 2 to spine 5)"}
    return ", ".join(text for kind, text in examples.items() if kind in kinds)
