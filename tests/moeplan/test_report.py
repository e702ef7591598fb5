"""The report of a comparison: its figures, its words, and that its text stays text."""

from __future__ import annotations

import json
import math
import re
import shutil
from functools import cache
from itertools import permutations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import moeplan
from moeplan.answers.comparison import KINDS
from moeplan.options import Options
from moeplan.report import pdf
from moeplan.report.build import Report, report_of
from moeplan.report.grid import grid_of
from moeplan.report.markdown import markdown_of
from moeplan.report.page import page_of
from optimizer import Space

if TYPE_CHECKING:
    from tests.samples import Command

SKUS = ("gb200", "b200", "h200")
TARGETS = (50.0, 125.0, 290.0)
TINY = Space(
    prefill_workers=(1, 4),
    decode_workers=(1, 2),
    decode_gpus=(8, 32),
    mtp_depths=(2,),
    largest_batch=64,
    batch_ratio=2.0,
)


@cache
def report() -> Report:
    return report_of(SKUS, TARGETS, space=TINY, command="moeplan compare ...")


def content_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script id="content" type="application/json">(.*?)</script>', html, re.S)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


class Page:
    """The rule by which the page prices its figures, written once more."""

    def __init__(self, content: dict[str, Any], prices: dict[str, float]) -> None:
        self.content, self.prices = content, prices
        self.machines = {each["sku"]: each for each in content["machines"]}

    def cost(self, sku: str, kind: str, place: int) -> float | None:
        machine = self.machines[sku]
        value = machine[kind][place]
        return float(value["cost"] * self.prices[sku] / machine["price"]) if value else None

    def ranked(self, kind: str, place: int) -> list[tuple[float, str]]:
        costs = [(self.cost(sku, kind, place), sku) for sku in self.machines]
        return sorted((cost, sku) for cost, sku in costs if cost is not None)

    def known(self, kind: str, place: int, one: str, other: str) -> float:
        if kind == "measured":
            return math.log1p(self.content["noise"])
        ends = [self.machines[sku][kind][place]["cost_90"] for sku in (one, other)]
        return math.hypot(*(math.log(high / low) / 2 for low, high in ends))

    def winner(self, kind: str, place: int) -> str | None:
        ranked = self.ranked(kind, place)
        counted = [
            sku
            for sku, machine in self.machines.items()
            if machine[kind][place] or kind == "modelled" or machine["beyond"][place]
        ]
        if not ranked or len(counted) < 2:
            return None
        (least, first), *others = ranked
        for cost, sku in others:
            if math.log(cost / least) <= self.known(kind, place, first, sku):
                return str(self.content["too_close"])
        return first

    def tie(self, sku: str, kind: str, place: int) -> float | None:
        own = self.cost(sku, kind, place)
        others = [cost for cost, other in self.ranked(kind, place) if other != sku]
        return self.prices[sku] * others[0] / own if own and others else None


def test_figures_of_the_page_are_those_of_compare_at_any_price() -> None:
    content = content_of(report().html())
    rng = np.random.default_rng(0)
    grid, checked = content["grid"], 0
    for _ in range(5):
        places = sorted(rng.choice(len(grid), 10, replace=False).tolist())
        prices = {sku: round(float(np.exp(rng.uniform(-1, 2))), 2) for sku in SKUS}
        page = Page(content, prices)
        options = {sku: Options(price=price) for sku, price in prices.items()}
        answer = moeplan.compare(SKUS, [grid[place] for place in places], options, space=TINY)
        for place, row in zip(places, answer.to_json()["rows"], strict=True):
            for kind in KINDS:
                assert page.winner(kind, place) == row["winner"][kind]
                for sku in SKUS:
                    found, told = page.machines[sku][kind][place], row[sku][kind]
                    assert (found is None) == (told is None)
                    tie = row["break_even"][kind][sku]
                    assert page.tie(sku, kind, place) == (
                        tie and pytest.approx(tie["usd_per_hour"], rel=1e-9)
                    )
                    if found is None:
                        continue
                    assert found["throughput"] == pytest.approx(
                        told["total_tok_s_per_gpu"], rel=1e-9
                    )
                    assert page.cost(sku, kind, place) == pytest.approx(
                        told["usd_per_m_total_tokens"], rel=1e-9
                    )
                    checked += 1
    assert checked > 150


def test_a_report_is_the_same_each_time_and_asks_no_other_host() -> None:
    html = report().html()
    assert html == report_of(SKUS, TARGETS, space=TINY, command="moeplan compare ...").html()
    assert len(html) < 5_000_000
    addresses = set(re.findall(r"""(?:https?:)?//[\w.]+\.\w+[^\s"'<]*""", html))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, which nothing is asked of
    assert not re.search(r"<(?:link|img|iframe)\b|@import|url\((?!#)", html)
    assert "default-src 'none'" in html


def test_what_a_user_named_stays_text() -> None:
    bad = "</script><img src=x onerror=alert(1)>&\u2028"
    content = json.loads(json.dumps(report().content))
    content |= {"title": bad, "command": bad, "refused": [bad], "headline": [[bad, [bad]]]}
    content["machines"][0] |= {"sku": bad, "title": bad}
    html = page_of(content)
    assert "<img" not in html
    assert html.count("</script>") == 2
    assert content_of(html) == content


def test_the_headline_says_costs_winners_break_even_and_gaps() -> None:
    said = dict(report().content["headline"])
    assert list(said)[:4] == ["As measured", "As modelled", "Wins as measured", "Wins as modelled"]
    assert "At 125 tok/s/user a million tokens cost $0.1251 on gb200" in said["As measured"][0]
    assert "(90 %: " in said["As modelled"][0]
    assert any(
        "no run is published for 91.0 to 164.4" in s for s in said["Measured against modelled"]
    )
    assert any(
        "h200 as measured: the published rows serve" in s for s in said["Measured against modelled"]
    )
    assert said["Break-even"][0].startswith(
        "As measured, gb200 ties at $7.59 per GPU-hour with b200"
    )


def test_markdown_has_the_figures_and_user_text_stays_text() -> None:
    comparison = report().comparison
    text = markdown_of(comparison)
    row = comparison.rows[1]
    line = next(each for each in text.splitlines() if each.startswith("| 125 |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    for place, (kind, sku) in enumerate(product(KINDS, [*SKUS, None]), start=1):
        if sku is not None:
            value = getattr(row.pairs[sku], kind)
            cost = "-" if value is None else f"{value.usd_per_m_total_tokens:.4f}"
            assert cells[place].lstrip("\\*") == cost
    assert "Break-even" in text
    renamed = {"a|b<i>": row.pairs["gb200"], "b200": row.pairs["b200"]}
    answers = dict(zip(renamed, row.answers.values(), strict=False))
    ratios = {"b200": row.ratio}
    apart = dict.fromkeys(permutations(renamed, 2), row.apart["gb200", "b200"])
    changed = {"pairs": renamed, "answers": answers, "ratios": ratios, "apart": apart}
    again = row.model_copy(update=changed)
    fields = {"rows": (again,), "skus": tuple(renamed)}
    text = markdown_of(comparison.model_copy(update=fields))
    assert "<i>" not in text
    bars = {
        len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")
    }
    assert bars == {8, 6}


def test_markdown_is_a_format_of_the_command(command: Command) -> None:
    asked = ("compare", "gb200", "b200", "--targets", "75", "--max-gpus", "16")
    assert command(*asked, "--format", "md").out.startswith("# NVIDIA GB200 NVL72 against")
    assert "unknown --format 'pdf'; valid: md" in command(*asked, "--format", "pdf").err
    both = command(*asked, "--format", "md", "--json")
    assert (both.status, both.err) == (2, "Error: --json and --format: both are given; give one\n")


def test_every_assumption_has_a_value_and_prices_and_facts_a_source() -> None:
    content = report().content
    assert all(line["name"] and line["text"] for line in content["assumptions"])
    for line in [*content["facts"], *content["assumptions"][: len(SKUS)]]:
        assert line["source"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", line["date"])
        assert line["kind"] in ("datasheet", "measured", "assumed")
    assert {line["sku"] for line in content["accuracy"]} == set(SKUS)
    assert content["next"]


def test_measured_points_are_the_published_rows_and_runs_alike() -> None:
    by_sku = {each["sku"]: each for each in report().content["machines"]}
    tables = [point["table"] for point in by_sku["b200"]["points"]]
    assert tables.count("published table") == 11
    assert tables.count("shipped runs") > 5
    assert [gap["from"] for gap in by_sku["gb200"]["gaps"]] == [90.99, 164.37]
    assert all(point["engine"].startswith("trtllm") for point in by_sku["h200"]["points"])


@pytest.mark.parametrize("targets", [[1.0], [0.5, 2000.0], [124.9999, 125.0], [77.7]])
def test_the_grid_holds_the_targets_and_stays_small(targets: list[float]) -> None:
    for measured in ([], [20.1, 309.17]):
        grid = grid_of(targets, measured)
        assert set(targets) <= set(grid)
        assert grid == sorted(set(grid))
        assert 10 <= len(grid) <= 120
        assert min(grid) > 0


def test_the_command_writes_a_page_beside_its_answer(command: Command, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    asked = ("compare", "gb200", "b200", "--targets", "75", "--max-gpus", "16", "--price", "b200=2")
    run = command(*asked, "--report", str(page), "--json")
    assert run.status == 0
    content = content_of(page.read_text(encoding="utf-8"))
    assert content["command"] == (
        f"moeplan compare gb200 b200 --targets 75 --price b200=2 --max-gpus 16 --report {page}"
    )
    (row,) = run.json["rows"]
    place = content["grid"].index(75.0)
    for machine in content["machines"]:
        told = row[machine["sku"]]["modelled"]
        assert machine["modelled"][place]["cost"] == told["usd_per_m_total_tokens"]


@pytest.mark.parametrize("name", ["report.pdf", "missing/report.html", "report"])
def test_a_page_that_cannot_be_written_is_refused_first(
    command: Command, tmp_path: Path, name: str
) -> None:
    run = command("compare", "gb200", "b200", "--targets", "75", "--report", str(tmp_path / name))
    assert run.status == 2
    assert "--report" in run.err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not any(map(shutil.which, pdf.BROWSERS)), reason="no Chromium is here")
def test_a_page_is_printed() -> None:
    printed = pdf.pdf_of("<!doctype html><title>t</title><p>moeplan")
    assert printed.startswith(b"%PDF-")


def test_without_a_browser_it_is_said_what_to_install(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("compare", "gb200", "b200", "--targets", "75", "--pdf")
    wrong = command(*asked, str(tmp_path / "report.html"))
    assert (wrong.status, "give a name that ends in .pdf" in wrong.err) == (2, True)
    monkeypatch.setattr(pdf, "BROWSERS", ())
    run = command(*asked, str(tmp_path / "report.pdf"))
    assert (run.status, run.err) == (2, f"Error: {pdf.INSTALL}\n")
    assert not list(tmp_path.iterdir())


def test_a_page_may_not_overwrite_a_file_that_is_read(command: Command, tmp_path: Path) -> None:
    cluster = tmp_path / "mine.html"
    cluster.write_text("sku: b200\ngpus: 16\n")
    asked = ("compare", "gb200", "b200", "--targets", "75", "--cluster", str(cluster))
    run = command(*asked, "--report", str(cluster))
    assert run.status == 2
    assert "it is also --cluster" in run.err
    assert cluster.read_text().startswith("sku")


def test_prefill_on_another_machine_has_no_price_of_its_own_to_change() -> None:
    one = Space(
        prefill_workers=(1,),
        decode_workers=(1,),
        decode_gpus=(8,),
        mtp_depths=(2,),
        largest_batch=8,
        batch_ratio=4.0,
    )
    apart = Options(prefill_sku="h200", precision="fp8")
    row = moeplan.compare(["gb200", "b200"], [50.0], apart, space=one).rows[0]
    assert row.pairs["gb200"].modelled is not None
    assert set(row.break_even("modelled").values()) == {None}
    with pytest.raises(moeplan.InputError, match="prefill of gb200 stands on h200"):
        report_of(["gb200", "b200"], [50.0], apart, space=one)
