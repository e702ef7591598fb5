"""Published decode rates of wide expert parallelism, beside predictions that saw none of them.

``wide_ep.csv`` has requests per rank, cached tokens of a request, tokens kept of a step and what
was published; ``two_batches`` says whether the run overlapped two half batches, ``simulated``
whether it verified drafts that nothing had drafted, ``kernels_of`` whose exchange it ran. The
engine that DeepSeek has in house is none that is known: the shared constants hold for it. Rates are
of decode alone, so that one step decides. Run ``python -m benchmarks.wide_ep``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from costmodel.calibration_file import load_calibration
from costmodel.counts import machine_arrays, model_arrays, path_arrays
from costmodel.decode import decode_step
from costmodel.deployments import traits_of
from costmodel.engine_rules import exchange_of
from costmodel.inputs import WorkerArrays
from costmodel.resolve import resolve
from costmodel.results import Scenario
from presets import default_cluster, load_model
from topology import group_table

PUBLISHED = Path(__file__).with_name("wide_ep.csv")
MODEL = "deepseek-r1-0528"

Row = dict[str, str]


def main() -> None:
    """Print one line for each published rate."""
    print("what,published tok/s/GPU,predicted,ratio,step ms,within")
    for row in published():
        rate, seconds = predicted(row)
        ratio = rate / float(row["tok_s_per_gpu"])
        within = is_within(row, ratio)
        line = [f'"{row["name"]}"', row["tok_s_per_gpu"], f"{rate:.0f}", f"{ratio:.2f}"]
        print(",".join([*line, f"{1e3 * seconds:.1f}", "yes" if within else "no"]))


def published() -> Iterator[Row]:
    """Rows of the table."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def is_within(row: Row, ratio: float) -> bool:
    """Whether predicted over published lies where it was asked to."""
    return float(row["least"] or 0.0) <= ratio <= float(row["most"] or np.inf)


def predicted(row: Row, batch: float | None = None, two: bool | None = None) -> tuple[float, float]:
    """Rate of a GPU [token/s], and the decode step [s]; ``batch`` and ``two`` replace the row's."""
    gpus, requests = int(row["ep"]), float(row["batch"]) if batch is None else batch
    cluster = default_cluster(row["sku"], 144)
    model, depth = load_model(MODEL), float(row["draft_depth"])
    overlaps = row["two_batches"] == "1" if two is None else two
    fields = exchange_of(row["kernels_of"])
    fields["two_batches"] &= overlaps
    workers = WorkerArrays(
        gpus=np.array(float(gpus)),
        ep=np.array(float(gpus)),
        attention_dp=np.array(True),
        mtp_depth=np.array(depth),
        drafts_kept=np.array(float(row["accepted"]) - 1.0),
        kept_as_given=np.array(True),
        eplb_slots=np.array(float(row["eplb_slots"])),
        context=np.array(float(row["context"])),
        **{name: np.array(has) for name, has in fields.items()},
    )
    scenario = Scenario(model=model, precision=row["precision"], engine=row["engine"])
    constants = resolve(load_calibration(), traits_of(scenario, cluster))
    drafts = None
    if row["simulated"] == "1":
        drafts, constants = np.zeros(()), constants._replace(draft_request_time=0.0)
    step = decode_step(
        machine_arrays(cluster.hardware(), model, row["precision"]),
        model_arrays(model, row["precision"]),
        workers,
        path_arrays(group_table(cluster, [gpus])[gpus]),
        np.array(requests),
        constants,
        drafts,
    )
    seconds = float(step.total)
    return requests * float(row["accepted"]) / seconds, seconds


if __name__ == "__main__":
    main()
