"""Measured columns of the comparison against the published table."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

import moeplan
from moeplan import output
from moeplan.render.compare import BEYOND
from optimizer import Space
from presets import iso_rows

if TYPE_CHECKING:
    from tests.samples import Command

SKUS = ("gb200", "b200")


@pytest.fixture(scope="module")
def comparison() -> moeplan.Comparison:
    tiny = Space(
        prefill_workers=(1, 2),
        prefill_gpus=(4,),
        decode_workers=(1, 4),
        decode_gpus=(8,),
        mtp_depths=(2,),
        largest_batch=64,
        batch_ratio=2.0,
    )
    return moeplan.compare(SKUS, [row.tok_s_per_user for row in iso_rows()], space=tiny)


@pytest.mark.parametrize("sku", SKUS)
def test_throughput_is_as_published(comparison: moeplan.Comparison, sku: str) -> None:
    compared = 0
    for row, published in zip(comparison.rows, iso_rows(), strict=True):
        expected = getattr(published, f"{sku}_tok_s_per_gpu")
        measured = row.pairs[sku].measured
        assert (measured is None) == (expected is None)
        if measured is not None:
            assert round(measured.total_tok_s_per_gpu) == expected
            compared += 1
    assert compared == (13 if sku == "gb200" else 14)


@pytest.mark.parametrize("sku", SKUS)
def test_cost_is_as_published(comparison: moeplan.Comparison, sku: str) -> None:
    for row, published in zip(comparison.rows, iso_rows(), strict=True):
        expected, measured = getattr(published, f"{sku}_usd_per_m"), row.pairs[sku].measured
        if expected is not None and measured is not None:
            assert measured.usd_per_m_total_tokens == pytest.approx(expected, rel=2e-4, abs=5.1e-5)


def test_above_the_fastest_row_is_unreachable(comparison: moeplan.Comparison) -> None:
    last = comparison.rows[-1]
    assert last.target_tok_s_per_user == 300.0
    assert last.pairs["gb200"].measured is None
    assert "unreachable" in str(last.answers["gb200"].not_measured)
    assert last.answers["gb200"].above_measured
    assert not last.answers["b200"].above_measured
    assert last.winner("measured") == "b200"


def test_winner_is_the_cheapest(comparison: moeplan.Comparison) -> None:
    by_target = {row.target_tok_s_per_user: row for row in comparison.rows}
    assert by_target[125.0].winner("measured") == "gb200"
    assert by_target[250.0].winner("measured") == "b200"
    assert by_target[125.0].ratio.measured_throughput == pytest.approx(4.39, abs=0.005)
    assert by_target[125.0].ratio.measured_cost == pytest.approx(3.87, abs=0.005)


def test_lines_have_equal_keys(comparison: moeplan.Comparison) -> None:
    table = comparison.to_rows()
    assert len({tuple(line) for line in table}) == 1
    assert table[0]["winner_measured"] == "gb200"
    assert table[-1]["gb200_measured_total_tok_s_per_gpu"] is None


def test_a_price_of_one_machine_changes_that_machine_only(space: Space) -> None:
    options = {"gb200": moeplan.Options(price=4.42), "b200": moeplan.Options()}
    row = moeplan.compare(SKUS, [75.0], options, space=space).rows[0]
    plain = moeplan.compare(SKUS, [75.0], space=space).rows[0]
    dear, cheap = (row.to_json()["gb200"]["measured"] for row in (row, plain))
    assert dear["usd_per_m_total_tokens"] == pytest.approx(2 * cheap["usd_per_m_total_tokens"])
    assert row.pairs["b200"] == plain.pairs["b200"]
    assert row.winner("measured") == "b200"


def test_three_machines_fit_the_page(command: Command) -> None:
    run = command("compare", "gb200", "b200", "h200", "--targets", "40,2000", "--price", "2")
    assert run.status == 0
    assert max(map(len, run.out.splitlines())) <= output.PLAIN_WIDTH
    assert "h200: deepseek-r1-0528 in fp8" in run.out
    assert f"{BEYOND}: no deployment" in run.out


def test_csv(command: Command) -> None:
    run = command("compare", "gb200", "b200", "--targets", "75,300", "--csv")
    first, second = csv.DictReader(run.out.splitlines())
    assert round(float(first["gb200_measured_total_tok_s_per_gpu"])) == 9379
    assert second["gb200_measured_total_tok_s_per_gpu"] == ""


def test_the_chance_to_meet_each_limit_is_printed(command: Command) -> None:
    asked = ("b200", "--target", "75", "--max-ttft", "1", "--max-gpus", "24")
    best = command("best", "--sku", *asked, "--json").json["chance_to_meet"]
    assert 0.5 <= best["target"] < 0.6
    assert best["max_ttft"] >= 0.5
    table = command("best", "--sku", *asked).out
    assert f"Chance to meet the target: {100 * best['target']:.0f} %, the limit on TTFT: " in table
    limits = ("--targets", "75", "--max-ttft", "1", "--max-gpus", "24")
    lines = command("compare", "gb200", "b200", *limits).out
    for what in ("the target", "the limit on TTFT"):
        assert f"Chance that b200 as modelled meets {what}: " in lines
        assert what in command("curve", "--sku", "b200", *limits).out
    (row,) = csv.DictReader(command("compare", "gb200", "b200", *limits, "--csv").out.splitlines())
    assert float(row["b200_chance_to_meet_target"]) == best["target"]
    assert float(row["b200_chance_to_meet_max_ttft"]) == best["max_ttft"]


def test_nothing_reachable_exits_1(command: Command) -> None:
    run = command("compare", "gb200", "b200", "--targets", "5000", "--json")
    assert run.status == 1
    assert run.json["rows"][0]["gb200"] == {"measured": None, "modelled": None}


def test_a_machine_that_was_not_measured_loses_to_none() -> None:
    tiny = Space(decode_gpus=(8,), decode_workers=(1,), mtp_depths=(0,), largest_batch=8)
    (row,) = moeplan.compare(["h200", "b200"], [60.0], space=tiny).rows
    assert row.pairs["h200"].measured is None
    assert row.pairs["b200"].measured is not None
    assert row.winner("measured") is None
    assert row.winner("modelled") is not None
