"""Aggregated serving from the command line: predicted, validated, and refused where it must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from presets.files import DATA

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


def test_a_recipe_of_one_pool_is_refused(command: Command, config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    asked = ("--sku", "b200", "--format", "trtllm", "--output", str(folder))
    told = command("recipe", "--config", str(config), *asked)
    assert told.status == 2
    assert "serving 'aggregated' is not valid for a recipe" in told.err
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
