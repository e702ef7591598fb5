"""What the shipped calibration predicts, written down so that a change of it shows.

`make golden` writes `predictions.csv` (every shipped measurement, as it would be predicted) and
`answers.csv` (what is best on each machine at the published targets) again. Whether predictions are
right is measured elsewhere (docs/accuracy.md); these files only say whether they moved.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from costmodel import load_calibration, predict, validate
from costmodel.counts import can_multiply
from costmodel.deployments import case_of
from costmodel.results import Configuration
from costmodel.validation import serving_row_of
from moeplan.options import Options
from moeplan.question import ask
from optimizer import curve
from presets import hardware_names, load_hardware, load_model, published_rows, serving_rows
from presets.engines import load_engine

FOLDER = Path(__file__).parent
PREDICTIONS, ANSWERS = FOLDER / "predictions.csv", FOLDER / "answers.csv"
TARGETS = (25, 45, 60, 75, 90, 100, 125, 150, 175, 200, 225, 250, 275, 300)  # as published
DIGITS = 6

Row = Mapping[str, object]


def predictions() -> Iterator[Row]:
    """One line for each shipped row: what names it, then every figure that is predicted of it."""
    calibration = load_calibration()
    measured, published = serving_rows(), [serving_row_of(row) for row in published_rows()]
    rows = [*measured, *published]
    benchmarks = validate(rows, calibration).predictions
    for index, row in enumerate(rows):
        case = case_of(row)
        (one,) = predict([case.configuration], case.scenario, case.cluster, calibration)
        figures = one.prediction
        line: dict[str, object] = {
            "row": f"measured {index + 1}"
            if index < len(measured)
            else f"published {index - len(measured) + 1}",
            "sku": row.sku,
            "precision": row.precision,
            "lengths": f"{row.isl}/{row.osl}",
            "configuration": _whole_label(case.configuration),
            "users": row.concurrency,
            "origin": figures.origin,
            "tok_s_per_user": figures.tok_s_per_user,
            "usd_per_m_total_tokens": figures.usd_per_m_total_tokens,
            "batch_in_flight": one.batch_in_flight,
        }
        line |= {name: float(values[index]) for name, values in benchmarks.items()}
        for name in ("tpot_ms", "ttft_ms", "ttft_median_ms", "total_tok_s_per_gpu"):
            low, high = figures.interval_90[name]
            line |= {f"{name}_low": low, f"{name}_high": high}
        yield line


ENGINES = ("trtllm", "sglang", "vllm")
"""The first that runs on a machine answers for it."""


def answers() -> Iterator[Row]:
    """One line for each machine and published target: the best configuration, what it gives."""
    model = load_model("deepseek-r1-0528")
    served = {name: load_engine(name).runs_on.kernel_profiles for name in ENGINES}
    for sku in hardware_names():
        engine = next(each for each in ENGINES if load_hardware(sku).kernel_profile in served[each])
        offered = (
            name
            for name in model.precision_names()
            if can_multiply(load_hardware(sku), model.precision(name))
        )
        precision = min(offered, key=lambda name: model.precision(name).experts)
        question = ask(sku, Options(precision=precision, engine=engine))
        # Neither why a target is missed nor what would be safe beside it is written down.
        found_by_target = curve(question.problem(TARGETS[0]), TARGETS, explained=False)
        for target, best in zip(TARGETS, found_by_target, strict=True):
            found, prediction = best.configuration, best.prediction
            yield {
                "row": f"{sku} {target}",
                "precision": precision,
                "status": best.status,
                "configuration": _whole_label(found) if found else "",
                "tok_s_per_user": prediction.tok_s_per_user if prediction else "",
                "total_tok_s_per_gpu": prediction.total_tok_s_per_gpu if prediction else "",
            }


def _whole_label(configuration: Configuration) -> str:
    return f"{configuration.label} ep {configuration.decode_ep} eplb {configuration.eplb_slots}"


def text(rows: Iterator[Row]) -> str:
    """Lines of a CSV file, numbers to `DIGITS` digits."""
    lines = [
        {
            name: f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)
            for name, value in row.items()
        }
        for row in rows
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


if __name__ == "__main__":
    PREDICTIONS.write_text(text(predictions()), encoding="utf-8")
    ANSWERS.write_text(text(answers()), encoding="utf-8")
