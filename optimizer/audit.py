"""A second opinion on every plan: its limits checked from the plan alone.

It knows of no operating points, no integer program and no packing: it adds up what a plan says, and
predicts the workers of each tier anew, as if somebody had written their configuration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from costmodel.predictions import predict
from optimizer.fleet import Way
from topology.cluster import out_of_use, read_layout

if TYPE_CHECKING:
    from optimizer.check import Served
    from optimizer.fleet import FleetProblem, Tier
    from optimizer.fleet_rounds import Plan
    from optimizer.placement import PlacedWorker
    from presets import ClusterSpec

SLACK = 1e-5
"""By how much less than a limit meets it, as roots are found so closely. [1]"""

MOST_LOAD = 0.98 * (1.0 + SLACK)
"""Share of its capacity that a pool of prefill workers may have in use. [1]"""


def audit(problem: FleetProblem, plan: Plan) -> list[str]:
    """Say all that is wrong with a plan, a sentence each; none of one that holds.

    Parameters
    ----------
    problem : FleetProblem
        What was asked.
    plan : Plan
        What was answered.
    """
    faults = [*_placement(problem, plan), *_counts(plan)]
    for number, tier in enumerate(problem.tiers):
        faults += _service(problem, tier, number, plan)
    for name, most in (("price_usd_per_hour", problem.budget), ("power_watts", problem.max_power)):
        taken = sum(
            getattr(each.cluster.hardware(), name).value * len(each.placement.gpus)
            for each in plan.workers
        )
        if most is not None and taken > most * (1.0 + SLACK):
            faults.append(f"the workers take {taken:g} of {name}, at most {most:g}")
    racks = {
        (each.cluster, read_layout(each.cluster).domain_of(gpu))
        for each in plan.workers
        for gpu in each.placement.gpus
    }
    if problem.max_racks is not None and len(racks) > problem.max_racks:
        faults.append(f"the workers stand in {len(racks)} racks, at most {problem.max_racks}")
    weight = sum(problem.weight(each.cluster) * len(each.placement.gpus) for each in plan.workers)
    if weight % plan.weight:
        faults.append(f"the workers weigh {weight}, which is no multiple of {plan.weight}")
    return faults


def _placement(problem: FleetProblem, plan: Plan) -> Iterator[str]:
    """Say where workers overlap, have GPUs that are not there, or leave a domain or a server."""
    taken: Counter[tuple[ClusterSpec, int]] = Counter()
    for worker in plan.workers:
        gpus, cluster = worker.placement.gpus, worker.cluster
        taken.update((cluster, gpu) for gpu in gpus)
        lost = dict(zip(problem.machines, problem.lost, strict=False)).get(cluster, frozenset())
        away = [
            gpu
            for gpu in gpus
            if not 0 <= gpu < cluster.gpus or gpu in out_of_use(cluster) or gpu in lost
        ]
        if away:
            yield f"{_name(worker)} has GPU {away[0]}, which {cluster.sku} has not, or not in use"
        else:
            yield from _astray(worker)
    for (cluster, gpu), times in taken.items():
        if times > 1:
            yield f"GPU {gpu} of {cluster.sku} is given {times} times"


def _astray(worker: PlacedWorker) -> Iterator[str]:
    """Say where a worker spreads over more domains or servers than it must."""
    gpus, layout = worker.placement.gpus, read_layout(worker.cluster)
    domains = {layout.domain_of(gpu) for gpu in gpus}
    if len(domains) > -(-len(gpus) // layout.gpus_per_domain):
        yield f"{_name(worker)} of {len(gpus)} GPUs stands in {len(domains)} NVLink domains"
    if len(gpus) <= layout.server and len(domains) == 1:
        first = layout.gpus_of(domains.pop())[0]
        if len({(gpu - first) // layout.server for gpu in gpus}) > 1:
            yield f"{_name(worker)} of {len(gpus)} GPUs straddles two servers"


def _name(worker: PlacedWorker) -> str:
    return f"{worker.role} worker {worker.number} of {worker.replica}"


def _counts(plan: Plan) -> Iterator[str]:
    """Say where other workers are placed than serve."""
    placed: Counter[tuple[str, int, int]] = Counter(
        (each.role, each.replica, len(each.placement.gpus)) for each in plan.workers
    )
    wanted: Counter[tuple[str, int, int]] = Counter()
    aggregated = {
        plan.pools[tier]
        for tier, groups in enumerate(plan.served)
        if all(each.configuration.is_aggregated for each in groups)
    }
    pools = [pool for pool in plan.counts.prefill if pool not in aggregated]
    for tier, groups in enumerate(plan.served, 1):
        for each in groups:
            one = each.configuration
            role = "both" if one.is_aggregated else "decode"
            wanted[role, tier, one.decode_gpus_per_worker] += one.decode_workers
            if one.is_aggregated:
                continue
            pool = pools.index(plan.pools[tier - 1]) + 1
            wanted["prefill", pool, one.prefill_gpus_per_worker] = one.prefill_workers
    for key in placed.keys() | wanted.keys():
        if placed[key] != wanted[key]:
            role, owner, gpus = key
            yield (
                f"{placed[key]} {role} workers of {gpus} GPUs are placed for {owner}, and "
                f"{wanted[key]} serve"
            )


def _service(problem: FleetProblem, tier: Tier, number: int, plan: Plan) -> Iterator[str]:
    """Say what of a tier's demand, limits and spares is not kept."""
    groups = plan.served[number]
    rate = sum(each.rate for each in groups)
    if rate < tier.rate * (1.0 - SLACK):
        yield f"{tier.name}: {rate:g} of {tier.rate:g} requests/s are served"
    clusters = {
        worker.cluster
        for worker in plan.workers
        if worker.role != "prefill" and worker.replica == number + 1
    }
    if len(clusters) != 1:
        yield f"{tier.name}: it stands on {len(clusters)} machines"
        return
    (cluster,) = clusters
    servings = {each.configuration.serving for each in groups}
    if len(servings) != 1 or not servings <= set(tier.servings):
        yield f"{tier.name}: it is served {' and '.join(sorted(servings))}"
        return
    way = Way(problem.machines.index(cluster), servings.pop())
    asked = problem.problem(number, problem.ways.index(way))
    tokens = float(asked.scenario.workload.input_tokens + asked.scenario.workload.output_tokens)
    for each in groups:
        yield from _limits(tier, each)
        one = each.configuration
        (alone,) = predict([one], asked.scenario, asked.cluster, problem.calibration)
        if one.max_batch > alone.batch_limit:
            yield f"{tier.name}: {one.max_batch} slots, and memory holds {alone.batch_limit}"
        if alone.prediction.ttft_ms > each.prediction.ttft_ms * (1.0 + SLACK):
            yield f"{tier.name}: with the pool to itself TTFT is {alone.prediction.ttft_ms:g} ms"
        served = alone.prediction.total_tok_s_per_gpu * one.gpus / tokens
        if served < each.rate * (1.0 - SLACK):
            yield f"{tier.name}: {one.concurrency} users ask for {served:g} of {each.rate:g} 1/s"
        roles = [one.decode_workers] + [one.prefill_workers] * (not one.is_aggregated)
        if problem.spares and problem.spares >= min(roles):
            yield f"{tier.name}: no worker of a kind is left when {problem.spares} fail"


def _limits(tier: Tier, each: Served) -> Iterator[str]:
    """Say which limit the figures of some workers miss."""
    figures = each.prediction
    if figures.tok_s_per_user < tier.target * (1.0 - SLACK):
        yield f"{tier.name}: {figures.tok_s_per_user:g} tok/s/user of {tier.target:g}"
    if tier.max_ttft is not None and figures.ttft_ms > 1e3 * tier.max_ttft * (1.0 + SLACK):
        yield f"{tier.name}: TTFT is {figures.ttft_ms:g} ms, at most {1e3 * tier.max_ttft:g}"
    if each.prefill_load > MOST_LOAD:
        yield f"{tier.name}: its pool has a load of {each.prefill_load:g}"
