"""A prediction as tables: figures with intervals, and where a decode step goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.results import Prediction
from moeplan.answers.best import Deployment, Measured
from moeplan.answers.predicted import KeptDrafts, PredictedDeployment
from moeplan.render.common import (
    configuration_rows,
    count,
    dollars,
    figure,
    heading,
    links_sentence,
    pairs,
    paragraph,
    percent,
    plain,
    priced,
    served,
    span,
    table,
)
from moeplan.render.placement import placement_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

FIGURES = {
    "tok_s_per_user": "Interactivity, tok/s/user",
    "total_tok_s_per_gpu": "Throughput, tok/s/GPU",
    "usd_per_m_total_tokens": "Cost, $ per million tokens",
    "tpot_ms": "TPOT, ms",
    "ttft_ms": "TTFT, ms",
    "ttft_median_ms": "Median TTFT, ms",
}
EXPOSED = "exposed_communication"
PARTS = {
    "projection": "attention projections",
    "attention": "attention (scores, values, cache)",
    "experts": "experts and dense layers",
    "dispatch": "dispatch (all-to-all)",
    "combine": "combine (all-to-all)",
    "all_reduce": "all-reduce",
    "draft": "drafting",
    "head": "LM head",
    "launch": "launch",
    "host": "host",
    "interleaved_prefill": "prefill of other requests",
    "wait": "waiting for the slowest rank",
}


def report(answer: PredictedDeployment) -> list[RenderableType]:
    """Lay out the prediction of one given configuration."""
    gpus = count(answer.config.gpus, "GPU")
    price = f"{gpus} at ${answer.price_usd_per_hour:.2f} per GPU-hour"
    return [
        heading(f"{answer.title}: {served(answer.scenario)}"),
        pairs(
            [
                *configuration_rows(answer.config),
                ("GPUs", priced([(price, answer.question.price_set)])),
                *placement_rows(answer.placement),
            ]
        ),
        "",
        figures_table(answer.prediction),
        origin_sentence(answer.prediction),
        *batch_sentence(answer),
        *percentiles_sentence(answer.percentiles_ms),
        *drafts_sentence(answer.acceptance),
        "",
        *breakdown(answer),
    ]


def figures_table(
    prediction: Prediction, target: float = 0.0, measured: Measured | None = None
) -> RenderableType:
    """Lay out the figures of a prediction, the measured frontier beside them where it is given."""
    beside: dict[str, str] = {}
    if measured is not None:
        beside = {
            "tok_s_per_user": figure(target),
            "total_tok_s_per_gpu": figure(measured.total_tok_s_per_gpu),
            "usd_per_m_total_tokens": dollars(measured.usd_per_m_total_tokens),
        }
    rows = []
    for name, label in FIGURES.items():
        money = name == "usd_per_m_total_tokens"
        value = getattr(prediction, name)
        row = [
            label,
            dollars(value) if money else figure(value),
            span(prediction.interval_90[name], ".4f" if money else ""),
        ]
        rows.append([*row, beside.get(name, "")] if beside else row)
    columns = ["", "Predicted", "90 % interval"] + (["Measured frontier"] if beside else [])
    return table(*columns, rows=rows)


def origin_sentence(prediction: Prediction, hint: str = "") -> RenderableType:
    """Say what the prediction rests on; `hint` follows where that is not the data."""
    rows = prediction.anchored_at
    anchored = f" Anchored at {count(rows, 'measured row')} of this worker." if rows else ""
    if prediction.origin == "modelled":
        return paragraph(f"Modelled, inside the range of the calibration data.{anchored}")
    outside = "; ".join(prediction.extrapolated_in)
    return paragraph(f"Extrapolated, outside the calibration data in: {outside}.{anchored}{hint}")


def batch_sentence(deployment: Deployment) -> list[RenderableType]:
    """Say where the KV cache cuts the batch; nothing where all of it fits."""
    asked, held = deployment.config.max_batch, deployment.batch_limit
    if asked <= held:
        return []
    return [
        paragraph(f"KV memory holds {held} of the {asked} requests per {holder_of(deployment)}.")
    ]


def percentiles_sentence(found: Mapping[str, float]) -> list[RenderableType]:
    """Say within what percentiles of requests are served."""
    if not found:
        return []
    said = {"tpot": "ms per token", "ttft": "ms to the first"}
    at: dict[float, list[str]] = {}
    for name, value in found.items():
        clock, _, percentile = name.partition("_p")
        at.setdefault(float(percentile), []).append(f"{figure(value)} {said[clock]}")
    parts = (f"{' and '.join(at[percentile])} for {percentile:g} %" for percentile in sorted(at))
    return [paragraph(f"Within {', '.join(parts)} of requests.")]


def drafts_sentence(kept: KeptDrafts | None) -> list[RenderableType]:
    """Say how many tokens a step keeps, how sure that is, and who measured it."""
    if kept is None:
        return []
    low, high = kept.interval_90
    sure = "" if low == high else f" (90 % interval {low:.2f} to {high:.2f})"
    return [paragraph(f"A step keeps {kept.tokens_per_step:.2f} tokens{sure}: {kept.source}.")]


def holder_of(deployment: Deployment) -> str:
    """Name what holds a batch: a rank under attention dp, the whole worker under tp."""
    return "rank" if deployment.config.decode_attention == "dp" else "worker"


def breakdown(deployment: Deployment) -> list[RenderableType]:
    """Lay out what a decode step spends its time on, and what the links cost."""
    parts = {name: ms for name, ms in deployment.breakdown_ms.items() if name != EXPOSED}
    total, exposed = sum(parts.values()), deployment.breakdown_ms[EXPOSED]
    rows = [
        [PARTS.get(name, name.replace("_", " ")), f"{ms:.3f}", percent(ms / total)]
        for name, ms in sorted(parts.items(), key=lambda part: -part[1])
        if ms > 0.0
    ]
    rows.append(["one step", f"{total:.3f}", percent(1.0)])
    rows.append(["of it exposed communication", f"{exposed:.3f}", percent(exposed / total)])
    if (hidden := deployment.hidden_communication_ms) > 0.0:
        rows.append(["besides, hidden by expert GEMMs", f"{hidden:.3f}", ""])
    kept = total / deployment.prediction.tpot_ms
    requests = "request" if plain(deployment.batch_in_flight) == "1" else "requests"
    holder = holder_of(deployment)
    return [
        heading("Why: one decode step"),
        table("", "ms", "Share", rows=rows),
        paragraph(
            f"{plain(deployment.batch_in_flight)} {requests} in flight per {holder}; a step keeps "
            f"{kept:.2f} tokens of each; prefill is {percent(deployment.prefill_load)} busy."
        ),
        paragraph(
            links_sentence(
                deployment.links, "worker" if deployment.config.is_aggregated else "decode worker"
            )
        ),
    ]
