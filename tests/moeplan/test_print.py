"""What a person reads: whole outputs where they are small, what must stand in them elsewhere."""

from __future__ import annotations

import errno
import io
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from moeplan import api, cli, output
from moeplan.render import best as render_best
from moeplan.render.curve import notes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.moeplan.conftest import BestOf
    from tests.samples import Command

COMMANDS = [
    ["best"],
    ["curve"],
    ["compare"],
    ["sensitivity"],
    ["sweep"],
    ["fleet"],
    ["predict"],
    ["validate"],
    ["calibrate"],
    ["topology", "show"],
    ["presets", "list"],
    ["presets", "show"],
]

TOPOLOGY = """\
NVIDIA B200 SXM: 32 GPUs
  NVLink   4 domains of 8 GPUs
  Servers  8 GPUs each

Links, each direction counted
  Link     Count   GB/s one way   Latency of the hop, us
  ──────────────────────────────────────────────────────
  NVLink      64            900                      0.5
  NIC         64             50                      2.5

Uniform all-to-all in a group of GPUs
  Group   Domains   GB/s per GPU   Latency of the path, us   Slowest link
  ───────────────────────────────────────────────────────────────────────
  EP 4          1            900                         1         NVLink
  EP 8          1            900                         1         NVLink
  EP 16         2          93.75                         5            NIC
  EP 32         4          64.58                         5            NIC
"""


def text_of(parts: object, capsys: pytest.CaptureFixture[str]) -> str:
    output.emit_report(parts)  # type: ignore[arg-type]
    return capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_help_has_examples(command: Command, name: list[str]) -> None:
    run = command(*name, "--help")
    assert run.status == 0
    examples = run.out.split("Examples:\n")[1]
    assert f"    moeplan {' '.join(name)}" in examples


ARGUMENTS = {
    "validate": ("[ROWS.csv]", "ROWS.csv"),
    "calibrate": ("ROWS.csv...", "ROWS.csv..."),
    "compare": ("SKU SKU...", "SKU SKU..."),
    "fleet": ("DEMAND", "DEMAND"),
    "recipe check": ("DIR", "DIR"),
    "recipe diff": ("A B", "A"),
    "presets show": ("NAME", "NAME"),
}


GROUPS = [[], ["recipe"], ["recipe", "check"], ["recipe", "diff"], ["topology"], ["presets"]]


@pytest.mark.parametrize("name", [*GROUPS, *COMMANDS], ids=" ".join)
def test_help_has_a_short_name(command: Command, name: list[str]) -> None:
    assert command(*name, "-h").out == command(*name, "--help").out


@pytest.mark.parametrize("name", ARGUMENTS)
def test_help_names_arguments_without_their_type(command: Command, name: str) -> None:
    usage, argument = ARGUMENTS[name]
    lines = command(*name.split(), "--help").out.splitlines()
    assert lines[0] == f"Usage: moeplan {name} [OPTIONS] {usage}"
    listed = lines[lines.index("Arguments:") + 1]
    assert re.match(rf"  {re.escape(argument)}  +[A-Z]", listed)


def test_help_without_arguments(command: Command) -> None:
    assert command().out == command("--help").out
    assert "Examples:" in command().out


def test_version(command: Command) -> None:
    assert command("--version").out == f"moeplan {version('moeplan')}\n"


def test_topology(command: Command) -> None:
    assert command("topology", "show", "--sku", "b200", "--gpus", "32").out == TOPOLOGY


def test_topology_of_a_file(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("sku: b200\ngpus: 64\nscale_out: {gpus_per_leaf: 16, oversubscription: 4.0}\n")
    run = command("topology", "show", "--cluster", str(path))
    assert "leaf-to-spine links" in run.out
    assert "64 GPUs" in run.out
    assert "32 GPUs" in command("topology", "show", "--cluster", str(path), "--gpus", "32").out


def test_best(best_of: BestOf, capsys: pytest.CaptureFixture[str]) -> None:
    found = best_of("b200", 125.0)
    text = text_of(render_best.report(found), capsys)
    assert max(map(len, text.splitlines())) <= output.PLAIN_WIDTH
    assert "\x1b" not in text
    for part in (
        "NVIDIA B200 SXM: best throughput per dollar at 125 tok/s/user or more",
        "Measured: interpolated between two published rows",
        "no row is published from 101.8 to 126.4 tok/s/user, where throughput",
        "Why: one decode step",
        "of it exposed communication",
        "A decode worker spans 4 NVLink domains; its slowest link is the NIC",
        "Runners-up",
        "Search: OPTIMAL, gap 0.0 %",
        "941.1",
        "0.5106",
        "at $1.73 per GPU-hour (prices of 2026-07)",
    ):
        assert part in text


def test_best_at_a_published_row(best_of: BestOf, capsys: pytest.CaptureFixture[str]) -> None:
    text = text_of(render_best.report(best_of("b200", 74.04)), capsys)
    assert "Measured: a published row" in text
    assert "Note:" not in text


def test_gpus_that_were_not_searched_are_counted(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("sku: b200\ngpus: 144\n")
    note = "Searched up to 72 of the cluster's 144 GPUs; --max-gpus raises it."
    asked = ("--cluster", str(path))
    assert note in command("best", "--target", "125", *asked).out
    assert note in command("curve", "--targets", "125", *asked).out
    assert "Searched up" not in command("best", "--target", "125", *asked, "--max-gpus", "144").out
    # A machine without a cluster file has as many GPUs as it takes.
    plain = command("best", "--sku", "b200", "--target", "125", "--max-gpus", "40").out
    assert "Searched up" not in plain


def test_best_without_measurements(command: Command) -> None:
    run = command("best", "--sku", "h200", "--target", "30")
    assert run.status == 0
    assert "in fp8 on trtllm" in run.out
    assert "No measured frontier" in run.out


def test_best_for_other_lengths(command: Command) -> None:
    run = command("best", "--sku", "b200", "--target", "30", "--isl", "8192", "--max-ttft", "5")
    assert "No measured frontier: the published rows are for 1024 tokens" in run.out


def test_cluster_file_prices_and_bounds(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("sku: b200\ngpus: 16\nprice_usd_per_hour: 1.0\nname: my cluster\n")
    run = command("best", "--cluster", str(path), "--target", "75")
    assert "my cluster: best throughput per dollar" in run.out
    assert "at $1.00 per GPU-hour" in run.out
    path.write_text("sku: b200\ngpus: 72\nnic_gb_s: 900\n")
    changed = command("best", "--cluster", str(path), "--target", "75", "--price", "1.5")
    assert "the cluster file changes links or memory" in changed.out
    assert "at $1.50 per GPU-hour" in changed.out


def test_curve(command: Command) -> None:
    run = command("curve", "--sku", "b200", "--targets", "75,125,2000")
    assert run.status == 0
    assert "unreachable" in run.out
    assert "b200 at 2000: 2000 tok/s/user is out of reach" in run.out
    assert "(asked at 125)" in run.out
    assert max(map(len, run.out.splitlines())) <= output.PLAIN_WIDTH
    table = command("curve", "--sku", "b200", "--targets", "75,2000", "--csv").out.splitlines()
    assert len(table) == 3
    assert table[2].startswith("2000.0,b200,infeasible,,")
    content = command("curve", "--sku", "b200", "--targets", "75,2000", "--json").json
    assert [row["status"] for row in content["rows"]] == ["optimal", "infeasible"]


def test_notes_mark_what_is_extrapolated(best_of: BestOf) -> None:
    found = best_of("b200", 75.0)
    assert found.prediction is not None
    prediction = found.prediction.model_copy(update={"origin": "extrapolated"})
    changed = found.model_copy(update={"prediction": prediction})
    assert any(note.startswith("* extrapolated") for note in notes({"b200": [changed]}))


def test_predict(command: Command, configuration: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(configuration))
    run = command("predict", "--sku", "b200", "--config", str(path))
    assert "2 workers x 8 GPUs, EP 8, attention dp" in run.out
    assert "of it exposed communication" in run.out
    wide = configuration | {"decode_gpus_per_worker": 16, "decode_ep": 16, "eplb_slots": 288}
    path.write_text(json.dumps({"config": wide}))
    run = command("predict", "--sku", "b200", "--config", str(path))
    assert "its slowest link is the NIC" in run.out
    assert "Extrapolated, outside the calibration data in: 16 GPUs per decode worker" in run.out
    assert "288 expert slots" in run.out


def test_validate(command: Command, measurements: Mapping[str, Path]) -> None:
    run = command("validate", str(measurements["inferencex_2026-05-22"]))
    assert run.status == 0
    assert "Predictions against 20 measured rows" in run.out
    for part in ("By machine", "By precision", "By attention", "By MTP depth", "Worst rows"):
        assert part in run.out
    assert max(map(len, run.out.splitlines())) <= output.PLAIN_WIDTH


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("b200", ["scale_out_rate", "5e+10", "ConnectX-7", "Otherwise 1e+11 B/s"]),
        ("deepseek-r1-0528", ["attention.kv_lora_rank", "512", "6.71e+11 parameters", "NVFP4"]),
        ("measured_serving", ["202 rows", "198 more rows", "1x4P 5x8D tp batch 32"]),
        ("inferencex_2026-05-22", ["20 rows", "run 26306422380", "286.4"]),
        ("engine_settings", ["48 rows", "ctx1_gen5_dep8_batch16_eplb0_mtp3"]),
    ],
)
def test_presets(command: Command, name: str, parts: list[str]) -> None:
    run = command("presets", "show", name, "--rows", "4")
    for part in parts:
        assert part in run.out
    assert max(map(len, run.out.splitlines())) <= output.PLAIN_WIDTH
    assert name in command("presets", "list").out


def test_infeasible_curve_exits_1(command: Command) -> None:
    run = command("curve", "--sku", "b200", "--targets", "900,1000")
    assert run.status == 1
    assert "unreachable" in run.out
    assert run.err.startswith("Error: 900 tok/s/user")


def test_interruption(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "best", interrupted)
    run = command("best", "--sku", "b200", "--target", "5")
    assert (run.status, run.err) == (130, "Error: interrupted\n")


def test_a_fault_of_the_program_is_not_hidden(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("fault")

    monkeypatch.setattr(api, "best", broken)
    with pytest.raises(RuntimeError, match="fault"):
        command("best", "--sku", "b200", "--target", "5")


def test_a_reader_that_has_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "pipe").open("w") as file:

        class Gone:
            def write(self, text: str) -> None:
                raise BrokenPipeError(errno.EPIPE, "gone")

            def fileno(self) -> int:
                return file.fileno()

        monkeypatch.setattr(sys, "stdout", Gone())
        with pytest.raises(typer.Exit) as exit_:
            output.emit("text")
    assert exit_.value.exit_code == output.BROKEN_PIPE


def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("presets.files.write_whole", full)
    with pytest.raises(ValueError, match="No space left on device"):
        output.write_file("--output", tmp_path / "x", "text")


def test_main_takes_the_arguments_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["moeplan", "--version"])
    assert cli.main() == 0
    assert capsys.readouterr().out == f"moeplan {version('moeplan')}\n"


def test_module_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "moeplan", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"moeplan {version('moeplan')}\n"


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def drawn(monkeypatch: pytest.MonkeyPatch, file: io.StringIO, environment: dict[str, str]) -> str:
    """What a bold heading looks like."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    output.console(file).print("[b]", style="bold red")
    return file.getvalue()


def test_a_terminal_gets_colour_and_a_pipe_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = {"TERM": "xterm-256color"}
    assert "\x1b[1;31m" in drawn(monkeypatch, Screen(), terminal)
    assert drawn(monkeypatch, io.StringIO(), terminal) == "[b]\n"
    # Rich alone would leave it bold.
    assert drawn(monkeypatch, Screen(), terminal | {"NO_COLOR": "1"}) == "[b]\n"


@pytest.mark.parametrize(
    ("total", "expected"),
    [(2, r"Fitting ━+ 2/2 0:00:00"), (None, "Fitting  evaluations: 2 0:00:00")],
)
def test_progress_counts_to_a_total_or_says_what_it_counts(
    monkeypatch: pytest.MonkeyPatch, total: int | None, expected: str
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with output.progress("Fitting", total) as advance:
        advance()
        advance()
    assert re.fullmatch(expected, screen.getvalue().strip())
