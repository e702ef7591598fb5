"""The scoreboard: every published figure stands in the page, and misses are told."""

from __future__ import annotations

import tomllib
from pathlib import Path

import moeplan
from moeplan.answers.build import version
from presets import iso_rows
from tools import scoreboard
from tools.scoreboard import Figure, Headline, headlines, known, predicted, section

PAGE = Path(__file__).parents[1] / "docs" / "scoreboard.md"


def test_the_page_has_every_headline_and_figure() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"moeplan {version()} predicts" in text
    for headline in headlines():
        assert f"## {headline.title}" in text
        assert headline.date in text
        for figure in headline.figures:
            start = f"| {figure.target:g} | {figure.machine} | {figure.tok_s_per_gpu:,.0f} |"
            assert start in text
    content = tomllib.loads(scoreboard.FILE.read_text(encoding="utf-8"))
    assert text.count("\n| ") > len(content["left_out"])
    assert all(each["why"] for each in content["left_out"])


def test_the_first_headline_is_the_published_table() -> None:
    first = headlines()[0]
    rows = {row.tok_s_per_user for row in iso_rows()}
    assert {figure.target for figure in first.figures} == rows


def test_what_the_fit_knew_is_counted() -> None:
    assert known("gb200", moeplan.Options()).endswith(" rows of this question")
    assert known("tpu7x:vllm", moeplan.Options()) == "nothing of the machine"
    other = known("b200", moeplan.Options(isl=777))
    assert other.endswith(" rows of model, engine and precision")


def test_misses_and_refusals_are_written() -> None:
    figures = (Figure("b200", 60.0, 1.0), Figure("tpu7x:sglang", 60.0, 2.0))
    options = moeplan.Options(max_gpus=16)
    headline = Headline("A *title*", "a source", "2026-01-01", options, figures, "a length")
    found = predicted(headline)
    assert isinstance(found[figures[1]], str)
    text = section(headline, found)
    assert "| no | " in text  # far outside the interval
    assert "refused: " in text
    assert "## A \\*title\\*" in text
    assert "0.50x | - |" in text
