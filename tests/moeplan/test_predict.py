"""Predictions of what was measured, and of batches that do not fit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import moeplan
from costmodel.calibration_file import load_calibration
from costmodel.deployments import case_of
from costmodel.results import Configuration
from costmodel.validation import validate
from presets import serving_rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.samples import Command


def test_every_measured_row_is_predicted_as_validate_does() -> None:
    rows = serving_rows()
    expected = validate(rows, load_calibration()).predictions["tpot_median_ms"]
    cut = 0
    for row, tpot_ms in zip(rows, expected, strict=True):
        names = Configuration.model_fields
        configuration = Configuration(**{name: getattr(row, name) for name in names})
        options = moeplan.Options(
            model=row.model,
            precision=row.precision,
            isl=row.isl,
            osl=row.osl,
            cluster=case_of(row).cluster,
        )
        found = moeplan.predict(None, configuration, options)
        assert found.prediction.tpot_ms == pytest.approx(tpot_ms, rel=1e-9)
        cut += found.batch_limit < row.max_batch
    assert cut >= 14


@pytest.fixture
def too_many(tmp_path: Path) -> Path:
    """Describe a worker whose ranks are told, and given, more than their memory holds."""
    row = next(
        row
        for row in serving_rows()
        if (row.sku, row.isl, row.max_batch, row.concurrency) == ("h200", 8192, 256, 128)
    )
    names = Configuration.model_fields
    content = {name: getattr(row, name) for name in names} | {"concurrency": 4096}
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps({name: value for name, value in content.items() if value is not None})
    )
    return path


ASKED = ("--sku", "h200", "--isl", "8192", "--config")


def test_the_answer_says_that_the_batch_is_cut(command: Command, too_many: Path) -> None:
    told = command("predict", *ASKED, str(too_many), "--json")
    assert told.status == 0, told.err
    limit = told.json["batch_limit"]
    assert 1 <= limit < 256 == told.json["config"]["max_batch"]
    assert (
        f"KV memory holds {limit} of the 256 requests per rank."
        in command("predict", *ASKED, str(too_many)).out
    )


def test_nothing_is_said_where_the_batch_fits(
    command: Command, tmp_path: Path, configuration: dict[str, Any]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(configuration))
    assert "KV memory holds" not in command("predict", "--sku", "b200", "--config", str(path)).out


def test_a_recipe_needs_a_batch_that_fits(command: Command, too_many: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    asked = ("recipe", *ASKED, str(too_many), "--format", "trtllm", "--output", str(folder))
    run = command(*asked)
    assert run.status == 2
    assert "max_batch 256 does not fit in the memory of h200 at 8 GPUs per worker" in run.err
    assert not folder.exists()
    limit = int(run.err.rsplit(maxsplit=1)[1])
    too_many.write_text(json.dumps(json.loads(too_many.read_text()) | {"max_batch": limit}))
    assert command(*asked).status == 0


DEEP = """\
prefill_workers: 1
prefill_gpus_per_worker: 4
decode_workers: 1
decode_gpus_per_worker: 8
decode_ep: 8
decode_attention: dp
max_batch: 64
mtp_depth: 5
concurrency: 64
"""


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(DEEP)
    return path


def test_drafts_of_any_depth_are_predicted(command: Command, deep: Path) -> None:
    asked = ("predict", "--sku", "b200", "--config", str(deep))
    found = command(*asked, "--json").json
    kept = found["acceptance"]
    low, high = kept["interval_90"]
    assert 2.2 < low < 2.33 < kept["tokens_per_step"] < high < 3.0  # depth 3 keeps 2.33
    assert found["prediction"]["extrapolated_in"] == [
        "draft depth 5, beyond the 3 that acceptance is known of"
    ]
    assert "A step keeps 2.44 tokens (90 % interval" in command(*asked).out


def test_acceptance_of_ones_own_is_taken(command: Command, deep: Path) -> None:
    asked = ("predict", "--sku", "b200", "--config", str(deep), "--json", "--acceptance")
    by_length = command(*asked, "3.5").json
    assert by_length["acceptance"] == {
        "tokens_per_step": pytest.approx(3.5),
        "interval_90": [pytest.approx(3.5), pytest.approx(3.5)],
        "source": "given",
    }
    by_rates = command(*asked, "0.9,0.8").json["acceptance"]
    assert by_rates["tokens_per_step"] == pytest.approx(
        1 + 0.9 + 0.8 + sum(0.8 * (8 / 9) ** step for step in (1, 2, 3))
    )
    coding = command(*asked, "coding").json["acceptance"]
    assert coding["tokens_per_step"] > 2.44
    assert "give less than 6" in command(*asked, "6").err


def test_a_head_costs_as_much_as_its_own_layer(command: Command, deep: Path) -> None:
    asked = ("predict", "--sku", "b200", "--config", str(deep), "--json")
    layers = command(*asked).json["breakdown_ms"]["draft"]
    deep.write_text(f"{DEEP}draft: eagle3\n")
    head = command(*asked).json
    assert head["config"]["draft"] == "eagle3"
    assert 0.0 < head["breakdown_ms"]["draft"] < layers
    deep.write_text(f"{DEEP}draft: dspark\n")
    assert "valid: none, mtp, eagle3" in command(*asked).err


def test_percentiles_over_requests_are_printed(command: Command, deep: Path) -> None:
    asked = ("predict", "--sku", "b200", "--config", str(deep))
    found = command(*asked, "--json").json
    tails, prediction = found["percentiles_ms"], found["prediction"]
    assert prediction["tpot_ms"] < tails["tpot_p90"] < tails["tpot_p99"]
    assert tails["ttft_p90"] <= tails["ttft_p99"]
    assert "for 99 % of requests" in command(*asked).out
