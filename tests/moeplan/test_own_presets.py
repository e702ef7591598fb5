"""A machine, a model and an engine are a data file each: a folder of them is planned with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from presets.folders import DATA, VARIABLE

PRICE = """
[facts.price_usd_per_hour]
value = 4.0
unit = "USD/h"
source = "a quote"
date = 2026-11-01
kind = "assumed"
"""
ENGINE = """
name = "novel"
title = "Novel"

[runs_on]
kernel_profiles = ["made_up"]
source = "its makers"
date = 2026-11-01
kind = "assumed"
"""
QUESTION = ("--sku", "mine", "--model", "small-moe", "--engine", "novel", "--target", "40")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One preset of each kind, none of which is shipped."""
    machine = (DATA / "hardware" / "b200.toml").read_text(encoding="utf-8")
    machine = machine.replace('"b200"', '"mine"').replace('"blackwell"', '"made_up"') + PRICE
    model = (DATA / "models" / "deepseek-r1-0528.toml").read_text(encoding="utf-8")
    model = model.replace('"deepseek-r1-0528"', '"small-moe"').replace("count = 58", "count = 20")
    for kind, name, text in (
        ("hardware", "mine", machine),
        ("models", "small-moe", model),
        ("engines", "novel", ENGINE),
    ):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / f"{name}.toml").write_text(text, encoding="utf-8")
    return tmp_path


def moeplan(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command anew: what presets there are is read once."""
    return subprocess.run(
        [sys.executable, "-m", "moeplan", *words],
        env=os.environ | {VARIABLE: str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_a_model_and_an_engine_of_ones_own_are_planned_with(folder: Path) -> None:
    run = moeplan(folder, "best", *QUESTION, "--json")
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert answer["sku"] == "mine"
    assert answer["scenario"]["model"] == "small-moe"
    assert answer["scenario"]["engine"] == "novel"
    assert answer["prediction"]["origin"] == "extrapolated"
    assert answer["prediction"]["tok_s_per_user"] >= 40.0
    said = " ".join(moeplan(folder, "best", *QUESTION).stdout.split())
    assert "outside the calibration data in: machine mine; model small-moe" in said
    assert "engine novel" in said


def test_they_are_listed_and_held_to_each_other(folder: Path) -> None:
    listed = moeplan(folder, "presets", "list", "--json")
    assert {"mine", "gb200"} <= {each["name"] for each in json.loads(listed.stdout)["hardware"]}
    other = moeplan(folder, "best", "--sku", "mine", "--target", "40")
    assert other.returncode == 2
    assert "TensorRT-LLM has no kernels for mine (made_up); valid: novel" in other.stderr


def test_what_is_wrong_in_one_is_said_of_its_file(folder: Path) -> None:
    path = folder / "hardware" / "mine.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("kernel_profile", "generation"))
    run = moeplan(folder, "best", *QUESTION)
    assert run.returncode == 2
    assert "mine.toml" in run.stderr
    assert "Traceback" not in run.stderr
