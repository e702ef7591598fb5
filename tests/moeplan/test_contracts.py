"""JSON is a contract: keys, nulls and numbers."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import moeplan
from moeplan.answers.best import Best
from moeplan.options import entries
from presets.nics import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optimizer import Space
    from tests.moeplan.conftest import BestOf
    from tests.samples import Command

CONFIG = [
    "serving",
    "prefill_workers",
    "prefill_gpus_per_worker",
    "prefill_attention",
    "decode_workers",
    "decode_gpus_per_worker",
    "decode_ep",
    "decode_attention",
    "decode_attention_tp",
    "prefill_stages",
    "max_batch",
    "mtp_depth",
    "draft",
    "eplb_slots",
    "concurrency",
    "frontends",
    "exchange",
]
FIGURES = [
    "tok_s_per_user",
    "tpot_ms",
    "ttft_ms",
    "ttft_median_ms",
    "total_tok_s_per_gpu",
    "usd_per_m_total_tokens",
]
PREDICTION = {*FIGURES, "origin", "extrapolated_in", "interval_90", "anchored_at"}
BEST = [
    "status",
    "sku",
    "target_tok_s_per_user",
    "scenario",
    "config",
    "prediction",
    "measured",
    "search",
    "runners_up",
    "breakdown_ms",
    "objective",
    "chance_to_meet",
    "percentiles_ms",
    "safe_choice",
    "placement",
    "question",
    "gpus",
    "version",
]
SAFE_CHOICE = [
    "confidence",
    "is_best",
    "config",
    "prediction",
    "objective",
    "chance_to_meet",
    "gpus",
    "behind",
    "reason",
]
SEARCH = ["candidates", "status", "gap", "seconds", "feasible", "pruned", "bound"]


def assert_finite(content: object) -> None:
    if isinstance(content, dict):
        for value in content.values():
            assert_finite(value)
    elif isinstance(content, list):
        for value in content:
            assert_finite(value)
    elif isinstance(content, float):
        assert math.isfinite(content)


@pytest.mark.parametrize("sku", ["gb200", "b200"])
def test_best(best_of: BestOf, sku: str) -> None:
    content = json.loads(json.dumps(best_of(sku, 75.0).to_json(), allow_nan=False))
    assert list(content) == BEST
    assert content["status"] == "optimal"
    assert content["sku"] == sku
    assert content["target_tok_s_per_user"] == 75.0
    assert content["scenario"] == {
        "model": "deepseek-r1-0528",
        "precision": "fp4",
        "isl": 1024,
        "osl": 1024,
        "engine": "trtllm",
        "cached_share": 0.0,
    }
    assert list(content["config"]) == CONFIG
    assert set(content["prediction"]) == PREDICTION
    assert list(content["prediction"]["interval_90"]) == FIGURES
    for name, (low, high) in content["prediction"]["interval_90"].items():
        assert low < content["prediction"][name] < high
    assert content["prediction"]["tok_s_per_user"] >= 75.0
    assert set(content["measured"]) == {
        "total_tok_s_per_gpu",
        "usd_per_m_total_tokens",
        "origin",
        "between",
    }
    assert len(content["measured"]["between"]) == 2
    assert list(content["search"]) == SEARCH
    found = content["search"]
    assert found["candidates"] > found["feasible"] > found["pruned"] > 0
    assert found["bound"] == pytest.approx(content["prediction"]["usd_per_m_total_tokens"])
    assert content["search"]["status"] == "OPTIMAL"
    assert content["search"]["gap"] == 0.0
    assert list(content["safe_choice"]) == SAFE_CHOICE
    assert list(content["safe_choice"]["config"]) == CONFIG
    assert set(content["safe_choice"]["prediction"]) == PREDICTION
    for other in content["runners_up"]:
        assert list(other) == ["config", "prediction", "lost_by"]
        assert other["lost_by"]
    parts = content["breakdown_ms"]
    assert {"attention", "experts", "dispatch", "combine", "exposed_communication"} <= set(parts)
    assert_finite(content)


def test_best_round_trips_through_its_own_json(best_of: BestOf) -> None:
    found = best_of("b200", 75.0)
    assert Best.model_validate(found.model_dump() | {"search": dict(found.search)}).config == (
        found.config
    )


def test_an_answer_says_all_that_was_asked(best_of: BestOf) -> None:
    question = best_of("gb200", 75.0).to_json()["question"]
    keys = [option.key for _, option, _ in entries()]
    assert list(question) == ["sku", *keys]
    usual = {option.key: default for _, option, default in entries()}
    asked = {"precision": "fp4", "price_usd_per_hour": 1.86, "calibration": "shipped"}
    asked |= {"prices": "2026-07", "objective": "cost"}
    assert question == usual | asked | {"sku": "gb200"}


def test_infeasible(command: Command) -> None:
    run = command("best", "--sku", "b200", "--target", "1000", "--json")
    assert run.status == 1
    beside = ["nearest_measured", "reason", "conflicts", "nearest_target_tok_s_per_user"]
    assert list(run.json) == [*BEST[:-3], *beside, *BEST[-3:]]
    (conflict,) = run.json["conflicts"]
    assert (conflict["limit"], conflict["asked"]) == ("target", 1000.0)
    assert conflict["needed"] == run.json["nearest_target_tok_s_per_user"]
    assert run.json["status"] == "infeasible"
    assert run.json["config"] is run.json["prediction"] is run.json["breakdown_ms"] is None
    assert run.json["measured"] is None
    assert run.json["runners_up"] == []
    assert run.json["search"]["status"] == "INFEASIBLE"
    assert run.err == f"Error: {run.json['reason']}\n"
    assert "1000 tok/s/user is out of reach" in run.err
    assert_finite(run.json)


def test_infeasible_in_words(command: Command) -> None:
    run = command("best", "--sku", "gb200", "--target", "1000")
    assert (run.status, run.out) == (1, "")
    assert "tok/s/user" in run.err
    assert run.err.count("\n") == 1


def test_compare(space: Space) -> None:
    published_at = moeplan.Options(prices="2026-04")
    content = moeplan.compare(["gb200", "b200"], [75.0, 300.0], published_at, space=space).to_json()
    assert list(content) == ["rows", "questions", "refused", "version"]
    assert content["questions"]["b200"]["price_usd_per_hour"] == 1.95
    assert content["questions"]["gb200"]["sku"] == "gb200"
    assert content["refused"] == {}
    row, unreachable = content["rows"]
    assert list(row) == [
        "target_tok_s_per_user",
        "gb200",
        "b200",
        "ratio",
        "ratios",
        "winner",
        "break_even",
    ]
    assert row["ratios"] == {"b200": row["ratio"]}
    modelled = [row[sku]["modelled"] for sku in ("gb200", "b200")]
    cost = "usd_per_m_total_tokens"
    apart = math.log(modelled[1][cost] / modelled[0][cost])
    widths = [math.log(high / low) / 2 for low, high in (m["interval_90"][cost] for m in modelled)]
    low, high = row["ratio"]["modelled_cost_90"]
    assert math.sqrt(low * high) == pytest.approx(math.exp(apart))
    assert math.log(high / low) / 2 < math.hypot(*widths)  # what both share cancels
    winner = "gb200" if low > 1.0 else "too close to call"
    assert row["winner"] == {"measured": "gb200", "modelled": winner}
    assert list(row["ratio"]) == [
        "measured_throughput",
        "measured_cost",
        "modelled_throughput",
        "modelled_cost",
        "modelled_throughput_90",
        "modelled_cost_90",
        "assumed",
    ]
    for sku in ("gb200", "b200"):
        assert list(row[sku]) == ["measured", "modelled", "gpus", "fleet", "notes"]
        config = moeplan.Configuration(**row[sku]["modelled"]["config"])
        assert row[sku]["gpus"] == config.gpus
        assert set(row[sku]["modelled"]) == {
            *PREDICTION,
            "config",
            "chance_to_meet",
            "safe_choice",
        }
        assert list(row[sku]["modelled"]["config"]) == CONFIG
    throughput = [row[sku]["modelled"]["total_tok_s_per_gpu"] for sku in ("gb200", "b200")]
    assert row["ratio"]["modelled_throughput"] == pytest.approx(throughput[0] / throughput[1])
    assert row["ratio"]["measured_cost"] == pytest.approx(0.0777 / 0.0655, rel=2e-3)
    assert unreachable["gb200"]["measured"] is None
    assert unreachable["b200"]["measured"] is not None
    assert unreachable["ratio"]["measured_throughput"] is None
    assert unreachable["ratio"]["measured_cost"] is None
    assert_finite(content)


def test_validate(command: Command, measurements: Mapping[str, Path], tmp_path: Path) -> None:
    lines = measurements["measured_serving"].read_text().splitlines()
    rows, output = tmp_path / "rows.csv", tmp_path / "predicted.csv"
    rows.write_text("\n".join(lines[:6] + lines[-3:]))
    run = command("validate", str(rows), "--json", "--output", str(output))
    assert run.status == 0
    figures = {"tpot", "ttft", "throughput"}
    statistics = {"mape", "median_ape", "p90_ape", "max_ape", "coverage_90"}
    assert run.json["rows"] == 8
    assert {"rows", "by", *figures} <= set(run.json)
    assert {"sku", "precision", "attention"} <= set(run.json["by"])
    for figure in figures:
        assert statistics <= set(run.json[figure])
        for group in run.json["by"]["sku"].values():
            assert statistics <= set(group[figure])
            assert group["rows"] > 0
    with output.open() as file:
        written = list(csv.DictReader(file))
    assert len(written) == 8
    assert {*CONFIG, "predicted_tpot_ms", "predicted_tpot_ms_low", "measured_tpot_ms"} <= set(
        written[0]
    )
    assert command("validate", str(rows), "--csv").out == output.read_text()


def test_validate_uses_nothing_that_was_measured(
    command: Command, measurements: Mapping[str, Path], tmp_path: Path
) -> None:
    with measurements["inferencex_2026-05-22"].open() as file:
        content = list(csv.DictReader(file))[:3]
    predicted = []
    for factor in (1.0, 3.0):
        for row in content:
            row["tpot_ms"] = str(factor * float(row["tpot_ms"]))
        path = tmp_path / "rows.csv"
        with path.open("w") as file:
            writer = csv.DictWriter(file, content[0])
            writer.writeheader()
            writer.writerows(content)
        lines = csv.DictReader(command("validate", str(path), "--csv").out.splitlines())
        predicted.append([line["predicted_tpot_ms"] for line in lines])
    assert predicted[0] == predicted[1]


def test_predict_takes_what_best_prints(command: Command, best_of: BestOf, tmp_path: Path) -> None:
    found = best_of("b200", 75.0)
    path = tmp_path / "best.json"
    path.write_text(json.dumps(found.to_json()))
    run = command("predict", "--sku", "b200", "--config", str(path), "--json")
    assert run.status == 0
    assert run.json["config"] == found.to_json()["config"]
    for name in FIGURES:
        assert run.json["prediction"][name] == pytest.approx(getattr(found.prediction, name))
    assert run.json["breakdown_ms"] == pytest.approx(found.to_json()["breakdown_ms"], rel=1e-6)
    assert run.json["sku"] == "b200"
    assert_finite(run.json)


def test_predict_takes_yaml(
    command: Command, configuration: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(f"{key}: {value}" for key, value in configuration.items()))
    run = command("predict", "--sku", "b200", "--config", str(path), "--json")
    # A file without the mode of prefill means dp, a depth layers of the checkpoint, and ten
    # frontends are those of the measured runs; what is printed says so.
    said = {"serving": "disaggregated", "prefill_attention": "dp", "frontends": 10, "draft": "mtp"}
    said |= {"exchange": None}
    said |= {"decode_attention_tp": 1, "prefill_stages": 1}
    assert run.json["config"] == configuration | said
    parts = dict(run.json["breakdown_ms"])
    exposed = parts.pop("exposed_communication")
    links = parts["dispatch"] + parts["combine"] + parts["all_reduce"]
    assert exposed == pytest.approx(links)


def test_topology(command: Command) -> None:
    content = command("topology", "show", "--sku", "b200", "--gpus", "32", "--json").json
    keys = ["sku", "gpus", "gpus_per_node", "domains", "unusable", "links", "groups"]
    assert list(content) == keys
    assert content["domains"] == [{"domains": 4, "gpus": 8}]
    rates = {group["gpus"]: group["all_to_all_gb_s"] for group in content["groups"]}
    # 15 parts leave a GPU, 8 of them over its 50 GB/s NIC; 31 and 24 for two servers more.
    assert rates == pytest.approx({4: 900.0, 8: 900.0, 16: 50 * 15 / 8, 32: 50 * 31 / 24})


def test_presets(command: Command) -> None:
    names = command("presets", "list", "--json").json
    assert [entry["name"] for entry in names["hardware"]] == [
        "b200",
        "b300",
        "gb200",
        "gb300",
        "h100",
        "h20",
        "h200",
        "h800",
        "mi300x",
        "mi325x",
        "mi350x",
        "mi355x",
        "mi455x",
        "tpu7x",
        "trainium3",
        "vr-nvl72",
    ]
    for kind, presets in names.items():
        least = 1 + len(BOUNDS) if kind == "nics" else 11
        for entry in presets:
            shown = command("presets", "show", entry["name"], "--json").json
            assert "source" in json.dumps(shown)
            assert command("presets", "show", entry["name"], "--csv").out.count("\n") >= least


def test_frontends_of_a_search_and_of_its_answer(command: Command) -> None:
    asked = ("best", "--sku", "gb200", "--target", "250", "--json")
    one, ten = command(*asked).json, command(*asked, "--frontends", "10").json
    assert (one["config"]["frontends"], ten["config"]["frontends"]) == (1, 10)
    throughput = "total_tok_s_per_gpu"
    assert one["prediction"][throughput] > ten["prediction"][throughput]
    assert all(row["config"]["frontends"] == 10 for row in ten["measured"]["between"])
    refused = command(*asked, "--frontends", "0")
    assert (refused.status, refused.out) == (2, "")
    assert "--frontends: '0' is not valid; give a whole number from 1 to 1000" in refused.err
