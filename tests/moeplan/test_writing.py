"""Where ``--output`` and its like write: over no input, through links, into pipes."""

from __future__ import annotations

import json
import os
import stat
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.samples import Command


@pytest.fixture
def rows(tmp_path: Path, measurements: Mapping[str, Path]) -> Path:
    """Take the first rows of the shipped table as a user's own file."""
    path = tmp_path / "rows.html"
    lines = measurements["measured_serving"].read_text().splitlines()
    path.write_text("\n".join(lines[:6]) + "\n")
    return path


@pytest.mark.parametrize("way", ["itself", "dots", "symbolic link", "hard link"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "ROWS", "--output"],
        ["validate", "ROWS", "--plot"],
        ["calibrate", "ROWS", "--output"],
        ["validate", "missing", "--calibration", "ROWS", "--output"],
        ["calibrate", "missing", "--calibration", "ROWS", "--output"],
        ["best", "--sku", "b200", "--target", "50", "--robust", "--calibration", "ROWS",
         "--next-rows"],
    ],
)  # fmt: skip
def test_no_input_is_written_over(
    command: Command, rows: Path, way: str, arguments: list[str]
) -> None:
    before = rows.read_text()
    other = rows.parent / "other.html"
    if way == "symbolic link":
        other.symlink_to(rows)
    elif way == "hard link":
        other.hardlink_to(rows)
    else:
        other = rows if way == "itself" else rows.parent / "." / ".." / rows.parent.name / rows.name
    run = command(*(str(rows) if each == "ROWS" else each for each in arguments), str(other))
    assert run.status == 2
    assert run.err.startswith(f"Error: {arguments[-1]}: ")
    named = "--calibration" if "--calibration" in arguments else "ROWS.csv"
    assert run.err.endswith(f"cannot be written: it is also {named}; give another name\n")
    assert rows.read_text() == before


def test_two_outputs_need_two_names(command: Command, rows: Path) -> None:
    out = rows.parent / "out.html"
    run = command("validate", str(rows), "--output", str(out), "--plot", str(out))
    assert run.status == 2
    assert "--plot" in run.err
    assert "it is also --output" in run.err
    assert not out.exists()


def test_a_pipe_takes_the_output_and_stays(command: Command, rows: Path) -> None:
    pipe = rows.parent / "pipe"
    os.mkfifo(pipe)
    found: list[str] = []
    reader = Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    run = command("validate", str(rows), "--output", str(pipe))
    reader.join(timeout=10)
    assert run.status == 0, run.err
    assert found[0].startswith("sku,model,")
    assert found[0].count("\n") == 6
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_is_written_through(command: Command, rows: Path) -> None:
    link, target = rows.parent / "link.csv", rows.parent / "target.csv"
    link.symlink_to(target)
    run = command("validate", str(rows), "--output", str(link))
    assert run.status == 0, run.err
    assert link.is_symlink()
    assert target.read_text().startswith("sku,model,")


@pytest.mark.parametrize("target", ["nowhere/out.csv", "link.csv"])
def test_a_link_that_leads_nowhere(command: Command, rows: Path, target: str) -> None:
    link = rows.parent / "link.csv"
    link.symlink_to(target)
    run = command("validate", str(rows), "--output", str(link))
    assert run.status == 2
    assert run.err.startswith("Error: --output: ")
    assert run.err.count("\n") == 1
    assert link.is_symlink()


def test_a_recipe_is_written_over_no_input(
    command: Command, tmp_path: Path, configuration: dict[str, Any]
) -> None:
    asked = ["recipe", "--sku", "b200", "--format", "trtllm", "--force"]
    folder, config = tmp_path / "run", tmp_path / "config.json"
    config.write_text(json.dumps(configuration))
    written = command(*asked, "--config", str(config), "--output", str(folder))
    assert written.status == 0, written.err
    # The record may be remade from itself, a file that is given may not be replaced.
    again = command(*asked, "--config", str(folder / "recipe.json"), "--output", str(folder))
    assert again.status == 0, again.err
    taken = next(path for path in folder.iterdir() if path.suffix == ".yaml")
    taken.write_text(json.dumps(configuration))
    refused = command(*asked, "--config", str(taken), "--output", str(folder))
    assert refused.status == 2
    assert "it is also --config; give another name" in refused.err
    assert json.loads(taken.read_text()) == configuration
