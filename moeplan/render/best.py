"""The answer of ``moeplan best`` as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.percentiles import percentile_name
from moeplan.answers.best import Best
from moeplan.answers.measured import hole_of
from moeplan.answers.reasons import of_requests
from moeplan.render.common import (
    chance,
    configuration_label,
    configuration_rows,
    count,
    dollars,
    figure,
    heading,
    pairs,
    paragraph,
    percent,
    priced,
    served,
    table,
)
from moeplan.render.placement import placement_rows
from moeplan.render.predict import (
    breakdown,
    figures_table,
    origin_sentence,
    percentiles_sentence,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from rich.console import RenderableType

    from moeplan.answers.safe import SafeChoice
    from optimizer.answer import Search

BEST = {
    "cost": "best throughput per dollar",
    "throughput": "best throughput per GPU",
    "output-cost": "cheapest output tokens",
    "power": "most tokens per joule",
    "gpus": "fewest GPUs",
}
"""What is best under each objective, in words."""

CHANCES = {"target": "the target", "max_ttft": "the limit on TTFT"}
"""What is met with some chance, in words."""


def price_of(answer: Best) -> str:
    """Say what GPUs cost, and by which set of prices."""
    prices = [(f"${answer.price_usd_per_hour:.2f} per GPU-hour", answer.question.price_set)]
    if answer.prefill_sku:
        there = f"prefill on {answer.prefill_sku} at ${answer.prefill_price_usd_per_hour:.2f}"
        prices.append((there, answer.question.prefill_price_set))
    return priced(prices)


def report(answer: Best) -> list[RenderableType]:
    """Lay out an answer that has a configuration."""
    deployment = answer.deployment
    assert deployment is not None  # the caller prints the reason instead
    target = f"{answer.target_tok_s_per_user:g} tok/s/user"
    share = of_requests(answer.question.options.target_percentile)
    gpus = count(deployment.config.gpus, "GPU")
    return [
        heading(f"{answer.title}: {BEST[answer.objective.name]} at {target} or more{share}"),
        paragraph(served(answer.scenario)),
        "",
        pairs(
            [
                *configuration_rows(deployment.config),
                ("GPUs", f"{gpus} at {price_of(answer)}"),
                *objective_rows(answer),
                *placement_rows(answer.placement),
            ]
        ),
        *bill_sentences(answer),
        "",
        figures_table(deployment.prediction, answer.target_tok_s_per_user, answer.measured),
        origin_sentence(deployment.prediction, " See --within-data."),
        *asked_percentiles(answer),
        paragraph(f"Chance to meet {chances(answer.chance_to_meet)}."),
        *other_serving_part(answer),
        *safe_part(answer.safe_choice),
        *measured_part(answer),
        "",
        *breakdown(deployment),
        "",
        *runners_up(answer),
        paragraph(search_sentence(answer.search)),
        *[paragraph(note) for note in budget_notes(answer)],
    ]


def asked_percentiles(answer: Best) -> list[RenderableType]:
    """Say the percentiles that limits are asked of; nothing where none is."""
    options, found = answer.question.options, answer.percentiles_ms or {}
    asked = (("tpot", options.target_percentile), ("ttft", options.ttft_percentile))
    names = [percentile_name(clock, each) for clock, each in asked if each is not None]
    return percentiles_sentence({name: found[name] for name in names})


def chances(met: Mapping[Literal["target", "max_ttft"], float] | None) -> str:
    """Write how likely each limit is met."""
    return ", ".join(f"{CHANCES[limit]}: {chance(value)}" for limit, value in (met or {}).items())


POOLS = {
    "aggregated": "one pool that does both",
    "disaggregated": "workers of their own for prefill",
}
"""Serving modes in words."""


def other_serving_part(answer: Best) -> list[RenderableType]:
    """Say whether splitting prefill from decode pays, where either was asked for."""
    other = answer.other_serving
    if other is None:
        return []
    pays = (
        "Splitting prefill from decode pays" if other.serving == "aggregated" else "One pool pays"
    )
    if other.config is None:
        return [paragraph(f"{pays}: {POOLS[other.serving]} cannot do it: {other.reason}.")]
    label = configuration_label(other.config)
    return [paragraph(f"{pays}: {POOLS[other.serving]}, {label}, lost by: {other.lost_by}.")]


def safe_part(choice: SafeChoice | None) -> list[RenderableType]:
    """Lay out the best inside the data that meets each limit with confidence, or why none does."""
    if choice is None:
        return []
    if choice.is_best:
        return [paragraph(f"This is the safe choice too: {what_is_safe(choice)}.")]
    if choice.config is None or choice.prediction is None:
        return [paragraph(f"No safe choice ({what_is_safe(choice)}): {choice.reason}.")]
    row = [
        configuration_label(choice.config),
        figure(choice.prediction.tok_s_per_user),
        figure(choice.prediction.total_tok_s_per_gpu),
        dollars(choice.prediction.usd_per_m_total_tokens),
    ]
    met = f"Chance to meet {chances(choice.chance_to_meet)}. Against the best: {choice.behind}."
    deployed = "" if choice.config.is_aggregated else " `moeplan recipe --safe` deploys it."
    return [
        "",
        heading(f"Safe choice: {what_is_safe(choice)}"),
        table("Configuration", "tok/s/user", "tok/s/GPU", "$/M tokens", rows=[row]),
        paragraph(met + deployed),
    ]


def what_is_safe(choice: SafeChoice) -> str:
    """Say what makes a choice safe."""
    return f"inside the data, each limit met with {chance(choice.confidence)} or more"


def objective_rows(answer: Best) -> list[tuple[str, str]]:
    """Spell out what an objective other than cost comes to; the figures table has the cost."""
    objective = answer.objective
    if objective.name == "cost" or objective.amount is None:
        return []
    text = f"{figure(objective.amount)} {objective.unit}"
    if objective.replicas is not None and objective.served is not None:
        copies = count(objective.replicas, "replica")
        serve = "serves" if objective.replicas == 1 else "serve"
        text = f"{count(round(objective.amount), 'GPU')}"
        if answer.billing is not None:
            text += f" of {count(answer.billing.domains, 'whole NVLink domain')}"
        text += f": {copies} {serve} up to "
        text += f"{figure(objective.served)} requests/s"
        placed = max(each.replica for domain in answer.placement for each in domain.workers)
        if placed < objective.replicas:
            text += "; side by side they find no room, so one is placed"
    return [("Objective", text)]


def bill_sentences(answer: Best) -> list[RenderableType]:
    """Say what is charged where whole domains are, and what that changes."""
    bill = answer.billing
    if bill is None or answer.config is None:
        return []
    copies = count(bill.replicas, "replica")
    fill, leave = ("fills", "leaves") if bill.replicas == 1 else ("fill", "leave")
    text = f"Charged are whole NVLink domains: {copies} {fill} {bill.used_gpus} of "
    text += f"{bill.charged_gpus} GPUs and {leave} {bill.stranded_gpus} stranded."
    if bill.best_by_gpu is not None:
        label = configuration_label(bill.best_by_gpu)
        cost = dollars(bill.usd_per_m_total_tokens_by_gpu)
        same = bill.best_by_gpu == answer.config
        text += (
            f" The bill does not change the answer; by GPUs that serve it costs ${cost}."
            if same
            else f" The bill changes the answer: by GPUs that serve {label} is best, at ${cost}."
        )
    return ["", paragraph(text)]


def nearest_sentence(answer: Best) -> str:
    """Say what the nearest shipped measurement reached; nothing without one."""
    near = answer.nearest_measured
    if near is None:
        return ""
    return (
        f" The nearest shipped measurement, {near.isl} tokens in and {near.osl} out on "
        f"{near.config.gpus} GPUs, reached {figure(near.total_tok_s_per_gpu)} tok/s/GPU at "
        f"{figure(near.tok_s_per_user)} tok/s/user."
    )


def measured_part(answer: Best) -> list[RenderableType]:
    """Lay out the published rows behind the measured frontier, or say why there is none."""
    if answer.measured is None:
        return [
            paragraph(f"No measured frontier: {answer.not_measured}.{nearest_sentence(answer)}")
        ]
    title = "Measured: a published row"
    if answer.measured.origin == "interpolated":
        title = "Measured: interpolated between two published rows"
    rows = [
        [
            configuration_label(row.config),
            figure(row.tok_s_per_user),
            figure(row.total_tok_s_per_gpu),
            dollars(row.usd_per_m_total_tokens),
        ]
        for row in answer.measured.between
    ]
    hole = hole_of(answer.measured)
    return [
        "",
        heading(title),
        table("Configuration", "tok/s/user", "tok/s/GPU", "$/M tokens", rows=rows),
        *(
            [
                paragraph(
                    f"Note: no row is published from {hole}: the interpolated value says what was "
                    "measured around this hole, not what the machine can do in it."
                )
            ]
            if hole
            else []
        ),
    ]


def runners_up(answer: Best) -> list[RenderableType]:
    """Lay out the best of other structures, and why they lost."""
    if not answer.runners_up:
        return []
    rows = [
        [
            configuration_label(other.config),
            other.lost_by,
            figure(other.prediction.tok_s_per_user),
            figure(other.prediction.total_tok_s_per_gpu),
            dollars(other.prediction.usd_per_m_total_tokens),
        ]
        for other in answer.runners_up
    ]
    columns = ("Configuration", "Lost by", "tok/s/user", "tok/s/GPU", "$/M tokens")
    return [
        heading("Runners-up, the best of each other structure"),
        table(*columns, left=2, rows=rows),
    ]


def budget_notes(answer: Best) -> list[str]:
    """Say that the search left GPUs of a described cluster out, where it did."""
    options, gpus = answer.question.options, answer.question.cluster.gpus
    if options.cluster is None or gpus <= options.max_gpus:
        return []
    return [
        f"Searched up to {options.max_gpus:,} of the cluster's {gpus:,} GPUs; --max-gpus raises it."
    ]


def search_sentence(search: Search) -> str:
    """Say what was searched and what was proven."""
    gap = "" if search.gap is None else f", gap {percent(search.gap)}"
    return (
        f"Search: {search.status}{gap}; {count(search.candidates, 'candidate')}; "
        f"of {search.feasible:,} ways to combine workers {search.pruned:,} promise less; "
        f"{search.seconds:.2f} s."
    )
