"""Links and shadow prices of an answer as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moeplan.render.common import (
    configuration_label,
    count,
    dollars,
    fact_name,
    figure,
    heading,
    paragraph,
    percent,
    plain,
    table,
    with_unit,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from moeplan.answers.best import Best
    from moeplan.answers.explanation import Explanation, WorkerLinks
    from optimizer.sensitivity import Sensitivity

LINKS = {"nvlink": "NVLink", "nic": "NIC", "hbm": "HBM"}

LIMITS = {
    "nic_bandwidth": "NIC bandwidth",
    "nic_latency": "NIC latency",
    "nvlink_bandwidth": "NVLink bandwidth",
    "nvlink_latency": "NVLink latency",
    "hbm_capacity": "HBM capacity",
    "max_gpus": "GPU budget",
    "target": "target",
    "max_ttft": "TTFT limit",
}


def report(found: Explanation, answer: Best) -> list[RenderableType]:
    """Lay out an explanation."""
    return [
        "",
        heading("Bandwidth by link, per GPU and direction"),
        *links_part(found.links),
        "",
        heading("Shadow prices: the search repeated with one limit wider"),
        *prices_part(found.shadow_prices, answer),
        *assumed_part(found.assumed, answer),
    ]


def links_part(links: WorkerLinks) -> list[RenderableType]:
    """Lay out what each worker moves over each kind of link."""
    rows = []
    for role, loads in (("decode step", links.decode), ("prefill request", links.prefill)):
        for name, load in loads.items():
            rows.append(
                [
                    LINKS[name],
                    role,
                    figure(load.moved_bytes / 1e6),
                    figure(load.in_use_gb_s),
                    plain(load.rate_gb_s),
                    percent(load.utilisation),
                ]
            )
    columns = ("Link", "Per", "MB", "In use, GB/s", "Rate, GB/s", "Utilisation")
    return [
        table(*columns, left=2, rows=rows),
        paragraph(
            "Averages over time: a step moves data in short bursts between its GEMMs. NICs carry "
            "the KV cache from prefill to decode, and what leaves an NVLink domain."
        ),
    ]


def prices_part(prices: tuple[Sensitivity, ...], answer: Best) -> list[RenderableType]:
    """Lay out what each limit a little wider would give."""
    return [
        _sensitivities("Limit", [(each, LIMITS[each.limit]) for each in prices], answer),
        paragraph(
            "At the same price per GPU-hour. A cluster file holds no rate of the HBM, so that has "
            "no shadow price."
        ),
    ]


def assumed_part(found: tuple[Sensitivity, ...], answer: Best) -> list[RenderableType]:
    """Lay out what each assumed fact would give, were it as another source has it."""
    if not found:
        return []
    return [
        "",
        heading("Assumed facts: the search repeated with what other sources have"),
        _sensitivities("Fact", [(each, fact_name(each.limit)) for each in found], answer),
    ]


def _sensitivities(
    what: str, found: Sequence[tuple[Sensitivity, str]], answer: Best
) -> RenderableType:
    # Cost and throughput have columns of their own; another objective stands in place of cost.
    other = answer.objective.name in ("power", "gpus", "output-cost")
    rows = [
        [
            name,
            with_unit(f"{plain(each.before)} to {plain(each.after)}", each.unit),
            new_answer(each, answer),
            figure(each.prediction.total_tok_s_per_gpu),
            figure(each.objective_amount)
            if other
            else dollars(each.prediction.usd_per_m_total_tokens),
            signed(each.throughput_change),
            signed(each.objective_change if other else each.cost_change),
        ]
        for each, name in found
    ]
    weighed = answer.objective.unit if other else "$/M"
    changes = ("Change\ntok/s/GPU", f"\n{weighed}")
    columns = (what, "Changed", "New answer", "tok/s/GPU", weighed, *changes)
    return table(*columns, left=3, rows=rows)


def new_answer(price: Sensitivity, answer: Best) -> str:
    """Name the new configuration, or say that it stays."""
    if not price.config_changes:
        return "the same"
    label = configuration_label(price.config)
    if answer.config is not None and label == configuration_label(answer.config):
        return f"the same with {count(price.config.concurrency, 'user')}"
    return label


def signed(change: float) -> str:
    """Write a relative change.

    Examples
    --------
    >>> signed(0.0312), signed(-0.2), signed(1e-9)
    ('+3.1 %', '-20.0 %', '0.0 %')
    """
    text = f"{100.0 * change:+.1f} %"
    return "0.0 %" if text in ("+0.0 %", "-0.0 %") else text
