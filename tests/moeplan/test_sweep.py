"""``moeplan sweep``: rows of a grid, shared work, and taking up where it stopped."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pytest

import moeplan
from moeplan import sweep as module
from moeplan.sweep import Group, answer_group, columns_of, read_grid, sweep
from tests.moeplan.test_extras import hide
from tests.samples import Command

GRID = """
machines: [b200, "b200:vllm", mi355x]
targets: [40, 90]
prices_usd_per_hour: [1.5, 3]
isl: [512, 1024]
max_gpus: 8
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(GRID, encoding="utf-8")
    return path


def test_every_combination_is_asked_once(grid: Path) -> None:
    groups = read_grid(grid)
    assert len(groups) == 6
    assert sum(group.questions for group in groups) == 24
    assert len({group.key for group in groups}) == 6
    assert {group.options["isl"] for group in groups} == {512, 1024}


def test_a_scaled_price_is_what_a_search_at_it_gives() -> None:
    rows = answer_group(Group("b200", {"max_gpus": 8}, (40.0, 90.0), (1.5, 3.0)))
    dear = moeplan.Options(max_gpus=8, price=3.0)
    alone = moeplan.curves(["b200"], [40.0, 90.0], dear).to_rows()
    for row, other in zip(rows[2:], alone, strict=True):
        assert row.keys() == other.keys()
        for name, value in other.items():
            expected = pytest.approx(value) if isinstance(value, float) else value
            assert row[name] == expected, name


def test_the_command_writes_rows_and_leaves_no_parts(command: Command, grid: Path) -> None:
    output = grid.with_name("out.csv")
    run = command("sweep", str(grid), "--output", str(output), "--jobs", "1")
    assert run.status == 0
    assert "24 questions, 8 of them refused with a reason" in run.out
    rows = [*csv.DictReader(output.read_text(encoding="utf-8").splitlines())]
    assert len(rows) == 24
    refused = [row for row in rows if row["status"] == "refused"]
    assert {row["label"] for row in refused} == {"mi355x"}
    assert all(row["reason"] for row in refused)
    assert {row["isl"] for row in rows if row["status"] == "optimal"} == {"512", "1024"}
    assert sorted(path.name for path in grid.parent.iterdir()) == ["grid.yaml", "out.csv"]


def test_what_was_answered_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = [Group("b200", {"isl": isl}, (40.0,), (None,)) for isl in (512, 1024)]
    asked: list[Any] = []

    def stops_at_the_second(group: Group) -> list[dict[str, Any]]:
        asked.append(group.options["isl"])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return [{"label": group.machine, "isl": group.options["isl"]}]

    monkeypatch.setattr(module, "answer_group", stops_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        sweep(groups, tmp_path / "parts", jobs=1)
    told: list[int] = []
    rows = sweep(groups, tmp_path / "parts", jobs=1, progress=told.append)
    assert asked == [512, 1024, 1024]
    assert [row["isl"] for row in rows] == [512, 1024]
    assert told == [1, 1]


def test_a_file_that_changed_meanwhile_is_asked_again(tmp_path: Path) -> None:
    cluster, grid = tmp_path / "mine.yaml", tmp_path / "grid.yaml"
    grid.write_text(f"machines: ['{cluster}:vllm']\ntargets: 50\n", encoding="utf-8")
    keys = []
    for gpus in (16, 16, 32):
        cluster.write_text(f"sku: b200\ngpus: {gpus}\n", encoding="utf-8")
        keys += [group.key for group in read_grid(grid)]
    assert keys[0] == keys[1] != keys[2]


def test_processes_give_the_same_rows(tmp_path: Path) -> None:
    groups = [Group("b200", {"max_gpus": 8, "isl": isl}, (40.0,), (None,)) for isl in (512, 1024)]
    one = sweep(groups, tmp_path / "one", jobs=1)
    two = sweep(groups, tmp_path / "two", jobs=2)
    assert one == two


def test_columns_are_of_one_type() -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "b": "x", "c": None}, {"a": 0.5, "b": 2, "c": None}]
    assert columns_of(rows) == {"a": [1.0, 0.5], "b": ["x", "2"], "c": [None, None]}


def test_parquet_has_the_same_rows(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"label": "b200", "status": "optimal", "gpus": 8, "cost": 0.5}]
    monkeypatch.setattr(module, "answer_group", lambda group: rows)
    grid = tmp_path / "grid.yaml"
    grid.write_text("machines: b200\ntargets: 40\n", encoding="utf-8")
    output = tmp_path / "out.parquet"
    assert command("sweep", str(grid), "--output", str(output), "--jobs", "1").status == 0
    assert parquet.read_table(output).to_pylist() == rows


BAD = {
    "machines: b200\n": "targets: is missing",
    "machines: b200\ntargets: 40\njoy: 1\n": "joy: is not a known key",
    "machines: [b200, b200]\ntargets: 40\n": "without repeats",
    "machines: b200:foo\ntargets: 40\n": "'foo' is not a known word",
    "machines: b200\ntargets: -1\n": "targets: -1",
    "machines: b200\ntargets: 40\nisl: 0\n": "isl: 0",
    "machines: b200\ntargets: []\n": "give one value, or a list",
    "- 1\n": "must hold keys and values",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_grid_is_refused(command: Command, tmp_path: Path, text: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    run = command("sweep", str(path), "--output", str(tmp_path / "out.csv"))
    assert (run.status, run.out, run.err.count("\n")) == (2, "", 1)
    assert BAD[text] in run.err
    assert [each.name for each in tmp_path.iterdir()] == ["grid.yaml"]


def test_more_questions_than_are_bearable_are_refused(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    targets = ", ".join(map(str, range(1, 1200)))
    prices = ", ".join(map(str, range(1, 1000)))
    path.write_text(
        f"machines: b200\ntargets: [{targets}]\nprices_usd_per_hour: [{prices}]\n",
        encoding="utf-8",
    )
    run = command("sweep", str(path), "--output", str(tmp_path / "out.csv"))
    assert "asks 1,197,801 questions; ask at most 1,000,000" in run.err


def test_output_has_a_known_ending(command: Command, grid: Path) -> None:
    run = command("sweep", str(grid), "--output", "out.xlsx")
    assert run.status == 2
    assert "give a name that ends in .csv or .parquet" in run.err


def test_a_missing_library_is_told_before_the_work(
    command: Command, grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide("pyarrow", monkeypatch)
    run = command("sweep", str(grid), "--output", str(grid.with_name("out.parquet")))
    assert run.status == 2
    assert "needs pyarrow, which is not installed; run: " in run.err
    assert sys.executable in run.err
    assert "'moeplan[parquet]'" in run.err
