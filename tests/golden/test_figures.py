"""Did predictions or answers move? Whether they are right is a question for docs/accuracy.md."""

import csv
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.golden.figures import ANSWERS, PREDICTIONS, Row, answers, predictions, text

pytestmark = pytest.mark.many_cases

ROUNDING = 6e-6
"""Relative difference that writing six digits alone can make. [1]"""


def moved(written: str, now: str) -> str:
    """Say how many lines of a table differ, the worst of them, and what writes it again."""
    before, after = (list(csv.DictReader(io.StringIO(table))) for table in (written, now))
    worst, lines = (-1.0, ""), 0
    for old, new in zip(before, after, strict=False):
        changes = [
            (change, f"{old['row']}: {name} was {old.get(name)}, is {new.get(name)}")
            for name in old | new
            if (change := difference(old.get(name, ""), new.get(name, ""))) > ROUNDING
        ]
        lines += bool(changes)
        worst = max([worst, *changes])
    if len(before) != len(after):
        worst = (math.inf, f"{len(before)} lines were written, now there are {len(after)}")
    if worst[0] <= 0:
        return ""
    by = f", by up to {100 * worst[0]:.3g} %" if math.isfinite(worst[0]) else ""
    return (
        f"{lines} of {len(before)} lines moved{by}; the worst is {worst[1]}. "
        "If that is meant, `make golden` writes them again: say in the commit why they moved"
    )


def difference(old: str, new: str) -> float:
    """Relative difference of two numbers; infinite where a text differs."""
    if old == new:
        return 0.0
    try:
        return abs(float(new) / float(old) - 1.0)
    except (ValueError, ZeroDivisionError):
        return math.inf


@pytest.mark.parametrize(("path", "make"), [(PREDICTIONS, predictions), (ANSWERS, answers)])
def test_shipped_figures_have_not_moved(path: Path, make: Callable[[], Iterator[Row]]) -> None:
    if message := moved(path.read_text(encoding="utf-8"), text(make())):
        pytest.fail(message)


def test_a_move_is_named_with_its_size_and_what_writes_it_again() -> None:
    before = "row,a,b\nfirst,1.00000,x\nsecond,3.00000,y\n"
    assert moved(before, before) == ""
    assert moved(before, before.replace("1.00000", "1.00000499")) == ""
    message = moved(before, before.replace("3.0", "3.3").replace("1.00000", "1.00002"))
    assert "2 of 2 lines moved, by up to 10 %" in message
    assert "second: b" not in message
    assert "second: a was 3.00000, is 3.30000" in message
    assert "make golden" in message
    assert "first: b was x, is z" in moved(before, before.replace("x", "z"))
    assert "now there are 1" in moved(before, "row,a,b\nfirst,1.00000,x\n")
    assert "first: a was None, is 1" in moved("row\nfirst\n", "row,a\nfirst,1\n")
    assert "first: a was 1, is None" in moved("row,a\nfirst,1\n", "row\nfirst\n")
