"""The answer of ``moeplan fleet`` as tables: tiers, pools, machines, domains, and the proof."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from moeplan.answers.fleet import DecodeGroup, FleetPlan, PlannedTier
from moeplan.answers.placement import Domain
from moeplan.render.common import (
    DASH,
    chance,
    count,
    figure,
    heading,
    paragraph,
    percent,
    plain,
    priced,
    table,
)
from moeplan.render.placement import ranges

WORKERS = {"prefill": "prefill worker", "decode": "decode worker", "both": "worker"}

if TYPE_CHECKING:
    from rich.console import RenderableType


def report(plan: FleetPlan) -> list[RenderableType]:
    """Lay out a plan."""
    said = priced([(f"{each.sku} at ${each.usd_per_gpu_hour:.2f}", None) for each in plan.machines])
    parts: list[RenderableType] = [heading(_title(plan)), paragraph(f"Prices per GPU-hour: {said}")]
    parts += [paragraph(line) for line in change_lines(plan)]
    if plan.objective.amount is not None:
        parts += [
            "",
            table(
                *("Tier", "Machine", "Pool", "Workers", "req/s", "Users"),
                *("tok/s", "TTFT", "Chance", "Room"),
                left=4,
                rows=[cells for tier in plan.tiers for cells in _tier_cells(tier)],
            ),
            "",
            table(
                *("Tier", "Workers", "Attention", "Drafts", "EP", "Batch", "Slots"),
                left=4,
                rows=[cells for tier in plan.tiers for cells in _worker_cells(tier)],
            ),
            "",
            *_pools(plan),
            table(
                *("Machine", "GPUs\nin use", "\nthere", "Domains\nin use", "\nstranded GPUs"),
                *("USD/h", "kW"),
                rows=[
                    [
                        each.sku,
                        f"{each.gpus_in_use:,}",
                        f"{each.gpus:,}",
                        f"{each.domains_in_use:,}",
                        f"{each.stranded_gpus:,}",
                        f"{each.usd_per_hour:,.2f}",
                        f"{each.kilowatts:,.1f}",
                    ]
                    for each in plan.machines
                ],
            ),
            "",
            *(paragraph(line) for line in domain_lines(plan)),
            "",
        ]
    return [*parts, *(paragraph(note) for note in _notes(plan))]


def change_lines(plan: FleetPlan) -> list[str]:
    """Say what changes from the plan before; workers alike are one line."""
    change = plan.replan
    if change is None:
        return []
    gone = count(change.lost_gpus, "GPU")
    counts = f"{gone} and {count(change.lost, 'worker')} lost"
    if plan.objective.amount is not None:
        counts += f"; {change.started} to start, {change.stopped} to stop, {change.kept} stay"
    lines = [f"Lost: {', '.join(plan.question.lost)} (numbered from 0): {counts}."]
    said: dict[tuple[str, str, str, str], int] = {}
    for move in change.moves:
        unit = "domain" if len(move.domains) == 1 else "domains"
        where = f"{move.sku} {unit} {ranges(iter(move.domains))} of the plan"
        what = f"{len(move.gpu_numbers)}-GPU {WORKERS[move.role]}"
        key = (move.action, what, ", ".join(move.serves), where)
        said[key] = said.get(key, 0) + 1
    lines += [
        f"{action} {number} x {what} of {serves}, {where}"
        for (action, what, serves, where), number in said.items()
    ]
    return lines


def _pools(plan: FleetPlan) -> list[RenderableType]:
    """Lay out the prefill pools, if there are any."""
    rows = [
        [
            f"{pool.number}",
            pool.sku,
            f"{pool.workers}x{pool.gpus_per_worker} {pool.attention}",
            ", ".join(pool.feeds),
            f"{pool.gpus:,}",
            percent(pool.load),
        ]
        for pool in plan.prefill_pools
    ]
    heads = ("Pool", "Machine", "Prefill", "Feeds", "GPUs", "Load")
    return [table(*heads, left=4, rows=rows), ""] if rows else []


def _title(plan: FleetPlan) -> str:
    amount, unit = plan.objective.amount, plan.objective.unit
    tiers = count(len(plan.tiers), "tier")
    if amount is None:
        return f"Fleet for {tiers}: no plan"
    gpus = sum(each.gpus_in_use for each in plan.machines)
    least = "" if plan.objective.name == "gpus" else f", {plain(amount)} {unit}"
    return f"Fleet for {tiers}: {count(gpus, 'GPU')}{least}"


def _tier_cells(tier: PlannedTier) -> list[list[str]]:
    """Write one line for each size of decode worker of a tier."""
    return [
        [
            "" if place else tier.name,
            "" if place else tier.sku or DASH,
            "" if place else f"{tier.pool or DASH}",
            _workers(group),
            figure(group.requests_per_s),
            f"{group.config.concurrency:,}",
            figure(group.prediction.tok_s_per_user),
            f"{figure(group.prediction.ttft_ms / 1e3)} s",
            chance(min(group.chance_to_meet.values())),
            percent(group.headroom),
        ]
        for place, group in enumerate(tier.decode)
    ]


def _workers(group: DecodeGroup) -> str:
    both = "PD" if group.config.is_aggregated else ""
    return f"{group.config.decode_workers}x{group.config.decode_gpus_per_worker}{both}"


def _worker_cells(tier: PlannedTier) -> list[list[str]]:
    """Spell out the shape of the decode workers of a tier."""
    return [
        [
            "" if place else tier.name,
            _workers(group),
            group.config.decode_attention,
            f"{group.config.draft} {group.config.mtp_depth}" if group.config.mtp_depth else "none",
            f"{group.config.decode_ep}",
            f"{group.config.max_batch:,}",
            f"{group.config.eplb_slots}" if group.config.eplb_slots else DASH,
        ]
        for place, group in enumerate(tier.decode)
    ]


def domain_lines(plan: FleetPlan) -> list[str]:
    """Say what stands in each domain; equal ones side by side are one line."""
    lines = []
    for (sku, said, free), run in groupby(plan.placement, key=lambda each: _content(plan, each)):
        domains = list(run)
        several = "s" if len(domains) > 1 else ""
        where = f"{sku} {domains[0].unit}{several} {ranges(each.domain for each in domains)}"
        left = f"; {free} free" if free else ""
        lines.append(f"{where}: {said}{left}")
    return lines


def _content(plan: FleetPlan, domain: Domain) -> tuple[str, str, int]:
    """Say what stands in a domain, without numbers of workers."""
    said: dict[tuple[str, int, int], int] = {}
    for worker in domain.workers:
        owner = (
            f"pool {worker.replica}"
            if worker.role == "prefill"
            else plan.tiers[worker.replica - 1].name
        )
        key = (owner, worker.gpus, worker.of_gpus)
        said[key] = said.get(key, 0) + 1
    parts = [
        f"{owner} {number}x{gpus}" + (f" of {whole}" if whole != gpus else "")
        for (owner, gpus, whole), number in said.items()
    ]
    return domain.sku, ", ".join(parts), domain.free_gpus


def _notes(plan: FleetPlan) -> list[str]:
    search, objective = plan.search, plan.objective
    gap = "" if objective.gap is None else f", gap {percent(objective.gap)}"
    bound = "" if objective.bound is None else f"; bound {plain(objective.bound)} {objective.unit}"
    legend = (
        "tok/s is what a user sees; room is by how much the demand may grow before batches are "
        "full; chance is that to meet the target and the limit on TTFT, the lesser of the two."
    )
    notes = [
        *([] if objective.amount is None else [legend]),
        f"{search.status}{bound}{gap}: {count(search.rounds, 'round')} and "
        f"{count(search.cuts, 'cut')} of an integer program of {search.variables:,} variables and "
        f"{search.constraints:,} constraints, {search.seconds:.1f} s.",
        search.proven,
    ]
    if any(tier.serving == "aggregated" for tier in plan.tiers):
        notes.append("PD: workers that prefill what they decode.")
    notes += [line for tier in plan.tiers if (line := _other_mode(plan, tier))]
    if plan.spares:
        notes.append(f"{count(plan.spares, 'worker')} of any one kind may fail in each pool.")
    if any(group.prediction.extrapolated_in for tier in plan.tiers for group in tier.decode):
        reasons = {
            reason
            for tier in plan.tiers
            for group in tier.decode
            for reason in group.prediction.extrapolated_in
        }
        notes.append(f"Outside the data of the calibration: {', '.join(sorted(reasons))}.")
    return notes


def _other_mode(plan: FleetPlan, tier: PlannedTier) -> str | None:
    """Say what the mode that was not chosen would take."""
    other, amount = tier.other_serving, plan.objective.amount
    if other is None or amount is None:
        return None
    how = "in one pool" if other.serving == "aggregated" else "with a prefill pool"
    if other.amount_at_least is None:
        return f"{tier.name} {how}: no plan."
    more = other.amount_at_least / amount - 1.0
    if more <= 0.0:
        return f"{tier.name} {how}: not proven to take more."
    least = f"{plain(other.amount_at_least)} {plan.objective.unit}"
    return f"{tier.name} {how}: at least {least}, {percent(more)} more."
