"""A machine of one's own, by a file: every command takes it where it takes the name of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import moeplan
from presets import load_machine
from tests.samples import USUAL

if TYPE_CHECKING:
    from tests.samples import Command

LAB = """\
name = "lab"
like = "b200"
[facts]
hbm_bytes = "160 GB"
price_usd_per_hour = "$2"
"""


@pytest.fixture
def lab(tmp_path: Path) -> str:
    path = tmp_path / "lab.toml"
    path.write_text(LAB, encoding="utf-8")
    return str(path)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(USUAL), encoding="utf-8")
    return str(path)


def test_what_is_printed_of_a_preset_answers_as_the_preset(
    command: Command, tmp_path: Path, config: str
) -> None:
    file = tmp_path / "machine.toml"
    file.write_text(command("presets", "show", "b200", "--toml").out, encoding="utf-8")
    named = command("predict", "--sku", "b200", "--config", config, "--json").json
    by_file = command("predict", "--machine", str(file), "--config", config, "--json").json
    assert by_file["prediction"] == named["prediction"]
    assert by_file["prediction"]["origin"] == "modelled"
    assert by_file["question"]["machine"]["name"] == "b200"


def test_a_saved_answer_asks_again_of_its_machine(
    command: Command, lab: str, config: str, tmp_path: Path
) -> None:
    first = command("predict", "--machine", lab, "--config", config, "--json")
    assert first.json["sku"] == "lab"
    assert first.json["prediction"]["origin"] == "extrapolated"
    assert first.json["question"]["price_usd_per_hour"] == 2.0
    saved = tmp_path / "answer.json"
    saved.write_text(first.out, encoding="utf-8")
    Path(lab).unlink()
    again = command("predict", "--config", str(saved), "--json")
    assert (again.err, again.json) == ("", first.json)
    other = command("predict", "--config", str(saved), "--sku", "b300", "--json")
    assert other.err == "Note: sku b300 was given and wins over lab of the file.\n"
    assert other.json["question"]["machine"] is None


def test_it_is_compared_by_its_name(command: Command, lab: str) -> None:
    asked = ("compare", "b200", "lab", "--targets", "60", "--max-gpus", "16", "--json")
    run = command(*asked, "--machine", lab)
    assert run.status == 0, run.err
    assert run.json["rows"][0]["lab"]["modelled"]["origin"] == "extrapolated"
    assert "machine lab" in command(*asked[:-1], "--machine", lab).out
    refused = command("compare", "b200", "h200", "--targets", "60", "--machine", lab)
    assert refused.err.startswith("Error: --machine: ")
    assert "is of a machine that is not compared; valid: b200, h200" in refused.err
    assert "unknown hardware 'lab'" in command(*asked).err


def test_the_search_and_the_topology_take_it(command: Command, lab: str) -> None:
    best = command("best", "--machine", lab, "--target", "60", "--max-gpus", "16", "--json")
    assert best.json["sku"] == "lab"
    shown = command("topology", "show", "--machine", lab, "--gpus", "16", "--json")
    assert shown.json["sku"] == "lab"
    assert moeplan.best(None, 60.0, moeplan.Options(machine=load_machine(lab), max_gpus=16)).config


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sku", "h100"], "--sku: 'h100' is not the machine of the machine file, 'lab'"),
        (["--cluster", "none.yaml"], "none.yaml: cannot be read"),
        (["--prefill-sku", "lab2"], "unknown prefill_sku 'lab2'"),
        (["--engine", "atom"], "ATOM has no kernels for lab (blackwell)"),
    ],
)
def test_what_does_not_go_with_it_is_refused(
    command: Command, lab: str, words: list[str], said: str
) -> None:
    run = command("best", "--machine", lab, "--target", "60", *words)
    assert run.status == 2
    assert said in run.err
    assert run.err.count("\n") == 1


def test_a_cluster_beside_it_is_refused(command: Command, lab: str, tmp_path: Path) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("machine: lab.toml\ngpus: 16\n", encoding="utf-8")
    both = command("best", "--machine", lab, "--cluster", str(cluster), "--target", "60")
    assert "--machine and --cluster: the cluster names its machine" in both.err
    alone = command("best", "--cluster", str(cluster), "--target", "60", "--json")
    assert alone.json["sku"] == "lab"


def test_all_faults_of_a_file_are_printed(command: Command, lab: str) -> None:
    Path(lab).write_text(LAB + 'hbm = "3"\nscale_up_rate = "900"\n', encoding="utf-8")
    run = command("best", "--machine", lab, "--target", "60")
    assert run.status == 2
    assert [line.strip().startswith(("Error", lab)) for line in run.err.splitlines()] == [True] * 3


def test_only_a_machine_is_printed_as_a_file(command: Command) -> None:
    run = command("presets", "show", "deepseek-r1-0528", "--toml")
    assert "unknown hardware 'deepseek-r1-0528'" in run.err
    assert "both are given" in command("presets", "show", "b200", "--toml", "--csv").err
