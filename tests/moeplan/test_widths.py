"""Every report at any width: nothing is cut off, and nothing is broken within a word."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import moeplan
from moeplan import output
from moeplan.render import accuracy, best, compare, curve, explain, robust, validate
from moeplan.render.common import paragraph, table
from moeplan.render.layout import NARROW
from presets import MeasuredRows, serving_rows
from tests.moeplan.conftest import ROOT, small_space

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tests.moeplan.conftest import BestOf
    from tests.samples import Command

WIDTHS = (100, 80, 70, NARROW, 40)
WIDE = 2000

COMMANDS = (
    "presets list",
    "presets show b200",
    "presets show 2026-07",
    "presets show deepseek-r1-0528",
    "presets show measured_serving",
    "presets show alltoall_latency --rows 3",
    "topology show --sku gb200",
)

Printed = Callable[[Sequence[Any], int], str]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Printed:
    """Print a report at a width."""

    def at(parts: Sequence[Any], width: int) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        capsys.readouterr()
        output.emit_report(parts)
        return capsys.readouterr().out

    return at


def words(text: str) -> set[str]:
    """Take the words apart, as one would search for them; a list of figures adds colons."""
    return {word.removesuffix(":") for word in text.split() if set(word) != {"─"}}


def check(text: str, wide: str, width: int) -> None:
    """Hold a report at a width against the same where all of it has room."""
    assert "…" not in text
    assert words(wide) <= words(text)
    for line in text.splitlines():
        assert len(line) <= width or " " not in line.strip()
    if width < NARROW:
        figures = [line for line in text.splitlines() if re.search(r"\S {2,}\S|─", line)]
        assert not figures


def reports(best_of: BestOf) -> dict[str, list[RenderableType]]:
    space = small_space()
    found, far = best_of("b200", 125.0), best_of("h200", 30.0)
    machines = ("gb200", "b200", "h200", "b300", "gb300")
    rows = MeasuredRows(Path("rows.csv"), dict(enumerate(serving_rows()[::20])))
    return {
        "best": best.report(found),
        "best elsewhere": best.report(far),
        "curve": curve.report(moeplan.curve("gb200", (25.0, 150.0, 2000.0), space=space)),
        "compare 2": compare.report(moeplan.compare(machines[:2], (25.0, 300.0), space=space)),
        "compare 5": compare.report(moeplan.compare(machines, (25.0, 300.0), space=space)),
        "explain": explain.report(moeplan.explain(found), found),
        "robust": robust.report(moeplan.robustness(found, draws=4)),
        "validate": validate.report(moeplan.validate(rows)),
        "accuracy": accuracy.report((ROOT / "docs" / "accuracy.md").read_text()),
    }


@pytest.mark.many_cases
def test_reports(best_of: BestOf, printed: Printed) -> None:
    for name, parts in reports(best_of).items():
        wide = printed(parts, WIDE)
        for width in WIDTHS:
            text = printed(parts, width)
            check(text, wide, width)
            assert max(map(len, text.splitlines())) <= width, name


@pytest.mark.parametrize("width", WIDTHS)
def test_commands(command: Command, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    for words_of_it in COMMANDS:
        monkeypatch.setenv("COLUMNS", str(WIDE))
        wide = command(*words_of_it.split())
        monkeypatch.setenv("COLUMNS", str(width))
        check(command(*words_of_it.split()).out, wide.out, width)
        assert wide.status == 0


def test_a_pipe_has_its_own_width(best_of: BestOf, capsys: pytest.CaptureFixture[str]) -> None:
    output.emit_report(best.report(best_of("b200", 125.0)))
    lengths = [len(line) for line in capsys.readouterr().out.splitlines()]
    assert 90 < max(lengths) <= output.PLAIN_WIDTH


LONG = "/data/checkpoints/nvidia/DeepSeek-R1-0528-NVFP4-v2-of-a-name-that-no-line-takes"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_word_wider_than_the_line_stays_whole(printed: Printed, width: int) -> None:
    parts = [paragraph(f"written to {LONG}"), table("Model", "Figure", rows=[[LONG, "1"]])]
    check(printed(parts, width), printed(parts, WIDE), width)


TABLE = [["dp", "8 workers", "1.5"], ["tp", "a much longer text of several words", "2.25"]]


def test_how_a_table_gives_way(printed: Printed) -> None:
    parts = [table("Attention", "Decode", "Time of one\nstep", left=2, rows=TABLE)]
    assert printed(parts, 64) == (
        "  Attention   Decode                                Time of one\n"
        "                                                           step\n"
        "  ─────────────────────────────────────────────────────────────\n"
        "  dp          8 workers                                     1.5\n"
        "  tp          a much longer text of several words          2.25\n"
    )
    assert printed(parts, 60) == (
        "  Attention   Decode                                 Time of\n"
        "                                                         one\n"
        "                                                        step\n"
        "  ──────────────────────────────────────────────────────────\n"
        "  dp          8 workers                                  1.5\n"
        "  tp          a much longer text of several words       2.25\n"
    )
    assert printed(parts, 40) == (
        "  Attention: dp\n"
        "    Decode: 8 workers\n"
        "    Time of one step: 1.5\n"
        "\n"
        "  Attention: tp\n"
        "    Decode: a much longer text of\n"
        "      several words\n"
        "    Time of one step: 2.25\n"
    )


WORDS = st.text("ab4.%", min_size=1, max_size=12)
CELLS = st.lists(WORDS, max_size=9).map(" ".join)


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=5), st.integers(20, 150))
def test_any_table(printed: Printed, rows: list[list[str]], width: int) -> None:
    parts = [table("Name", "Of what", "Rate\nin all", "\nof each", left=2, rows=rows)]
    text = printed(parts, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert words(" ".join(cell for row in rows for cell in row)) <= words(text)
