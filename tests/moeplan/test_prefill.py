"""The attention of prefill in files and in print."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.samples import Command


def config_file(folder: Path, content: dict[str, Any]) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_a_shared_prefill_is_printed_and_said_to_be_extrapolated(
    command: Command, configuration: dict[str, Any], tmp_path: Path
) -> None:
    shared = config_file(tmp_path, configuration | {"prefill_attention": "tp"})
    run = command("predict", "--sku", "gb200", "--config", shared)
    assert "1 worker x 4 GPUs, attention tp\n" in run.out
    assert "Extrapolated, outside the calibration data in: prefill attention tp over 4 GPUs." in (
        " ".join(run.out.split())
    )
    found = command("predict", "--sku", "gb200", "--config", shared, "--json").json
    assert list(found["config"])[2:4] == ["prefill_gpus_per_worker", "prefill_attention"]
    assert found["config"]["prefill_attention"] == "tp"
    own = config_file(tmp_path, configuration)
    assert "attention tp" not in command("predict", "--sku", "gb200", "--config", own).out


@pytest.mark.parametrize("value", ["ep", "TP", "", 1, None, True, ["tp"]])
def test_a_mode_that_is_none(
    command: Command, configuration: dict[str, Any], tmp_path: Path, value: object
) -> None:
    path = config_file(tmp_path, configuration | {"prefill_attention": value})
    run = command("predict", "--sku", "gb200", "--config", path)
    assert run.status == 2
    assert "prefill_attention" in run.err
    assert "'tp' or 'dp'" in run.err
    assert run.err.count("\n") == 1


def test_rows_may_tell_the_mode(
    command: Command, measurements: Mapping[str, Path], tmp_path: Path
) -> None:
    with measurements["measured_serving"].open() as file:
        rows = list(csv.DictReader(file))[:2]
    path = tmp_path / "rows.csv"

    def validated(modes: tuple[str, str]) -> Any:
        with path.open("w") as file:
            writer = csv.DictWriter(file, [*rows[0], "prefill_attention"])
            writer.writeheader()
            for row, mode in zip(rows, modes, strict=True):
                writer.writerow(row | {"prefill_attention": mode})
        return command("validate", str(path), "--output", str(tmp_path / "out.csv"), "--json")

    assert validated(("", "tp")).status == 0
    with (tmp_path / "out.csv").open() as file:
        assert [row["prefill_attention"] for row in csv.DictReader(file)] == ["dp", "tp"]
    wrong = validated(("dp", "split"))
    assert wrong.status == 1  # the other row is predicted all the same
    assert "line 3" in wrong.err
    assert "prefill_attention" in wrong.err


def test_a_curve_has_a_column_for_it(command: Command) -> None:
    run = command("curve", "--sku", "gb200", "--targets", "60", "--csv")
    (row,) = csv.DictReader(run.out.splitlines())
    names = list(row)
    assert names[names.index("prefill_gpus_per_worker") + 1] == "prefill_attention"
    assert row["prefill_attention"] == "dp"
