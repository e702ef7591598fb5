from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from costmodel.calibration_file import shipped_calibration, write_calibration
from tests.moeplan.sentences import assert_one_sentence

if TYPE_CHECKING:
    from tests.samples import Command

TARGETS = ["abc", "0", "-5", "nan", "inf", "-inf", "1e400", "", "1,2"]

BEST = ["best", "--sku", "b200", "--target", "50"]
COMPARE = ["compare", "gb200", "b200", "--targets", "50"]
BAD = {
    "unknown machine": (["best", "--sku", "gb20", "--target", "5"], "did you mean 'gb200'?"),
    "no machine": (["best", "--target", "5"], "--sku"),
    "no target": (["best", "--sku", "b200"], "--target"),
    "unknown option": ([*BEST, "--foo", "1"], "--foo"),
    "unknown command": (["bset"], "'best'"),
    "no subcommand": (["topology"], "no command is given"),
    "isl zero": ([*BEST, "--isl", "0"], "--isl: '0' is not valid"),
    "isl fraction": ([*BEST, "--isl", "1.5"], "--isl"),
    "osl too long": ([*BEST, "--osl", "1000001"], "--osl"),
    "engine": ([*BEST, "--engine", "trtlm"], "did you mean 'trtllm'?"),
    "precision": ([*BEST, "--precision", "fp6"], "--precision"),
    "precision of the machine": (
        ["best", "--sku", "h200", "--target", "5", "--precision", "fp4"],
        "h200 has no FP4 rate",
    ),
    "model": ([*BEST, "--model", "deepseek-r1-05"], "did you mean 'deepseek-r1-0528'?"),
    "model file": ([*BEST, "--model", "./none.json"], "none.json: cannot be read"),
    "max-gpus": ([*BEST, "--max-gpus", "0"], "--max-gpus"),
    "max-gpus too few": ([*BEST, "--max-gpus", "4"], "max_gpus 4 is too few"),
    "max-ttft": ([*BEST, "--max-ttft", "nan"], "--max-ttft"),
    "price": ([*BEST, "--price", "-1"], "--price"),
    "price too low": ([*BEST, "--price", "1e-9"], "--price"),
    "prices of no set": ([*BEST, "--prices", "2026-05"], "--prices '2026-05'"),
    "prices of an empty set": ([*BEST, "--prices", ""], "valid: 2026-04, 2026-07"),
    "price too high": ([*BEST, "--price", "1e12"], "--price"),
    "cluster": ([*BEST, "--cluster", "/none"], "/none: cannot be read"),
    "isl of no text": ([*BEST, "--isl", ""], "--isl: '' is not valid"),
    "max-ttft of no text": ([*BEST, "--max-ttft", ""], "--max-ttft: '' is not valid"),
    "cluster of no text": ([*BEST, "--cluster", ""], "--cluster: '' is not valid"),
    "cluster blank": ([*BEST, "--cluster", " "], "--cluster"),
    "calibration": ([*BEST, "--calibration", "/none"], "/none: cannot be read"),
    "targets": (["curve", "--sku", "b200", "--targets", "1,,2"], "--targets: ''"),
    "many targets": (["curve", "--sku", "b200", "--targets", "1," * 1000 + "1"], "at most 1000"),
    "two formats": ([*COMPARE, "--json", "--csv"], "--json and --csv"),
    "one machine": (["compare", "b200", "--targets", "50"], "two or more different machines"),
    "same machine": (["compare", "b200", "b200", "--targets", "5"], "two or more"),
    "price of another": ([*COMPARE, "--price", "h100=3"], "not compared"),
    "price of none": ([*COMPARE, "--price", "b200="], "--price: ''"),
    "no rows": (["validate", "/none.csv"], "/none.csv: cannot be read"),
    "NUL": (["validate", "a\0b"], "is not a file name"),
    "folder that is not there": (["validate", "x.csv", "--output", "/none/x.csv"], "--output"),
    "output is a folder": (["validate", "x.csv", "--output", "/"], "it is a folder"),
    "no output": (["calibrate", "x.csv"], "--output"),
    "gpus": (["topology", "show", "--sku", "b200", "--gpus", "131073"], "--gpus"),
    "no cluster": (["topology", "show"], "--sku"),
    "two clusters": (["topology", "show", "--sku", "b200", "--cluster", "x"], "--cluster"),
    "preset": (["presets", "show", "gb20"], "did you mean 'gb200'?"),
    "rows": (["presets", "show", "measured_serving", "--rows", "few"], "--rows"),
    "config": (["predict", "--sku", "b200", "--config", "/none"], "/none: cannot be read"),
}


@pytest.mark.parametrize("target", TARGETS)
def test_target(command: Command, target: str) -> None:
    run = command("best", "--sku", "b200", "--target", target)
    assert_one_sentence(run, "--target")
    assert "finite number above 0, in tok/s/user" in run.err


@pytest.mark.parametrize("case", BAD)
def test_options(command: Command, case: str) -> None:
    arguments, part = BAD[case]
    assert_one_sentence(command(*arguments), part)


FILES = {
    "alias": ("--cluster", "sku: &a b200\ngpus: 8\nname: *a\n", "has an alias"),
    "unknown key": ("--cluster", "sku: b200\ngpus: 8\nnik_gb_s: 3\n", "did you mean 'nic_gb_s'?"),
    "not YAML": ("--cluster", "sku: [b200\n", "is not YAML"),
    "too long": ("--cluster", "#" * 1_000_001, "is longer than 1000000 bytes"),
    "another machine": ("--cluster", "sku: gb200\ngpus: 72\n", "is not the machine of the cluster"),
    "not TOML": ("--calibration", "{}", "is not TOML"),
    "calibration without constants": (
        "--calibration",
        'format = "moeplan calibration 2"\n[constants]\n',
        "is missing",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files(command: Command, tmp_path: Path, case: str) -> None:
    option, text, part = FILES[case]
    path = tmp_path / "file"
    path.write_text(text)
    assert_one_sentence(command(*BEST, option, str(path)), part)


@pytest.mark.parametrize("value", ["1e-300", "1e300"])
def test_a_calibration_that_widens_its_own_bounds(
    command: Command, tmp_path: Path, value: str
) -> None:
    file = shipped_calibration()
    wide = {"value": float(value), "low": 1e-300, "high": 1e300}
    changed = {"step_time": file.constants["step_time"].model_copy(update=wide)}
    path = tmp_path / "mine.toml"
    write_calibration(file._replace(constants=file.constants | changed), path)
    run = command(*BEST, "--calibration", str(path))
    assert_one_sentence(run, f"step_time.value: {float(value)} lies outside the bounds")


CONFIGURATIONS = {
    "missing key": ("{}", "key prefill_workers: is missing"),
    "unknown key": ('{"batch": 3}', "key"),
    "not JSON": ('{"max_batch": }', "is not JSON"),
    "a list": ("- 1\n- 2\n", "must hold a configuration"),
    "no answer": ('{"status": "infeasible", "config": null}', "found no configuration"),
    "deep": ("{" * 100_000, "is not JSON"),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_configuration(command: Command, tmp_path: Path, case: str) -> None:
    text, part = CONFIGURATIONS[case]
    path = tmp_path / "config.json"
    path.write_text(text)
    assert_one_sentence(command("predict", "--sku", "b200", "--config", str(path)), part)


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("decode_gpus_per_worker", 1, "decode_ep 8 must divide decode_gpus_per_worker 1"),
        ("max_batch", 64.5, "key max_batch"),
        ("mtp_depth", 17, "key mtp_depth"),
        ("decode_ep", 3, "decode_ep 3"),
        ("decode_attention", "pp", "key decode_attention"),
        ("concurrency", 0, "key concurrency"),
    ],
)
def test_configuration_that_cannot_run(
    command: Command,
    tmp_path: Path,
    configuration: dict[str, Any],
    key: str,
    value: object,
    part: str,
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(configuration | {key: value}))
    assert_one_sentence(command("predict", "--sku", "b200", "--config", str(path)), part)


NOTES = {
    "ttft in milliseconds": (["--max-ttft", "2000"], "--max-ttft: read as 2000 s", "2000ms"),
    "price of a server": (["--price", "24"], "--price: read as 24 USD/h", "are usual"),
}


@pytest.mark.parametrize("case", NOTES)
def test_an_unusual_value_is_noted_once(command: Command, case: str) -> None:
    options, part, hint = NOTES[case]
    run = command(*BEST, *options, "--json")
    assert run.status == 0
    assert run.json["status"] == "optimal"
    assert run.err.count("\n") == 1
    assert run.err.startswith(f"Note: {part}")
    assert hint in run.err


def test_written_units_are_the_same_question(command: Command) -> None:
    plain = command(*BEST, "--isl", "8192", "--max-ttft", "2", "--price", "3.1", "--json")
    written = command(*BEST, "--isl", "8k", "--max-ttft", "2000ms", "--price", "$3.10", "--json")
    assert (plain.err, written.err) == ("", "")
    assert plain.json["config"] == written.json["config"]
    assert plain.json["prediction"] == written.json["prediction"]


@pytest.mark.parametrize("text", ["\x1b[31mred", "\x9b31m", "\u202edab", "\x07"])
def test_nothing_of_a_user_steers_the_terminal(command: Command, tmp_path: Path, text: str) -> None:
    cluster, rows = tmp_path / "cluster.yaml", tmp_path / f"rows{text}.csv"
    cluster.write_text(f'sku: b200\ngpus: 8\n"{text.encode("unicode_escape").decode()}": 1\n')
    rows.write_text(f"sku,{text}\nb200,1\n")
    for arguments in (
        [*BEST, "--cluster", str(cluster)],
        [*BEST, f"--{text}"],
        [*BEST, "--model", text],
        ["validate", str(rows)],
    ):
        run = command(*arguments)
        assert run.status == 2
        assert run.err.rstrip("\n").isprintable()


def test_a_model_folder_may_be_called_anything(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "my\x1b[31m model"
    folder.mkdir()
    shipped = Path(__file__).parents[2] / "docs" / "files.md"
    text = shipped.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0]
    (folder / "config.json").write_text(text.replace('"our/model"', '""'))
    run = command(*BEST, "--model", str(folder))
    assert run.status == 0, run.err
    assert "\x1b" not in run.out
    assert r"my\x1b[31m model" in run.out
