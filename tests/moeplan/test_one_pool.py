"""Aggregated serving from the command line: predicted, validated, and refused where it must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from presets.folders import DATA

if TYPE_CHECKING:
    from pathlib import Path

    from tests.samples import Command

NO_PREFILL_WORKERS = """\
prefill_workers: 0
prefill_gpus_per_worker: 4
decode_workers: 1
decode_gpus_per_worker: 8
decode_ep: 8
decode_attention: dp
max_batch: 64
mtp_depth: 0
concurrency: 64
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(NO_PREFILL_WORKERS)
    return path


def test_no_prefill_workers_are_predicted_as_one_pool(command: Command, config: Path) -> None:
    told = command("predict", "--sku", "b200", "--config", str(config))
    assert told.status == 0, told.err
    assert "One pool     1 worker x 8 GPUs, EP 8, attention dp" in told.out
    assert "server 1: worker 1 (8 GPUs)" in told.out
    assert "prefill of other requests" in told.out
    found = command("predict", "--sku", "b200", "--config", str(config), "--json").json
    assert (found["config"]["serving"], found["gpus"]) == ("aggregated", 8)
    assert found["prediction"]["origin"] == "modelled"
    assert found["breakdown_ms"]["interleaved_prefill"] > 0.0
    assert found["placement"][0]["workers"][0]["role"] == "both"


def test_an_answer_of_one_pool_is_asked_again(
    command: Command, config: Path, tmp_path: Path
) -> None:
    first = command("predict", "--sku", "b200", "--config", str(config), "--json")
    answer = tmp_path / "answer.json"
    answer.write_text(first.out)
    assert command("predict", "--config", str(answer), "--json").json == first.json


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("serving: disaggregated", "prefill_workers is 0; it must be at least 1"),
        ("serving: mixed", "serving"),
    ],
)
def test_pools_that_contradict_themselves_are_refused(
    command: Command, config: Path, line: str, problem: str
) -> None:
    config.write_text(NO_PREFILL_WORKERS + line + "\n")
    told = command("predict", "--sku", "b200", "--config", str(config))
    assert (told.status, told.out) == (2, "")
    assert problem in told.err


def test_one_pool_stands_on_one_machine(command: Command, config: Path) -> None:
    told = command("predict", "--sku", "gb200", "--prefill-sku", "b200", "--config", str(config))
    assert told.status == 2
    assert "prefill_sku b200 is not valid in aggregated serving" in told.err


def test_a_recipe_of_one_pool_is_refused_by_a_format_of_two(
    command: Command, config: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    asked = ("--sku", "b200", "--format", "slurm", "--output", str(folder))
    told = command("recipe", "--config", str(config), *asked)
    assert told.status == 2
    assert "serving 'aggregated' is not valid for --format slurm" in told.err
    assert not folder.exists()


def test_validate_tells_by_serving_mode(command: Command) -> None:
    rows = DATA / "measurements" / "aggregated_serving.csv"
    told = command("validate", str(rows), "--json")
    assert told.status == 0, told.err
    by = told.json["by"]["serving"]["aggregated"]
    assert by["rows"] == told.json["rows"] == 177
    assert by["tpot"]["median_ape"] < 0.05
    assert by["tpot"]["mape"] < 0.08
    assert "By serving mode" in command("validate", str(rows)).out


SMALL = ("--sku", "b200", "--target", "60", "--max-gpus", "12")


def test_the_better_of_one_pool_and_two(command: Command) -> None:
    answers = {
        mode: command("best", *SMALL, "--serving", mode, "--json").json
        for mode in ("disaggregated", "aggregated", "either")
    }
    costs = {
        mode: answers[mode]["prediction"]["usd_per_m_total_tokens"]
        for mode in ("disaggregated", "aggregated")
    }
    either, better = answers["either"], min(costs, key=lambda mode: costs[mode])
    (other,) = set(costs) - {better}
    assert either["config"] == answers[better]["config"]
    assert either["config"]["serving"] == better
    lost = either["other_serving"]
    assert (lost["serving"], lost["config"]) == (other, answers[other]["config"])
    dearer = 100.0 * (costs[other] / costs[better] - 1.0)
    assert lost["lost_by"] == f"{dearer:.1f} % dearer"
    assert either["question"]["serving"] == "either"
    assert "other_serving" not in answers["aggregated"]


def test_what_splitting_gives_is_printed(command: Command) -> None:
    told = command("best", *SMALL, "--serving", "either")
    assert "Splitting prefill from decode pays: one pool that does both, 1x8PD" in told.out
    alone = command(
        "best", "--sku", "b200", "--target", "60", "--max-gpus", "4", "--serving", "either"
    )
    assert alone.status == 0, alone.err
    text = " ".join(alone.out.split())
    assert "One pool pays: workers of their own for prefill cannot do it: max_gpus 4 is too" in text


def test_curve_and_compare_take_a_serving_mode(command: Command) -> None:
    asked = ("--targets", "50,400", "--max-gpus", "8", "--serving")
    rows = command("curve", "--sku", "b200", *asked, "aggregated", "--json").json["rows"]
    assert [row["status"] for row in rows] == ["optimal", "infeasible"]
    assert rows[0]["config"]["serving"] == "aggregated"
    either = command("curve", "--sku", "b200", *asked, "either", "--csv")
    assert either.status == 0, either.err
    assert "other_serving_lost_by" in either.out.splitlines()[0]
    compared = command("compare", "gb200", "b200", *asked, "aggregated", "--json").json
    for sku in ("gb200", "b200"):
        assert compared["rows"][0][sku]["modelled"]["config"]["serving"] == "aggregated"


@pytest.mark.many_cases
def test_one_pool_is_explained_and_held_against_draws(command: Command) -> None:
    asked = ("--sku", "b200", "--target", "60", "--max-gpus", "8", "--serving", "aggregated")
    told = command("best", *asked, "--explain", "--json")
    assert told.status == 0, told.err
    links = told.json["explain"]["links"]
    assert told.json["config"]["serving"] == "aggregated"
    # No cache is handed over; prefill of the worker's own ranks crosses NVLink.
    assert [links[role]["nic"]["moved_bytes"] for role in ("decode", "prefill")] == [0.0, 0.0]
    assert links["prefill"]["nvlink"]["moved_bytes"] > 0.0
    robust = command("best", *asked, "--robust", "--json")
    assert robust.status == 0, robust.err


def test_nothing_of_either_mode(command: Command) -> None:
    told = command("best", *SMALL[:2], "--target", "5000", "--max-gpus", "8", "--serving", "either")
    assert told.status == 1
    assert "5000 tok/s/user is out of reach" in told.err
    wrong = command("best", *SMALL, "--serving", "both")
    assert wrong.status == 2
    assert "valid: aggregated, disaggregated, either" in wrong.err
