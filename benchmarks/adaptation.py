"""Whether adapting the calibration to some rows helps on rows that it did not see.

Run: ``.venv/bin/python benchmarks/adaptation.py [SEED]``. Prints three tables:

1. The shipped fit adapted to 12 to 30 shipped rows of one to three machines, drawn row by row or
   run by run, against the other rows of these machines: it has seen them all, and nothing may get
   worse.
2. Rows as a cluster a factor slower would have measured them: 12 rows of a machine, against the
   others of it.
3. A fit to the other machines, adapted to 12 rows of one that it never saw, against the others of
   it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from costmodel.adaptation import fit_to
from costmodel.calibration import CalibrationFile
from costmodel.calibration_file import shipped_calibration
from costmodel.coverage import coverage_of
from costmodel.stages import calibrate_serving
from costmodel.validation import validate
from presets import ServingRow, serving_rows

SPLITS = 40
FEW = 12
SLOWER = (1.0, 1.05, 1.1, 1.15, 1.3)
SPLITS_EACH = 20  # of each factor
SPLITS_NEW = 8  # of each machine
FIGURES = {"tpot": "TPOT", "throughput": "tok/s/GPU", "ttft": "TTFT"}
LEAST = 8  # rows that are left out, at least
RAISED = 5e-5  # of a mean error, from which it counts as raised

ROWS = serving_rows()
SKUS = sorted({row.sku for row in ROWS})


class Tried(NamedTuple):
    """Errors on rows left out before and after an adaptation, shape ``(2, 3)``, and its drift."""

    errors: np.ndarray  # mean by figure, then inside the 90 % interval by figure
    drift: str


def main() -> None:
    """Print all tables."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    start = shipped_calibration()
    print(f"seed {seed}; errors in percent, on rows left out, before -> after\n")
    header("shipped rows, adapted to some of them")
    for kind in ("row by row", "run by run"):
        rng = np.random.default_rng([seed, len(kind), ord(kind[1])])
        tried = [try_split(*split(rng, kind == "run by run"), start) for _ in range(SPLITS // 2)]
        line(f"drawn {kind}", tried)
    header("12 rows of a machine as a slower cluster has them")
    for factor in SLOWER:
        rng = np.random.default_rng([seed, 2])
        tried = []
        for _ in range(SPLITS_EACH):
            seen, left = few(rng, str(rng.choice(SKUS)))
            slower = [[slowed(row, factor) for row in rows] for rows in (seen, left)]
            tried.append(try_split(slower[0], slower[1], start))
        line(f"{factor:g} times slower", tried)
    header("12 rows of a machine that the fit before never saw")
    for sku in SKUS:
        rng = np.random.default_rng([seed, 3])
        print(f"fitting the machines but {sku} ...", file=sys.stderr, flush=True)
        others = [row for row in ROWS if row.sku != sku]
        fitted = calibrate_serving(others, start).file._replace(coverage=coverage_of(others))
        line(sku, [try_split(*few(rng, sku), fitted) for _ in range(SPLITS_NEW)])


def split(rng: np.random.Generator, by_run: bool) -> tuple[list[ServingRow], list[ServingRow]]:
    """Draw rows of one to three machines to adapt to; their other rows are left out."""
    skus = rng.choice(SKUS, rng.integers(1, 4), replace=False).tolist()
    pool = [index for index, row in enumerate(ROWS) if row.sku in skus]
    wanted = min(int(rng.integers(FEW, 31)), len(pool) - LEAST)
    seen: list[int] = []
    if not by_run:
        seen = rng.permutation(pool)[:wanted].tolist()
    runs = sorted({run_of(ROWS[index]) for index in pool}) if by_run else []
    for number in rng.permutation(len(runs)):
        whole = [index for index in pool if run_of(ROWS[index]) == runs[number]]
        if len(seen) < wanted and len(pool) - len(seen) - len(whole) >= LEAST:
            seen += whole
    return parted(seen, pool)


def few(rng: np.random.Generator, sku: str) -> tuple[list[ServingRow], list[ServingRow]]:
    """Draw `FEW` rows of a machine; its others are left out."""
    pool = [index for index, row in enumerate(ROWS) if row.sku == sku]
    return parted(rng.permutation(pool)[:FEW].tolist(), pool)


def parted(seen: Sequence[int], pool: Sequence[int]) -> tuple[list[ServingRow], list[ServingRow]]:
    """Rows that are seen, and those of the pool that are left out."""
    chosen = set(seen)
    return [ROWS[i] for i in sorted(chosen)], [ROWS[i] for i in pool if i not in chosen]


def run_of(row: ServingRow) -> tuple[str, ...]:
    """Name what ran as one sweep."""
    drafts = "drafts" if row.mtp_depth else "plain"
    return row.sku, row.precision, str(row.isl), drafts, str(row.date)


def slowed(row: ServingRow, factor: float) -> ServingRow:
    """Make the row what a cluster whose steps take a factor longer would have measured."""
    times = ("tpot_ms", "tpot_median_ms", "iteration_ms")
    rates = ("total_tok_s_per_gpu", "tok_s_per_user")
    scale = dict.fromkeys(times, factor) | dict.fromkeys(rates, 1.0 / factor)
    known = {name: by for name, by in scale.items() if getattr(row, name) is not None}
    return row.model_copy(update={name: getattr(row, name) * by for name, by in known.items()})


def try_split(
    seen: Sequence[ServingRow], left: Sequence[ServingRow], start: CalibrationFile
) -> Tried:
    """Adapt to some rows and predict the others."""
    fit, drifts = fit_to(seen, start)
    errors = []
    for calibration in (start.calibration, fit.file.calibration):
        statistics = validate(left, calibration).statistics()
        kinds = ("mape", "coverage_90")
        errors.append([statistics[figure][kind] for kind in kinds for figure in FIGURES])
    print(".", end="", file=sys.stderr, flush=True)
    return Tried(np.array(errors, dtype=float), "/".join(drifts.values()))


def header(title: str) -> None:
    """Begin a table."""
    columns = [f"{label} mean | raised, most" for label in FIGURES.values()]
    print(f"\n| {title} | splits | {' | '.join(columns)} | TPOT inside 90 % | drift of step/wait |")
    print("|---" * (4 + 2 * len(FIGURES) + 1) + "|")


def line(name: str, tried: Sequence[Tried]) -> None:
    """Print the means over splits, in how many an error was raised, and by how much at most."""
    print(file=sys.stderr)
    errors = np.array([one.errors for one in tried])
    cells = []
    for place in range(len(FIGURES)):
        before, after = errors[:, 0, place], errors[:, 1, place]
        rise = (after - before)[~np.isnan(before)]
        most = f", {100 * rise.max():.2f}" if np.any(rise > RAISED) else ""
        cells.append(f"{100 * np.nanmean(before):.1f} -> {100 * np.nanmean(after):.1f}")
        cells.append(f"{int(np.sum(rise > RAISED))}{most}")
    inside = 100 * np.nanmean(errors[:, :, len(FIGURES)], axis=0)
    drifts = ", ".join(
        f"{count} {drift}" for drift, count in Counter(t.drift for t in tried).items()
    )
    print(
        f"| {name} | {len(tried)} | {' | '.join(cells)} | {inside[0]:.0f} -> {inside[1]:.0f} "
        f"| {drifts} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
