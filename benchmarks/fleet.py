"""What planning tiers together saves, and how long a plan takes as demand and machines grow.

``python -m benchmarks.fleet`` prints the GPUs of three tiers of DeepSeek R1 jointly, planned one by
one, and as copies of the deployment that ``best --rate`` gives each; then plans of growing demand
on 20 NVL72 racks and 100 B200 servers, and of five and ten tiers on those and on 1,000 domains.
"""

from __future__ import annotations

import time
from typing import Any

import moeplan
from moeplan import Options
from presets.demand_file import demand_of

TIERS = {25: 300.0, 75: 120.0, 150: 20.0}
"""From interactivity [token/s/user] to demand [1/s]."""

FIVE_TIERS = {20: 200.0, 40: 150.0, 75: 120.0, 110: 40.0, 150: 20.0}

TEN_TIERS = {
    **{15: 400.0, 20: 300.0, 30: 250.0, 40: 200.0, 50: 150.0},
    **{75: 120.0, 90: 80.0, 110: 40.0, 150: 20.0, 180: 8.0},
}

MACHINES = ("gb200=1440", "b200=800")

MANY_MACHINES = ("gb200=28800", "b200=4800")
"""400 racks and 600 servers."""

GROWTH = (
    *((TIERS, times, MACHINES) for times in (1, 3, 10)),
    (FIVE_TIERS, 2, MACHINES),
    *((TEN_TIERS, times, MANY_MACHINES) for times in (1, 5, 12)),
)
"""Tiers, by how much their demand is multiplied, and the machines."""


def tier(target: int, rate: float) -> dict[str, Any]:
    """Write a tier of the published lengths as a demand file has it."""
    return {
        "name": f"at {target}",
        "model": "deepseek-r1-0528",
        "isl": "1024 tokens",
        "osl": "1024 tokens",
        "target": f"{target} tok/s/user",
        "rate": f"{rate} requests/s",
    }


def planned(tiers: list[dict[str, Any]], *machines: str, objective: str) -> moeplan.FleetPlan:
    """Plan some tiers."""
    return moeplan.fleet(demand_of({"tiers": tiers}), Options(objective=objective), machines)


def main() -> None:
    """Print all figures."""
    every = [tier(target, rate) for target, rate in TIERS.items()]
    for sku in ("gb200", "b200"):
        joint = planned(every, f"{sku}=1440", objective="gpus")
        alone = [planned([each], f"{sku}=1440", objective="gpus") for each in every]
        copies = [
            moeplan.best(sku, target, Options(rate=rate, max_gpus=288))
            for target, rate in TIERS.items()
        ]
        print(
            f"{sku}: {joint.objective.amount:g} GPUs jointly ({joint.status}, "
            f"{joint.search.rounds} rounds, {joint.search.seconds:.1f} s); one by one "
            f"{sum(each.objective.amount or 0 for each in alone):g}; copies of one deployment each "
            f"{sum(each.objective.amount or 0 for each in copies):g}"
        )
    for tiers, times, machines in GROWTH:
        started = time.process_time()
        grown = [tier(target, times * rate) for target, rate in tiers.items()]
        plan = planned(grown, *machines, objective="cost")
        print(
            f"{len(tiers)} tiers, demand x{times} on {' and '.join(machines)}: "
            f"{plan.objective.amount:,.0f} USD/h, {plan.status}, gap {plan.objective.gap:.2%}, "
            f"{plan.search.rounds} rounds, {plan.search.cuts} cuts, {plan.search.seconds:.1f} s, "
            f"{time.process_time() - started:.1f} s of processor time"
        )


if __name__ == "__main__":
    main()
