from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from moeplan.output import check_replaceable_rows
from tests.moeplan.sentences import assert_one_sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.samples import Command


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


@pytest.mark.parametrize("content", ["measured", "# my notes\n", "a,b\n1,2\n"])
def test_next_rows_replace_no_measurements(
    command: Command, tmp_path: Path, measurements: Mapping[str, Path], content: str
) -> None:
    path = tmp_path / "rows.csv"
    text = measurements["measured_serving"].read_text() if content == "measured" else content
    path.write_text(text)
    run = command("best", "--sku", "b200", "--target", "50", "--robust", "--next-rows", str(path))
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
