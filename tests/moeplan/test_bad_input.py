from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from costmodel.calibration_file import shipped_calibration, write_calibration
from moeplan.output import check_replaceable_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.samples import Command, Run

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


def assert_one_sentence(run: Run, part: str) -> None:
    err = run.err
    assert run.status == 2, err
    assert run.out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert part in err


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


def test_rows(command: Command, tmp_path: Path, measurements: Mapping[str, Path]) -> None:
    lines = measurements["measured_serving"].read_text().splitlines()
    path = tmp_path / "rows.csv"

    path.write_text("\n".join([lines[0].replace("max_batch", "batch"), lines[1]]))
    assert_one_sentence(command("validate", str(path)), "line 1, column max_batch")

    path.write_text("\n".join([lines[0], lines[1].replace("b200", "b2000", 1)]))
    assert_one_sentence(command("validate", str(path)), "line 2, column sku")

    path.write_text("\n".join([lines[0], lines[1].replace("1024,1024,0", "1024,1024,17", 1)]))
    assert_one_sentence(command("validate", str(path)), "line 2, column mtp_depth: '17' is")


ROW: dict[str, object] = {
    "sku": "b200", "model": "deepseek-r1-0528", "precision": "fp4", "isl": 1024, "osl": 1024,
    "mtp_depth": 0, "prefill_workers": 1, "prefill_gpus_per_worker": 4, "decode_workers": 2,
    "decode_gpus_per_worker": 8, "decode_ep": 8, "decode_attention": "dp", "max_batch": 64,
    "eplb_slots": 0, "concurrency": 256, "tok_s_per_user": 50.0,
}  # fmt: skip
ROWS: dict[str, tuple[dict[str, object], str]] = {
    "EP over GPUs": ({"decode_ep": 3}, "decode_ep is 3; it must divide decode_gpus_per_worker, 8"),
    "EP over slots": ({"eplb_slots": 260}, "decode_ep 8 must divide the 260 expert slots"),
    "few slots": ({"eplb_slots": 128}, "eplb_slots 128 must be 0 or at least the 256 experts"),
    "heads": (
        {
            "decode_gpus_per_worker": 24,
            "decode_ep": 24,
            "eplb_slots": 264,
            "decode_attention": "tp",
        },
        "decode_gpus_per_worker 24 must divide the 128 attention heads",
    ),
    "drafts": (
        {"model": "qwen3-235b-a22b", "mtp_depth": 1},
        "mtp_depth 1: draft 'mtp' is not known of qwen3-235b-a22b; valid: none, eagle3; without",
    ),
    "memory": (
        {"sku": "h100", "precision": "fp8", "prefill_gpus_per_worker": 16},
        "decode_gpus_per_worker 8: the weights leave no room for one request in the memory of h100",
    ),
    "memory of prefill": (
        {"prefill_gpus_per_worker": 1},
        "prefill_gpus_per_worker 1: the weights leave no room",
    ),
    "rate of the machine": ({"sku": "h200"}, "precision 'fp4': h200 has no FP4 rate"),
    "model": ({"model": "deepseek-r1-05"}, "did you mean 'deepseek-r1-0528'?"),
    "length": ({"osl": 1}, "column osl: 1 is not valid"),
}


@pytest.mark.parametrize("name", ["validate", "calibrate"])
@pytest.mark.parametrize("case", ROWS)
def test_rows_that_no_engine_could_run(
    command: Command, tmp_path: Path, case: str, name: str
) -> None:
    changes, part = ROWS[case]
    path, written = tmp_path / "rows.csv", tmp_path / "out"
    lines = [",".join(map(str, row.values())) for row in (ROW, ROW | changes)]
    path.write_text("\n".join([",".join(ROW), "", "", lines[1]]))
    run = command(name, str(path), "--output", str(written))
    assert run.status == 2
    assert run.err.startswith(f"Error: {path}, line 4")  # no bar of a fit before it
    assert part in run.err
    assert run.err.count("\n") == 1
    assert not written.exists()


def test_good_rows_are_predicted_and_all_bad_ones_named(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    faults = list(ROWS.values())
    rows = [ROW, *(ROW | changes for changes, _ in faults), ROW]
    path.write_text("\n".join([",".join(ROW), *(",".join(map(str, row.values())) for row in rows)]))
    run = command("validate", str(path), "--json")
    assert run.status == 1
    head, *lines = run.err.splitlines()
    assert head == f"Note: {path}: {len(faults)} of {len(rows)} rows are refused"
    assert len(lines) == len(faults)
    for line, number, (_, part) in zip(lines, range(3, 99), faults, strict=False):
        assert line.startswith(f"  line {number}")
        assert part in line
    assert run.json["rows"] == 2
    assert [each["line"] for each in run.json["refused"]] == [*range(3, 3 + len(faults))]


def test_where_no_row_is_left_all_are_named(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    bad = ",".join(map(str, (ROW | {"decode_ep": 3}).values()))
    path.write_text("\n".join([",".join(ROW), *[bad] * 30]))
    run = command("validate", str(path), "--json")
    assert (run.status, run.out) == (2, "")
    head, *lines = run.err.splitlines()
    assert head.startswith(f"Error: {path}: none of 30 rows can be read; the first: line 2")
    assert len(lines) == 21
    assert lines[-1] == "  and 10 more"


X02 = """\
sku,model,precision,isl,osl,mtp_depth,prefill_workers,prefill_gpus_per_worker,decode_workers,\
decode_gpus_per_worker,decode_ep,decode_attention,max_batch,eplb_slots,concurrency,framework,tpot_ms
gb200,kimi-k2,fp4,1024,1024,0,1,4,4,8,8,tp,64,0,192,trtllm,11.7
gb200,kimi-k2,fp4,1024,1024,0,1,4,4,8,3,tp,128,0,360,trtllm,14.28
gb200,kimi-k2,fp4,1024,1024,0,1,4,5,4,4,tp,1,100,5,trtllm,5.77
gb200,kimi-k2,fp4,1024,1024,0,1,4,5,4,4,tp,8,0,30,trtllm,8.71
"""
"""Two rows as they were measured and two with a slip; shaped as a user's table."""


def test_one_slip_hides_no_other(command: Command, tmp_path: Path) -> None:
    path, written = tmp_path / "rows.csv", tmp_path / "predictions.csv"
    path.write_text(X02)
    run = command("validate", str(path), "--output", str(written), "--json")
    assert run.status == 1
    assert run.json["rows"] == 2
    problems = {each["line"]: each["problem"] for each in run.json["refused"]}
    assert problems == {
        3: "decode_ep is 3; it must divide decode_gpus_per_worker, 8",
        4: "eplb_slots 100 must be 0 or at least the 384 experts",
    }
    assert len(written.read_text().splitlines()) == 3


def test_a_renamed_column_does_not_vanish(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(X02.replace("tpot_ms", "TPOT (ms)").replace("framework,", "engine,"))
    run = command("validate", str(path), "--json")
    assert run.status == 2  # nothing measured is left
    assert "ignored columns: 'TPOT (ms)' (did you mean tpot_ms?), 'engine'" in run.err


@pytest.mark.parametrize(
    ("delimiter", "point", "ends"), [(";", ",", "\r\n"), ("\t", ",", "\n"), (";", ".", "\r")]
)
def test_tables_of_other_forms_are_the_same(
    command: Command, tmp_path: Path, delimiter: str, point: str, ends: str
) -> None:
    plain, other = tmp_path / "plain.csv", tmp_path / "other.csv"
    plain.write_text(X02)
    text = X02.replace(",", delimiter).replace(".", point).replace("\n", ends)
    other.write_bytes(b"\xef\xbb\xbf" + text.encode())
    expected, found = (command("validate", str(each), "--json") for each in (plain, other))
    assert found.json == expected.json
    assert "part its columns" in found.err
    assert ("decimal commas" in found.err) == (point == ",")


def test_calibrate_fits_the_good_rows_and_says_which_were_not(
    command: Command, tmp_path: Path, measurements: Mapping[str, Path]
) -> None:
    path, written = tmp_path / "rows.csv", tmp_path / "mine.toml"
    header, *rows = measurements["measured_serving"].read_text().splitlines()[:12]
    path.write_text("\n".join([header, *rows, rows[0].replace("b200", "b20", 1)]))
    run = command("calibrate", str(path), "--output", str(written))
    assert "1 of 12 rows are refused" in run.err
    assert "line 13, column sku: 'b20' is no known machine" in run.err
    if run.status == 1:
        assert written.exists()


def test_rows_that_were_measured_are_no_bad_input(
    command: Command, measurements: Mapping[str, Path]
) -> None:
    for table, count in (("measured_serving", 202), ("inferencex_2026-05-22", 20)):
        assert command("validate", str(measurements[table]), "--json").json["rows"] == count


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


@pytest.mark.parametrize("content", ["measured", "# my notes\n", "a,b\n1,2\n"])
def test_next_rows_replace_no_measurements(
    command: Command, tmp_path: Path, measurements: Mapping[str, Path], content: str
) -> None:
    path = tmp_path / "rows.csv"
    text = measurements["measured_serving"].read_text() if content == "measured" else content
    path.write_text(text)
    run = command(*BEST, "--robust", "--next-rows", str(path))
    assert_one_sentence(run, "--next-rows")
    assert "is no file of rows without measurements; give another name" in run.err
    assert path.read_text() == text


def test_next_rows_replace_rows_without_measurements(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    check_replaceable_rows("--next-rows", path)
    path.write_text("")
    check_replaceable_rows("--next-rows", path)
    unmeasured = {name: value for name, value in ROW.items() if name != "tok_s_per_user"}
    path.write_text(",".join(unmeasured) + "\n" + ",".join(map(str, unmeasured.values())))
    check_replaceable_rows("--next-rows", path)
