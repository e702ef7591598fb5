"""Curves of several machines, and their charts."""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import moeplan
from moeplan.answers.best import Best
from moeplan.render import chart_page, chart_picture, chart_terminal
from moeplan.render.chart import METRICS, Chart, chart_of
from moeplan.report.measured import points_of
from optimizer import Space
from tests.moeplan.conftest import small_space
from tests.moeplan.test_extras import hide
from tests.samples import Command

TARGETS = [25.0, 60.0, 100.0, 160.0, 3000.0]
SMALL = ("--targets", "40,90", "--max-gpus", "8")


@pytest.fixture(scope="module")
def answers() -> Mapping[str, list[Best]]:
    found = moeplan.curves(["gb200", "b200:vllm"], TARGETS, space=small_space())
    return {label: list(curve.rows) for label, curve in found.curves.items()}


@pytest.fixture(params=METRICS)
def chart(answers: Mapping[str, list[Best]], request: pytest.FixtureRequest) -> Chart:
    return chart_of(answers, request.param)


def test_each_machine_answers_as_it_does_alone(space: Space) -> None:
    found = moeplan.curves(["b200", "b200:vllm"], [60.0], space=space)
    alone = moeplan.curve("b200", [60.0], moeplan.Options(engine="vllm"), space=space)
    assert found.curves["b200:vllm"].to_rows() == alone.to_rows()
    assert [line["label"] for line in found.to_rows()] == ["b200", "b200:vllm"]
    assert "vllm" in str(found._repr_html_())


def test_rows_say_throughput_per_dollar_and_kilowatt(space: Space) -> None:
    (row,) = moeplan.curve("gb200", [60.0], space=space).to_rows()
    assert row["total_tokens_per_usd"] == pytest.approx(1e6 / row["usd_per_m_total_tokens"])
    kilowatts = row["total_tok_s_per_gpu"] / row["total_tok_s_per_kw"]
    assert 1.0 < kilowatts < 5.0


def test_one_machine_prints_what_it_did_and_several_by_machine(command: Command) -> None:
    one = command("curve", "--sku", "b200", *SMALL, "--json").json
    assert one["sku"] == "b200"
    several = command("curve", "--sku", "b200", "--sku", "b200:vllm", *SMALL, "--json").json
    assert [*several["curves"]] == ["b200", "b200:vllm"]
    assert several["curves"]["b200"]["rows"][0]["config"] == one["rows"][0]["config"]
    lines = command("curve", "--sku", "b200", "--sku", "gb200", *SMALL, "--csv").out.splitlines()
    assert [line["label"] for line in csv.DictReader(lines)] == ["b200", "b200", "gb200", "gb200"]
    priced = command("curve", "--sku", "b200", *SMALL, "--price", "b200=9", "--json").json
    assert priced["question"]["price_usd_per_hour"] == 9.0


def test_a_machine_that_refuses_is_named(command: Command) -> None:
    run = command("curve", "--sku", "b200", "--sku", "mi355x", *SMALL)
    assert run.status == 0
    assert "mi355x is left out: " in run.err
    assert "mi355x is left out: " in run.out


def test_what_is_drawn_is_what_was_found(answers: Mapping[str, list[Best]]) -> None:
    series, other = chart_of(answers, "throughput").series
    assert (series.label, other.label) == ("gb200", "b200:vllm")
    for place, answer in enumerate(answers["gb200"][:-1]):
        assert answer.prediction is not None
        assert series.modelled[place] == answer.prediction.total_tok_s_per_gpu
        assert series.band[place] == answer.prediction.interval_90["total_tok_s_per_gpu"]
    assert math.isnan(series.modelled[-1])  # nothing reaches 3000
    points = points_of(answers["gb200"][0].question)
    assert {(point.x, point.y) for point in series.points} == {
        (point["speed"], point["throughput"]) for point in points
    }
    assert "public corpus" in {point["table"] for point in points}
    assert [gap["from"] for gap in series.gaps] == [90.99, 164.37]
    assert other.line == []
    assert all(0 < place < len(TARGETS) for place in series.changes)


def test_figures_follow_from_throughput_price_and_power(
    answers: Mapping[str, list[Best]],
) -> None:
    rate, cost, per_dollar = (
        chart_of(answers, name).series[0] for name in ("throughput", "cost", "per-dollar")
    )
    prediction = answers["gb200"][0].prediction
    assert prediction is not None
    assert cost.modelled[0] == pytest.approx(prediction.usd_per_m_total_tokens)
    assert cost.band[0] == pytest.approx(prediction.interval_90["usd_per_m_total_tokens"])
    assert per_dollar.modelled[0] == pytest.approx(1 / cost.modelled[0])
    price = answers["gb200"][0].price_usd_per_hour
    for one, other in zip(rate.points, cost.points, strict=True):
        assert other.y == pytest.approx(price / (3600 * one.y / 1e6))


def test_a_run_in_two_tables_is_one_point(answers: Mapping[str, list[Best]]) -> None:
    points = points_of(answers["gb200"][0].question)
    for point in points:
        same = [
            other
            for other in points
            if other["gpus"] == point["gpus"]
            and other["table"] != point["table"]
            and "public corpus" in (other["table"], point["table"])
            and math.isclose(other["speed"], point["speed"], rel_tol=0.01)
            and math.isclose(other["throughput"], point["throughput"], rel_tol=0.01)
        ]
        assert not same


@pytest.mark.parametrize("form", ["svg", "png"])
def test_a_picture_is_the_same_every_time(chart: Chart, form: str) -> None:
    assert chart_picture.picture(chart, form) == chart_picture.picture(chart, form)


def test_a_picture_names_machines_and_gaps_as_text(answers: Mapping[str, list[Best]]) -> None:
    chart = chart_of(answers, "cost")
    text = chart_picture.picture(chart, "svg").decode()
    ElementTree.fromstring(text)
    for told in ("gb200", "b200:vllm", "safe choice", "its 90 % interval", "gap in the frontier"):
        assert f">{told}<" in text
    assert "between 91.0 and 164.4" in text
    assert not re.search(r"<dc:date|/site-packages/", text)


def test_names_are_no_markup(answers: Mapping[str, list[Best]]) -> None:
    name = "<b>$x$&.yaml"
    chart = chart_of({name: answers["gb200"]}, "throughput")
    drawn = ElementTree.fromstring(chart_picture.picture(chart, "svg"))
    assert name in {each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")}
    page = chart_page.page(chart)
    assert "<b>$x$" not in page
    assert name in chart_terminal.text(chart, 80)


def test_a_page_tells_lines_apart_by_dashes_and_marks(chart: Chart) -> None:
    drawn: Any = chart_page.figure(chart)
    dashes = {trace.name: trace.line.dash for trace in drawn.data if trace.mode == "lines"}
    assert dashes["best as modelled"] == "solid"
    assert (dashes["safe choice"], dashes["interpolated"]) == ("dot", "dash")
    marks = [trace.marker.symbol for trace in drawn.data if trace.name == "measured run"]
    assert len({*marks}) == len(marks) == 2
    page = chart_page.page(chart)
    assert page == chart_page.page(chart)
    assert "<script src=" not in page  # it needs no network


def test_a_terminal_shows_letters_within_its_width(chart: Chart) -> None:
    text = chart_terminal.text(chart, 72)
    assert max(map(len, text.splitlines())) <= 72
    assert "\x1b" not in text
    body = text[: text.index("A gb200")]
    assert all(letter in body for letter in "AB")
    assert "A gb200, best as modelled; a measured runs" in text
    assert "lies between 91.0 and" in text


def test_nothing_within_reach_is_drawn_as_nothing(space: Space) -> None:
    found = moeplan.curves(["b200:vllm"], [4000.0, 5000.0], space=space).curves["b200:vllm"]
    rows = {"b200:vllm": list(found.rows)}
    for metric in METRICS:
        chart = chart_of(rows, metric)
        assert chart_picture.picture(chart, "png")
        assert chart_page.page(chart)
        assert chart_terminal.text(chart, 60)


def test_the_command_draws_files_and_prints_the_table(command: Command, tmp_path: Path) -> None:
    asked = ("curve", "--sku", "b200", *SMALL)
    plain = command(*asked).out
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "html": b"<!doctype html>"}
    for form, start in starts.items():
        path = tmp_path / f"out.{form}"
        run = command(*asked, "--plot", str(path), "--metric", "per-kilowatt")
        assert (run.status, run.out) == (0, plain)
        assert path.read_bytes().startswith(start)
    shown = command(*asked, "--plot", "-")
    assert shown.out.startswith(plain)
    assert "A b200, best as modelled" in shown.out


BAD = {
    "ending": (("--plot", "out.pdf"), "ends in one of .svg, .png, .html, or - for the terminal"),
    "metric": (("--plot", "-", "--metric", "joy"), "unknown --metric 'joy'; valid: cost, "),
    "metric alone": (("--metric", "cost"), "--metric goes with --plot"),
    "two outputs": (("--plot", "-", "--json"), "--json and --plot: both are given"),
    "folder": (("--plot", "none/out.svg"), "cannot be written"),
    "price": (("--price", "h100=2"), "is of a machine that is not compared"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(
    command: Command, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked, sentence = BAD[case]
    run = command("curve", "--sku", "b200", "--targets", "40", *asked)
    assert (run.status, run.out, run.err.count("\n")) == (2, "", 1)
    assert sentence in run.err
    assert list(tmp_path.iterdir()) == []


LIBRARIES = {
    "matplotlib": ("out.svg", "moeplan.render.chart_picture"),
    "plotly": ("out.html", "moeplan.render.chart_page"),
    "plotext": ("-", "moeplan.render.chart_terminal"),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_missing_library_is_told_with_its_command(
    command: Command, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, module = LIBRARIES[library]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)
    hide(library, monkeypatch)
    run = command("curve", "--sku", "b200", "--targets", "40", "--plot", name)
    assert (run.status, run.out) == (2, "")
    assert f"needs {library}, which is not installed; run: " in run.err
    assert "'moeplan[plot]'" in run.err
    assert list(tmp_path.iterdir()) == []


def test_a_change_of_shape_is_no_change_of_batch(answers: Mapping[str, list[Best]]) -> None:
    first = answers["gb200"][0]
    assert first.config is not None
    other = first.config.model_copy(update={"max_batch": first.config.max_batch + 1})
    wider = first.config.model_copy(update={"decode_workers": first.config.decode_workers + 1})
    rows = [
        first.model_copy(update={"config": config, "target_tok_s_per_user": target})
        for target, config in ((25.0, first.config), (26.0, other), (27.0, wider))
    ]
    assert chart_of({"gb200": rows}, "cost").series[0].changes == [2]


def test_options_of_the_question_stay_common(command: Command) -> None:
    run = command(
        "curve", "--sku", "b200", "--sku", "b200:sglang", *SMALL, "--isl", "512", "--json"
    )
    assert {each["question"]["isl"] for each in run.json["curves"].values()} == {512}
