"""Measured columns of the comparison against the published table."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from datetime import date
from typing import TYPE_CHECKING

import pytest

import moeplan
from moeplan import output
from moeplan.answers.comparison import MEASURED_NOISE, TOO_CLOSE, ComparisonRow, comparison_row
from moeplan.render.compare import BEYOND
from optimizer import Space
from presets import hardware_names, iso_rows, load_hardware, serving_rows
from presets.facts import Alternative

if TYPE_CHECKING:
    from pathlib import Path

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
    published_at = moeplan.Options(prices="2026-04")
    return moeplan.compare(
        SKUS, [row.tok_s_per_user for row in iso_rows()], published_at, space=tiny
    )


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


@pytest.mark.many_cases
def test_published_costs_are_at_the_prices_of_april(command: Command) -> None:
    """At 25 the published table has 0.0435 and 0.0441, at 125 it has 0.1486 and 0.5755."""
    asked = ("compare", "gb200", "b200", "--targets", "25,125", "--prices", "2026-04")
    low, high = command(*asked, "--json").json["rows"]
    for row, gb200, b200 in ((low, 0.0435, 0.0441), (high, 0.1486, 0.5755)):
        for sku, cost in (("gb200", gb200), ("b200", b200)):
            found = row[sku]["measured"]["usd_per_m_total_tokens"]
            assert found == pytest.approx(cost, abs=max(0.5e-4, 2e-4 * cost))
    assert high["ratio"]["measured_cost"] == pytest.approx(3.87, abs=0.005)
    header = " ".join(command(*asked).out.split())
    assert "gb200 at $2.21 per GPU-hour, b200 at $1.95 per GPU-hour (prices of 2026-04)" in header


def test_lines_have_equal_keys(comparison: moeplan.Comparison) -> None:
    table = comparison.to_rows()
    assert len({tuple(line) for line in table}) == 1
    assert table[0]["winner_measured"] == TOO_CLOSE
    assert table[-1]["gb200_measured_total_tok_s_per_gpu"] is None


def test_a_price_of_one_machine_changes_that_machine_only(space: Space) -> None:
    options = {"gb200": moeplan.Options(price=3.72), "b200": moeplan.Options()}
    row = moeplan.compare(SKUS, [75.0], options, space=space).rows[0]
    plain = moeplan.compare(SKUS, [75.0], space=space).rows[0]
    dear, cheap = (row.to_json()["gb200"]["measured"] for row in (row, plain))
    assert dear["usd_per_m_total_tokens"] == pytest.approx(2 * cheap["usd_per_m_total_tokens"])
    assert row.pairs["b200"] == plain.pairs["b200"]
    assert row.winner("measured") == "b200"


@pytest.mark.many_cases
def test_three_machines_fit_the_page(command: Command) -> None:
    asked = ("--targets", "40,2000", "--price", "2", "--max-gpus", "24")
    run = command("compare", "gb200", "b200", "h200", *asked)
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


def test_the_safe_choice_stands_beside_the_answer(command: Command) -> None:
    asked = ("b200", "--target", "75", "--max-gpus", "24")
    best = command("best", "--sku", *asked, "--json").json
    safe = best["safe_choice"]
    assert (safe["confidence"], safe["is_best"], safe["reason"]) == (0.9, False, None)
    assert safe["chance_to_meet"]["target"] >= 0.9 - 1e-6
    assert safe["prediction"]["origin"] == "modelled"
    cost = safe["prediction"]["usd_per_m_total_tokens"]
    assert safe["objective"]["amount"] == cost > best["prediction"]["usd_per_m_total_tokens"]
    more = 100 * (cost / best["prediction"]["usd_per_m_total_tokens"] - 1)
    assert safe["behind"] == f"{more:.1f} % dearer"
    table = " ".join(command("best", "--sku", *asked).out.split())
    assert "Safe choice: inside the data, each limit met with 90 % or more" in table
    assert f"Against the best: {more:.1f} % dearer. `moeplan recipe --safe` deploys it." in table
    limits = ("--targets", "75", "--max-gpus", "24")
    line = f"b200, safe choice (inside the data, each limit met with 90 % or more), $/M: {cost:.4f}"
    for run in (("curve", "--sku", "b200", *limits), ("compare", "b200", "gb300", *limits)):
        assert line.replace("$/M", "$/M tokens") in " ".join(command(*run).out.split())
    both = ("compare", "b200", "gb300", *limits)
    (row,) = command(*both, "--json").json["rows"]
    assert row["b200"]["modelled"]["safe_choice"] == safe
    assert row["gb300"]["modelled"]["safe_choice"]["config"] is None
    assert "machine gb300" in row["gb300"]["modelled"]["safe_choice"]["reason"]
    (row,) = csv.DictReader(command(*both, "--csv").out.splitlines())
    assert float(row["b200_safe_usd_per_m_total_tokens"]) == cost
    assert row["b200_safe_max_batch"] == str(safe["config"]["max_batch"])
    assert row["b200_safe_is_best"] == "False"
    assert row["gb300_safe_max_batch"] == ""
    assert "machine gb300" in row["gb300_safe_reason"]


def test_a_safe_answer_says_so_and_what_is_in_the_way_of_one_is_told(command: Command) -> None:
    sure = ("--within-data", "--min-confidence", "0.95", "--max-gpus", "24")
    asked = ("best", "--sku", "b200", "--target", "75", *sure)
    said = " ".join(command(*asked).out.split())
    assert "This is the safe choice too: inside the data, each limit met with 95 % or more." in said
    content = command(*asked, "--json").json
    assert content["safe_choice"]["is_best"] is True
    assert content["safe_choice"]["config"] == content["config"]
    assert content["safe_choice"]["behind"] == "equal"
    tight = ("best", "--sku", "b200", "--target", "75", "--max-ttft", "0.2", "--max-gpus", "24")
    said = " ".join(command(*tight).out.split())
    start = "No safe choice (inside the data, each limit met with 90 % or more): inside the data "
    assert f"{start}TTFT 0.2 s with confidence 0.9 is out of reach: the TTFT would have" in said
    assert (
        command("best", "--sku", "b200", "--target", "5000", "--json").json["safe_choice"] is None
    )


def test_nothing_reachable_exits_1(command: Command) -> None:
    run = command("compare", "gb200", "b200", "--targets", "5000", "--max-gpus", "16", "--json")
    assert run.status == 1
    found = run.json["rows"][0]["gb200"]
    assert (found["measured"], found["modelled"], found["gpus"]) == (None, None, None)
    assert "5000 tok/s/user is out of reach" in found["notes"][0]


def test_a_machine_that_was_not_measured_loses_to_none() -> None:
    tiny = Space(decode_gpus=(8,), decode_workers=(1,), mtp_depths=(0,), largest_batch=8)
    (row,) = moeplan.compare(["h200", "b200"], [60.0], space=tiny).rows
    assert row.pairs["h200"].measured is None
    assert row.pairs["b200"].measured is not None
    assert row.winner("measured") is None
    assert row.winner("modelled") is not None


def with_costs(row: ComparisonRow, measured: float, modelled: float) -> ComparisonRow:
    """The second machine at so many times the cost of the first."""
    answers = dict(row.answers)
    first, second = (answers[sku] for sku in SKUS)
    assert first.measured is not None
    assert second.measured is not None
    assert first.prediction is not None
    cost = "usd_per_m_total_tokens"
    price = {cost: first.measured.usd_per_m_total_tokens * measured}
    factor = first.prediction.usd_per_m_total_tokens * modelled
    interval = dict(first.prediction.interval_90)
    low, high = interval[cost]
    interval[cost] = (low * modelled, high * modelled)
    predicted = first.prediction.model_copy(update={cost: factor, "interval_90": interval})
    answers["b200"] = second.model_copy(
        update={
            "measured": second.measured.model_copy(update=price),
            "prediction": predicted,
        }
    )
    return comparison_row(row.target_tok_s_per_user, answers, row.apart)


def test_a_winner_within_what_is_known_is_too_close(comparison: moeplan.Comparison) -> None:
    row = comparison.rows[4]
    width = math.exp(row.apart[SKUS])
    for sign in (1, -1):
        inside = with_costs(row, 1.019**sign, width ** (0.99 * sign))
        outside = with_costs(row, 1.021**sign, width ** (1.01 * sign))
        winner = "gb200" if sign > 0 else "b200"
        for kind in ("measured", "modelled"):
            assert inside.winner(kind) == TOO_CLOSE
            assert outside.winner(kind) == winner


def test_noise_is_that_of_repeats() -> None:
    """Runs of one configuration among the shipped rows, but those that are one run twice."""
    runs: dict[tuple[object, ...], set[float]] = defaultdict(set)
    for row in serving_rows():
        config = [getattr(row, name) for name in moeplan.Configuration.model_fields]
        scenario = (row.sku, row.model, row.precision, row.isl, row.osl, row.framework)
        if row.total_tok_s_per_gpu is not None:
            runs[(*scenario, *config)].add(row.total_tok_s_per_gpu)
    spreads = [max(each) / min(each) - 1 for each in runs.values() if len(each) > 1]
    within = sum(spread <= MEASURED_NOISE for spread in spreads) / len(spreads)
    assert len(spreads) >= 15
    assert 0.7 < within < 0.9


def test_csv_can_be_read_alone(comparison: moeplan.Comparison) -> None:
    line = comparison.to_rows()[6]
    assert line["target_tok_s_per_user"] == 125.0
    for sku, price in (("gb200", 2.21), ("b200", 1.95)):
        assert line[f"{sku}_price_usd_per_hour"] == price
        assert (line[f"{sku}_model"], line[f"{sku}_isl"]) == ("deepseek-r1-0528", 1024)
        assert line[f"{sku}_modelled_ttft_ms_low"] < line[f"{sku}_modelled_ttft_ms"]
        assert line[f"{sku}_measured_origin"] == "interpolated"
        assert line[f"{sku}_modelled_gpus"] >= 12
        assert "measured around a hole" in line[f"{sku}_notes"]
    assert line["gb200_over_b200_measured_cost"] == line["ratio_measured_cost"]
    names = list(line)
    assert names.index("winner_modelled") < names.index("gb200_over_b200_measured_throughput")


def test_a_machine_that_refuses_is_named_and_the_others_compared(command: Command) -> None:
    run = command(
        *("compare", "h200", "gb200", "b200", "h100", "b300", "--targets", "5000"),
        *("--precision", "fp4", "--max-gpus", "16", "--json"),
    )
    assert run.status == 1
    assert list(run.json["refused"]) == ["h200", "h100"]
    assert "fp4" in run.json["refused"]["h200"]
    assert "h200 is not compared: " in run.err
    assert list(run.json["questions"]) == ["gb200", "b200", "b300"]
    assert list(run.json["rows"][0]["ratios"]) == ["b200", "b300"]
    none = command("compare", "h200", "h100", "--targets", "50", "--precision", "fp4", "--json")
    assert (none.status, none.out) == (2, "")


@pytest.mark.many_cases
def test_five_machines_fit_the_page(command: Command) -> None:
    skus = ("gb200", "b200", "h200", "b300", "gb300")
    run = command("compare", *skus, "--targets", "1500", "--price", "2", "--max-gpus", "16")
    assert run.status == 1
    run = command("compare", *skus, "--targets", "60,1500", "--max-gpus", "16")
    assert max(map(len, run.out.splitlines())) <= output.PLAIN_WIDTH
    assert all(f"gb200/{sku}" in run.out for sku in skus[1:])


@pytest.mark.many_cases
def test_the_assumed_fact_that_moves_the_ratio_most(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster file with the other rate gives the ratio that the comparison promises."""
    other = Alternative(value=100e9, source="another", date=date(2026, 11, 28))
    rate = load_hardware("b200").scale_out_rate.model_copy(
        update={"kind": "assumed", "alternatives": (other,)}
    )
    machines = {name: load_hardware(name) for name in hardware_names()}
    machines["b200"] = machines["b200"].model_copy(update={"scale_out_rate": rate})
    monkeypatch.setattr("presets.cluster.load_hardware", machines.__getitem__)
    asked = ("compare", "gb200", "b200", "--targets", "125")
    (high,) = command(*asked, "--json").json["rows"]
    found = high["ratio"]["assumed"]
    assert (found["sku"], found["fact"], found["unit"]) == ("b200", "scale_out_rate", "B/s")
    assert (found["value"], found["alternative"]) == (50e9, 100e9)
    assert high["ratios"]["b200"] == high["ratio"]
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("sku: b200\ngpus: 72\nnic_gb_s: 100\n")
    again = command(*asked, "--cluster", str(cluster), "--json").json["rows"][0]["ratio"]
    assert again["modelled_throughput"] == pytest.approx(found["modelled_throughput"], rel=1e-9)
    assert again["modelled_cost"] == pytest.approx(found["modelled_cost"], rel=1e-9)
    assert again["assumed"] is None  # the file says what the rate is
    lines = [*csv.DictReader(command(*asked, "--csv").out.splitlines())]
    assert [line["ratio_assumed_fact"] for line in lines] == ["scale_out_rate"]
    before = high["ratio"]["modelled_throughput"]
    ratio = f"{found['modelled_throughput']:.2f}x in place of {before:.2f}x"
    said = " ".join(command(*asked).out.split())
    assert "gb200 over b200 as modelled rests most on an assumed fact at 125" in said
    there = "the scale-out rate of b200 at 100 GB/s in place of 50 GB/s"
    assert f"{there}, the search gives {ratio}." in said


def test_a_ratio_that_rests_on_no_assumed_fact(command: Command) -> None:
    run = command("compare", "gb200", "gb300", "--targets", "125", "--max-gpus", "16")
    assert "rests on no assumed fact that another source has otherwise" in " ".join(run.out.split())


@pytest.mark.parametrize("billing", ["gpu", "domain"])
def test_what_prefills_elsewhere_is_paid_as_the_machine_that_it_is(billing: str) -> None:
    options = moeplan.Options(rate=30.0, billing=billing, prefill_sku="h200", max_gpus=400)
    pair = moeplan.compare(["b300", "b200"], [40], options).rows[0].pairs["b200"]
    fleet, modelled = pair.fleet, pair.modelled
    assert fleet is not None
    assert modelled is not None
    config = modelled.config
    prefill = config.prefill_workers * config.prefill_gpus_per_worker * fleet.replicas
    decode = config.decode_workers * config.decode_gpus_per_worker * fleet.replicas
    if billing == "domain":  # servers of 8 of either
        prefill, decode = (8 * math.ceil(each / 8) for each in (prefill, decode))
    assert fleet.gpus == prefill + decode
    b200, h200 = (load_hardware(name) for name in ("b200", "h200"))
    dollars = decode * b200.price_usd_per_hour.value + prefill * h200.price_usd_per_hour.value
    assert fleet.usd_per_hour == pytest.approx(dollars)
    watts = decode * b200.power_watts.value + prefill * h200.power_watts.value
    assert fleet.power_kw == pytest.approx(watts / 1e3)


def test_what_serves_a_rate_stands_beside_each_machine(command: Command) -> None:
    asked = ("--targets", "75", "--rate", "30")
    run = command("compare", "gb200", "b200", *asked, "--billing", "domain", "--json")
    pairs = [run.json["rows"][0][sku] for sku in ("gb200", "b200")]
    for pair, domain, price in zip(pairs, (72, 8), (1.86, 1.73), strict=True):
        fleet = pair["fleet"]
        assert fleet["gpus"] == fleet["domains"] * domain
        assert fleet["usd_per_hour"] == pytest.approx(fleet["gpus"] * price)
        assert fleet["usd_per_year"] == pytest.approx(8760 * fleet["gpus"] * price)
    watts = load_hardware("b200").power_watts.value
    assert pairs[1]["fleet"]["power_kw"] == pytest.approx(pairs[1]["fleet"]["gpus"] * watts / 1e3)
    best = command("best", "--sku", "b200", "--target", "75", *asked[2:], "--json").json
    free = command("compare", "gb200", "b200", *asked, "--csv")
    line = next(csv.DictReader(free.out.splitlines()))
    assert float(line["b200_fleet_gpus"]) == best["objective"]["amount"]
    assert int(line["b200_fleet_replicas"]) == best["objective"]["replicas"]
    table = command("compare", "gb200", "b200", *asked).out.partition("To serve 30 requests/s")[2]
    million = float(line["b200_fleet_usd_per_year"]) / 1e6
    assert table.split(" b200 ", 1)[1].split()[4] == f"{million:,.3f}"
