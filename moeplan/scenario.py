"""From options to what the rooms work with: a scenario, a cluster, a calibration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from costmodel.calibration import CalibrationFile, read_calibration, shipped_calibration
from costmodel.counts import can_multiply
from costmodel.results import Configuration, Scenario
from moeplan.numbers import LARGEST_GPUS, one_of, whole_number
from moeplan.numbers import price as checked_price
from moeplan.options import ENGINES, MAX_GPUS, Options
from presets import (
    ClusterSpec,
    InputError,
    default_cluster,
    load_cluster,
    load_hardware,
    load_model,
)
from presets.errors import shown
from presets.files import validated

if TYPE_CHECKING:
    from optimizer import Goal, Limits
    from optimizer.placement import Group
    from presets import Hardware, Model

PRECISIONS = ("fp4", "fp8", "bf16")
"""In the order in which they are preferred."""


def cluster_of(sku: str | None, options: Options, needed_gpus: int = 0) -> ClusterSpec:
    """Find the cluster of a question, at the price of the question.

    Parameters
    ----------
    sku : str or None
        Machine; None takes that of the cluster file.
    options : Options
        With the cluster, the price and the GPU budget.
    needed_gpus : int
        Least size of a cluster that no file describes. [GPU]

    Raises
    ------
    InputError
        Where no machine is named, or the file describes another one.
    """
    max_gpus = whole_number("max_gpus", options.max_gpus, 1, LARGEST_GPUS, "GPUs")
    if options.cluster is None:
        if sku is None:
            raise InputError("--sku: no machine is named; give --sku NAME or --cluster FILE")
        cluster = default_cluster(sku, max(MAX_GPUS, max_gpus, needed_gpus))
    else:
        given = options.cluster
        cluster = given if isinstance(given, ClusterSpec) else load_cluster(given)
        if sku is not None and load_hardware(sku).name != cluster.sku:
            raise InputError(
                f"--sku: {shown(sku)} is not the machine of the cluster, {cluster.sku!r}; "
                "leave one of the two out"
            )
    return _at_price(cluster, "price", options.price)


def prefill_cluster_of(cluster: ClusterSpec, options: Options) -> ClusterSpec | None:
    """Find the cluster of the prefill workers where they stand on other machines.

    Raises
    ------
    InputError
        Where the machine is unknown, or a price is given for one that is no other.
    """
    name = cluster.sku if options.prefill_sku is None else load_hardware(options.prefill_sku).name
    if name != cluster.sku:
        there = default_cluster(name, max(MAX_GPUS, options.max_gpus))
        return _at_price(there, "prefill_price", options.prefill_price)
    if options.prefill_price is not None:
        raise InputError(
            f"prefill_price {shown(options.prefill_price)} is not valid where prefill stands on "
            f"the machine of decode, {name}; give price for both, or another machine as prefill_sku"
        )
    return None


def _at_price(cluster: ClusterSpec, field: str, price: float | None) -> ClusterSpec:
    """Set the price of a cluster's GPUs, if one is given."""
    if price is None:
        return cluster
    content = cluster.model_dump() | {"price_usd_per_hour": checked_price(field, price)}
    return validated(ClusterSpec, content)


def scenario_of(
    options: Options, cluster: ClusterSpec, prefill_cluster: ClusterSpec | None = None
) -> Scenario:
    """Say what is served; unless named, the precision is the first that machines and model offer.

    Raises
    ------
    InputError
        Where a name is unknown, a length is out of range, or the precision is not offered.
    """
    model = load_model(options.model)
    machines = [each.hardware() for each in (cluster, prefill_cluster) if each is not None]
    precision = options.precision or preferred_precision(model, *machines)
    one_of("precision", precision, PRECISIONS)
    fields = {
        "model": model,
        "precision": precision,
        "isl": options.isl,
        "osl": options.osl,
        "engine": one_of("engine", options.engine, ENGINES),
        "frontends": options.frontends,
    }
    return validated(Scenario, fields)


def preferred_precision(model: Model, *machines: Hardware) -> str:
    """Choose the first of `PRECISIONS` that model and machines offer.

    Examples
    --------
    >>> preferred_precision(load_model("deepseek-r1-0528"), load_hardware("h200"))
    'fp8'
    """
    for name in PRECISIONS:
        bits = getattr(model.precisions, name)
        if bits and all(can_multiply(machine, bits) for machine in machines):
            return name
    raise InputError(
        f"model: {model.name!r} is offered at no precision that "
        f"{' and '.join(machine.name for machine in machines)} has; "
        "choose another machine"
    )


def limits_of(target: float, options: Options) -> Limits:
    """Gather what an answer must meet."""
    from optimizer import Limits

    return Limits(
        target,
        options.max_gpus,
        options.max_ttft,
        options.concurrency,
        options.min_confidence,
        options.within_data,
    )


def goal_of(options: Options) -> Goal:
    """Say what is made best.

    Raises
    ------
    InputError
        Where a name is not valid, or the rate does not go with it.
    """
    from optimizer import Goal

    return Goal(options.objective, options.billing, options.rate)  # type: ignore[arg-type]


def calibration_file(path: Path | str | None) -> CalibrationFile:
    """Read a calibration; None takes the shipped one."""
    return shipped_calibration() if path is None else read_calibration(Path(path))


def groups_of(configuration: Configuration, replicas: int = 1) -> tuple[Group, Group]:
    """GPUs per worker and workers, of decode and of prefill, over all replicas."""
    decode_workers = replicas * configuration.decode_workers
    prefill_workers = replicas * configuration.prefill_workers
    return (
        (configuration.decode_gpus_per_worker, decode_workers),
        (configuration.prefill_gpus_per_worker, prefill_workers),
    )


def gpus_needed(configuration: Configuration, sku: str | None) -> int:
    """Size a cluster in whose NVLink domains all workers find room [GPU].

    Raises
    ------
    InputError
        Where the machine is unknown, or no cluster that can be described has room.
    """
    if sku is None:
        return configuration.gpus
    from optimizer.placement import roomy

    decode, prefill = groups_of(configuration)
    domain = int(load_hardware(sku).gpus_per_domain.value)
    largest = max(decode[0], prefill[0])
    least = max(configuration.gpus, -(-largest // domain) * domain)
    return roomy(default_cluster(sku, least), decode, prefill).gpus
