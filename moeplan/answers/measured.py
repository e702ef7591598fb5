"""What was measured beside what is predicted: the published rows, where the scenario is theirs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from costmodel.economics import usd_per_m_tokens
from costmodel.frontier import measured_at, why_unmeasured
from costmodel.own_cluster import cluster_differs
from costmodel.results import Configuration, Scenario
from costmodel.runs import measured_frontends
from moeplan.answers.best import Measured, MeasuredRow, NearestMeasured
from moeplan.options import ENGINE, LENGTH, MAX_GPUS, MODEL
from presets import PublishedRow, ServingRow, load_model, published_rows, serving_rows

if TYPE_CHECKING:
    from presets import ClusterSpec

WIDE_HOLE = 2.0
"""Fall of throughput between two rows from which a value between them needs a word. [1]"""


def published_for(cluster: ClusterSpec, max_gpus: int = MAX_GPUS) -> tuple[PublishedRow, ...]:
    """Give the published rows of the machine of a cluster that take at most some GPUs."""
    rows = (row for row in published_rows() if row.sku == cluster.sku)
    return tuple(row for row in rows if _configuration(row).gpus <= max_gpus)


def nearest_measured(
    scenario: Scenario, cluster: ClusterSpec, target: float, max_gpus: int
) -> NearestMeasured | None:
    """Find the shipped measurement nearest to a question, whatever its lengths; None without any.

    Of the same machine, model and precision, within the GPU budget; one at or above the target
    comes before any below. Nearest is what differs by the smallest factors of interactivity, input
    and output length, multiplied.
    """
    asked = target, float(scenario.isl), float(scenario.osl)
    found: list[tuple[bool, float, NearestMeasured]] = []
    rows: list[PublishedRow | ServingRow] = [*serving_rows(), *published_rows()]
    for row in rows:
        config, throughput = _configuration(row), row.total_tok_s_per_gpu
        same = row.sku == cluster.sku and row.model == scenario.model.name
        if not same or row.precision != scenario.precision or config.gpus > max_gpus:
            continue
        if throughput is None or row.tpot_ms is None:
            continue
        speed = 1e3 / row.tpot_ms
        factors = [
            there / here for there, here in zip((speed, row.isl, row.osl), asked, strict=True)
        ]
        nearest = NearestMeasured(
            isl=row.isl,
            osl=row.osl,
            engine=row.framework,
            config=config,
            tok_s_per_user=speed,
            total_tok_s_per_gpu=throughput,
            factors=dict(zip(("tok_s_per_user", "isl", "osl"), factors, strict=True)),
        )
        distance = sum(abs(math.log(factor)) for factor in factors)
        found.append((speed < target, distance, nearest))
    return min(found, key=lambda each: each[:2])[2] if found else None


def why_incomparable(scenario: Scenario, cluster: ClusterSpec) -> str | None:
    """One sentence on why the published rows are of another case, None where they are of this."""
    if scenario.model != load_model(MODEL) or scenario.precision != "fp4":
        return f"the published rows serve {MODEL} in fp4"
    if (scenario.isl, scenario.osl) != (LENGTH, LENGTH):
        return f"the published rows are for {LENGTH} tokens in and {LENGTH} out"
    if scenario.cached_share:
        return "the published rows reuse no KV of the input"
    if scenario.engine != ENGINE:
        return f"the published rows ran on {ENGINE}"
    if cluster_differs(cluster):
        return "the cluster file changes links or memory of the machine that was measured"
    return None


def measured_point(
    scenario: Scenario, cluster: ClusterSpec, target: float, max_gpus: int = MAX_GPUS
) -> Measured | None:
    """Look up the measured frontier, at the price of the cluster; None where it has no value.

    Of rows that take at most some GPUs, as the deployments beside it.
    """
    if why_incomparable(scenario, cluster):
        return None
    rows = published_for(cluster, max_gpus)
    price = cluster.hardware().price_usd_per_hour.value
    point = measured_at(rows, target, price) if rows else None
    if point is None:
        return None
    return Measured(
        total_tok_s_per_gpu=point.total_tok_s_per_gpu,
        usd_per_m_total_tokens=point.usd_per_m_total_tokens,
        origin=point.origin,
        between=tuple(_row(row, price) for row in point.between),
    )


def why_not_measured(
    scenario: Scenario, cluster: ClusterSpec, target: float, max_gpus: int = MAX_GPUS
) -> str | None:
    """One sentence on why the measured frontier has no value, None where it has one."""
    if reason := why_incomparable(scenario, cluster):
        return reason
    rows = published_for(cluster, max_gpus)
    if not rows and published_for(cluster):
        return f"no published row takes at most {max_gpus} GPUs"
    return why_unmeasured(rows, target)


def above_measured(scenario: Scenario, cluster: ClusterSpec, target: float) -> bool:
    """Whether a target is higher than any published row of the same case reached."""
    if why_incomparable(scenario, cluster) or not why_not_measured(scenario, cluster, target):
        return False
    speeds = [row.tok_s_per_user for row in published_for(cluster)]
    return target > max(speeds, default=math.inf)


def hole_of(measured: Measured | None) -> str | None:
    """Name the wide hole between published rows in which a value lies, None where there is none."""
    if measured is None or len(measured.between) < 2:
        return None
    slow, fast = measured.between
    fall = slow.total_tok_s_per_gpu / fast.total_tok_s_per_gpu
    if fall < WIDE_HOLE:
        return None
    return (
        f"{slow.tok_s_per_user:.1f} to {fast.tok_s_per_user:.1f} tok/s/user, where throughput "
        f"falls {fall:.1f}-fold"
    )


def _row(row: PublishedRow, price: float) -> MeasuredRow:
    return MeasuredRow(
        config=_configuration(row),
        tok_s_per_user=row.tok_s_per_user,
        tpot_ms=row.tpot_ms,
        total_tok_s_per_gpu=row.total_tok_s_per_gpu,
        usd_per_m_total_tokens=usd_per_m_tokens(price, row.total_tok_s_per_gpu),
    )


def _configuration(row: PublishedRow | ServingRow) -> Configuration:
    values = {name: getattr(row, name) for name in Configuration.model_fields}
    frontends = row.frontends or measured_frontends(row.sku, row.precision, row.date)
    return Configuration(**values | {"frontends": frontends})
