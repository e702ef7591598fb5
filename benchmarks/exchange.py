"""How right the latencies of collectives are at a width that their constants never saw.

Each family is fitted again on its shipped latencies without those of one width (GPUs that take
part) and compared with these; the share of NVLink that TensorRT-LLM's kernels reach stays as fitted
on all. ``deepep_h800.csv`` was never in a fit: DeepEP's low-latency kernels on H800
with ConnectX-7, 128 tokens of 7168, top 8, FP8 out and BF16 back (docs/legacy.md of
deepseek-ai/DeepEP, read 2026-11-28). Run ``python -m benchmarks.exchange``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from costmodel.calibration import CalibrationFile
from costmodel.calibration_file import shipped_calibration
from costmodel.fit import fit_constants
from costmodel.inputs import FloatArray
from costmodel.latencies import (
    FAMILIES,
    LATENCY_SPREAD,
    exchange_kernel,
    exchange_residuals,
    reduce_residuals,
)
from costmodel.stages import ALL_REDUCE, ALL_TO_ALL
from presets import AllToAllRow, allreduce_rows, alltoall_rows

LIMITS = {
    "deepep-low-latency": 6.0,
    "deepep-normal": 12.0,
    "trtllm-NVLinkTwoSided": 7.0,
    "trtllm-NVLinkOneSided": 7.0,
    "all-reduce": 15.0,
    "deepep on H800, unfitted": 12.0,
}
"""Largest mean error that is asked for. [%]"""

UNFITTED = Path(__file__).with_name("deepep_h800.csv")


def main() -> None:
    """Print one line for each family and width left out."""
    print("family,width left out,rows,mean error %,at most %")
    file = shipped_calibration()
    for family in FAMILIES:
        rows = [row for row in alltoall_rows() if row.kernel == family]
        kernels = {exchange_kernel(row) for row in rows}
        names = [name for name in ALL_TO_ALL if name.partition(".")[0] in kernels]
        names += ["deepep_blackwell_latency"] * family.startswith("deepep")
        report(family, file, names, rows, lambda row: row.ep, exchange_residuals)
    report("all-reduce", file, ALL_REDUCE, allreduce_rows(), lambda row: row.gpus, reduce_residuals)
    unfitted(file)


def report(
    family: str,
    file: CalibrationFile,
    names: Sequence[str],
    rows: Sequence[Any],
    width: Callable[[Any], int],
    residuals: Callable[[Any], Callable[[Any], FloatArray]],
) -> None:
    """Leave out one width of a family after the other."""
    found = []
    for left_out in sorted({width(row) for row in rows}):
        kept = [row for row in rows if width(row) != left_out]
        others = [row for row in rows if width(row) == left_out]
        fit = fit_constants(file, names, residuals(kept))
        found.append(errors(residuals(others)(fit.file.calibration)))
        line(family, str(left_out), found[-1])
    line(family, "each", np.concatenate(found))


def unfitted(file: CalibrationFile) -> None:
    """Compare kernels that no constant was fitted to."""
    found = errors(exchange_residuals(list(unfitted_rows()))(file.calibration))
    line("deepep on H800, unfitted", "", found)


def unfitted_rows() -> Iterator[AllToAllRow]:
    """Rows of the file, as of H200: its NICs are the same, and they are what the time rests on."""
    with UNFITTED.open() as lines:
        for row in csv.DictReader(lines):
            yield AllToAllRow(
                sku="h200",
                path="nvlink+rdma",
                gpus_per_nvlink_domain=8,
                kernel="deepep-low-latency",
                op="dispatch" if row["op"] == "dispatch" else "combine",
                dtype="fp8" if row["op"] == "dispatch" else "bfloat16",
                ep=int(row["ep"]),
                tokens_per_rank=128,
                hidden=7168,
                top_k=8,
                experts=256,
                latency_us=float(row["latency_us"]),
            )


def errors(residuals: FloatArray) -> FloatArray:
    """Relative errors of log residuals [%]."""
    return np.asarray(100.0 * np.abs(np.expm1(residuals * LATENCY_SPREAD)))


def line(family: str, width: str, found: FloatArray) -> None:
    """Print the mean error of some rows beside what is asked for."""
    print(f"{family},{width},{len(found)},{found.mean():.1f},{LIMITS[family]:g}")


if __name__ == "__main__":
    main()
