"""What serves a demand in requests per second: GPUs, domains, dollars and power."""

from __future__ import annotations

from moeplan.answers.best import Best
from moeplan.clusters import price_of
from presets.record import Record

HOURS_PER_YEAR = 8760.0


class Fleet(Record):
    """What serves the rate that was asked for: copies of the deployment as modelled.

    Attributes
    ----------
    replicas : int
        Copies. [1]
    gpus : int
        Of all copies; under billing by domain of all whole domains that they touch. [GPU]
    domains : int
        NVLink domains that they touch: racks of GB200 NVL72, servers of B200. [1]
    usd_per_hour, usd_per_year : float
        Price of the GPUs, and of a year of them. [USD/h, USD]
    power_kw : float
        All-in power provisioned for the GPUs. [kW]
    """

    replicas: int
    gpus: int
    domains: int
    usd_per_hour: float
    usd_per_year: float
    power_kw: float


def fleet_of(answer: Best) -> Fleet | None:
    """Say what copies of an answer serve its rate, each GPU paid as the machine that it is of.

    None where no rate was asked for, or nothing meets the target.
    """
    replicas, gpus = answer.objective.replicas, answer.objective.amount
    if replicas is None or gpus is None:
        return None
    here, there = answer.question.cluster, answer.question.prefill_cluster
    prefill = _prefill_gpus(answer, replicas)
    counts = ((gpus - prefill, here), (prefill, there or here))
    usd_per_hour = sum(count * price_of(each) for count, each in counts)
    watts = sum(count * each.hardware().power_watts.value for count, each in counts)
    return Fleet(
        replicas=replicas,
        gpus=round(gpus),
        domains=len(answer.placement),
        usd_per_hour=usd_per_hour,
        usd_per_year=HOURS_PER_YEAR * usd_per_hour,
        power_kw=watts / 1e3,
    )


def _prefill_gpus(answer: Best, replicas: int) -> int:
    """GPUs of a rate that are paid on a machine of prefill's own [GPU]."""
    there, config = answer.question.prefill_cluster, answer.config
    if there is None or config is None:
        return 0
    if answer.question.options.billing == "domain":
        return sum(domain.gpus for domain in answer.placement if domain.sku == there.sku)
    return replicas * config.prefill_workers * config.prefill_gpus_per_worker
