"""Try an installed command as a user would: ``python tools/smoke.py .../bin/moeplan [--bare]``.

Every command runs once from an empty folder, with nothing of this repository on its path and an
empty environment. With ``--bare`` the optional libraries are missing, and that must be said.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

FORMATS = ("dynamo", "trtllm", "sglang", "vllm", "slurm")
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}
QUESTION = ("--sku", "gb200", "--target", "125")
DATA = "import presets; print(presets.__path__[0])"
ROWS = "data/measurements/inferencex_2026-05-22.csv"


class Trial:
    """An installed command, and the folder that it runs in."""

    def __init__(self, command: Path, folder: Path) -> None:
        self.command, self.folder = command, folder
        self.passed = 0

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run the command, see how it ends and that nothing broke, and give what it printed."""
        done = self.process(str(self.command), *arguments)
        said = done.stderr.strip()
        if done.returncode != status or "Traceback" in said or (status and not said):
            sys.exit(f"moeplan {' '.join(arguments)}: status {done.returncode}\n{said}")
        self.passed += 1
        return done.stdout if status == 0 else said

    def process(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run any process in the folder."""
        return subprocess.run(
            command, cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )


def try_answers(trial: Trial) -> None:
    """Ask the questions, and take an answer through to files that deploy it."""
    trial.run("--version")
    trial.run("--help")
    answer = json.loads(trial.run("best", *QUESTION, "--json"))
    expect(answer["status"] == "optimal", f"best: {answer['status']}")
    expect(answer["prediction"]["tok_s_per_user"] >= 125, "best: below its target")
    (trial.folder / "config.json").write_text(json.dumps(answer["config"]), encoding="utf-8")
    predicted = json.loads(trial.run("predict", *QUESTION[:2], "--config", "config.json", "--json"))
    expect(
        predicted["prediction"]["tpot_ms"] == answer["prediction"]["tpot_ms"],
        "predict: another TPOT than that of best",
    )
    trial.run("best", *QUESTION, "--explain")
    trial.run("curve", "--sku", "b200", "--targets", "25,75")
    trial.run("compare", "gb200", "b200", "--targets", "25,125", "--report", "report.html")
    expect((trial.folder / "report.html").stat().st_size > 50_000, "compare: an empty report")
    trial.run("topology", "show", "--sku", "b200", "--gpus", "32")
    trial.run("presets", "list")
    trial.run("presets", "show", "gb200")
    for name in FORMATS:
        trial.run("recipe", *QUESTION, "--format", name, "--output", name)
        trial.run("recipe", "check", name)


DEMAND = """tiers:
  - name: chat
    model: deepseek-r1-0528
    isl: 1k
    osl: 1k
    target: 50 tok/s/user
    rate: 5 requests/s
"""
GRID = "machines: [gb200]\ntargets: [50, 75]\nprices_usd_per_hour: [1.5, 2.5]\n"


def try_many(trial: Trial, bare: bool) -> None:
    """Plan a fleet and what becomes of it; ask many questions, and draw what they say."""
    (trial.folder / "demand.yaml").write_text(DEMAND, encoding="utf-8")
    plan = trial.run("fleet", "demand.yaml", "--sku", "gb200=144", "--json")
    expect(json.loads(plan)["status"] == "optimal", "fleet: no plan")
    (trial.folder / "plan.json").write_text(plan, encoding="utf-8")
    trial.run("fleet", "replan", "plan.json", "--lost", "domain 0")
    trial.run("fleet", "availability", "plan.json", "--years", "2")
    trial.run("recipe", "--plan", "plan.json", "--output", "plan")
    pool = ("recipe", *QUESTION[:3], "50", "--serving", "aggregated", "--format", "vllm")
    trial.run(*pool, "--output", "pool")
    trial.run("recipe", "check", "pool")
    trial.run("sensitivity", "gb200", "--target", "50")
    (trial.folder / "grid.yaml").write_text(GRID, encoding="utf-8")
    trial.run("sweep", "grid.yaml", "--output", "rows.csv", "--jobs", "1")
    draw = (
        "curve",
        "--sku",
        "gb200",
        "--sku",
        "b200",
        "--targets",
        "25,75",
        "--plot",
        "curves.svg",
    )
    said = trial.run(*draw, status=2 if bare else 0)
    expect(not bare or "'moeplan[plot]'" in said, f"no command to install matplotlib: {said}")


def try_measurements(trial: Trial, bare: bool) -> None:
    """Compare with measurements, draw them and fit to them."""
    python = str(trial.command.with_name("python"))
    rows = str(Path(trial.process(python, "-c", DATA).stdout.strip()) / ROWS)
    trial.run("validate", rows)
    draw = ("validate", rows, "--plot", "page.html")
    fit = ("calibrate", rows, "--output", "constants.toml")
    if bare:
        said = trial.run(*draw, status=2)
        expect("'moeplan[plot]'" in said, f"no command to install plotly: {said}")
    else:
        trial.run(*draw)
    trial.run(*fit)
    trial.run("best", *QUESTION, "--calibration", "constants.toml")


def expect(met: bool, otherwise: str) -> None:
    """End with a reason where something does not hold."""
    if not met:
        sys.exit(otherwise)


def main(command: Path, bare: bool) -> None:
    """Run all trials."""
    with TemporaryDirectory() as folder:
        trial = Trial(command.absolute(), Path(folder))
        try_answers(trial)
        try_many(trial, bare)
        try_measurements(trial, bare)
    print(f"{trial.passed} commands ran as they should")


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--bare" in sys.argv[2:])
