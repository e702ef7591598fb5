"""Predictions of what was measured, and of batches that do not fit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import moeplan
from costmodel.calibration import load_calibration
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
            model=row.model, precision=row.precision, isl=row.isl, osl=row.osl
        )
        found = moeplan.predict(row.sku, configuration, options)
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
