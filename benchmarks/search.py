"""How long the commands take, and how time and memory of a search grow with its candidates.

Run: ``.venv/bin/python benchmarks/search.py [growth.html]``. Prints medians of whole processes on
this machine, then one search per size of space, each in a process of its own; with a file name
it draws the growth as well.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
TARGETS = ",".join(str(target) for target in range(20, 320, 12))
COMMANDS = {
    "moeplan --help": ["--help"],
    "moeplan best --sku gb200 --target 125": ["best", "--sku", "gb200", "--target", "125"],
    "moeplan curve, 25 targets": ["curve", "--sku", "gb200", "--targets", TARGETS],
}
SPACES = [(4, 1.6, 72), (8, 1.15, 72), (16, 1.01, 72), (24, 1.0005, 108), (48, 1.0005, 144)]
"""Workers of each role, ratio of neighbouring batches, and GPUs: 10 thousand to 10 million."""


def main() -> None:
    """Print all figures."""
    for name, arguments in COMMANDS.items():
        seconds, megabytes = zip(*(process(arguments) for _ in range(RUNS)), strict=True)
        print(f"{name:40} {statistics.median(seconds):6.2f} s {max(megabytes):6.0f} MB")
    rows = []
    print("\ncandidates        s    MB   us per candidate")
    for place in range(len(SPACES)):
        run = subprocess.run(
            [sys.executable, __file__, "--space", str(place)], capture_output=True, check=True
        )
        row = json.loads(run.stdout)
        rows.append(row)
        print(
            f"{row['candidates']:10,} {row['seconds']:8.2f} {row['megabytes']:5.0f} "
            f"{1e6 * row['seconds'] / row['candidates']:10.3f}"
        )
    if len(sys.argv) > 1:
        draw(rows, Path(sys.argv[1]))


def process(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of one whole process."""
    command = [str(Path(sys.executable).with_name("moeplan")), *arguments]
    watched = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
        "stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    run = subprocess.run([sys.executable, "-c", watched, *command], capture_output=True, check=True)
    return seconds, int(run.stdout) / 1024


def search(workers: int, ratio: float, gpus: int) -> dict[str, float]:
    """Evaluate and solve one space, every deployment of it; seconds without imports."""
    from costmodel.calibration_file import load_calibration
    from costmodel.results import Scenario
    from optimizer import Limits, Problem, Space, best
    from presets import default_cluster, load_model

    counts = tuple(range(1, workers + 1))
    space = Space(prefill_workers=counts, decode_workers=counts, batch_ratio=ratio)
    scenario = Scenario(model=load_model("deepseek-r1-0528"))
    calibration, cluster = load_calibration(), default_cluster("gb200", gpus)
    small = Space(prefill_workers=(1,), decode_workers=(1,), batch_ratio=2.0)
    best(Problem(scenario, cluster, Limits(1.0, gpus), calibration, small))  # imports what it needs
    started = time.perf_counter()
    answer = best(Problem(scenario, cluster, Limits(1.0, gpus), calibration, space))
    return {
        "candidates": answer.search.candidates,
        "seconds": time.perf_counter() - started,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Draw seconds and megabytes over candidates, all logarithmic."""
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, subplot_titles=["seconds", "megabytes"])
    for column, name in enumerate(("seconds", "megabytes"), start=1):
        dots = Scatter(
            x=[row["candidates"] for row in rows],
            y=[row[name] for row in rows],
            mode="lines+markers",
            showlegend=False,
        )
        figure.add_trace(dots, row=1, col=column)
    figure.update_xaxes(type="log", title_text="candidates")
    figure.update_yaxes(type="log")
    figure.write_html(path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--space"]:
        print(json.dumps(search(*SPACES[int(sys.argv[2])])))
    else:
        main()
