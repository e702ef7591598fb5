"""Markdown as it is written: what a user gives stays text."""

from __future__ import annotations

import re


def code(text: str) -> str:
    """Write text that cannot leave its span of code.

    Examples
    --------
    >>> code("a`b")
    '`` a`b ``'
    """
    text = " ".join(text.split())
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    if not longest:
        return f"`{text}`"
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}"


def prose(text: str) -> str:
    r"""Write text that is nothing but text.

    Examples
    --------
    >>> prose("a*b | <c>")
    'a\\*b \\| \\<c\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>#|!~&])", r"\\\1", " ".join(text.split()))


def block(*lines: str) -> str:
    """Write a block of commands, fenced by more backticks than it holds."""
    text = "\n".join(lines)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"


def rows(*cells: tuple[str, ...]) -> str:
    """Write a table; the first row is the head."""
    head, *rest = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in cells)
    return "\n".join([f"| {head} |", "|---" * len(cells[0]) + "|", *(f"| {row} |" for row in rest)])
