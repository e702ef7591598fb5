"""Clusters of a question: by the name of a machine, its file, or a described cluster and a pool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from costmodel.results import Configuration
from moeplan.options import MAX_GPUS, Options
from presets import (
    ClusterPools,
    ClusterSpec,
    Hardware,
    InputError,
    default_cluster,
    hardware_names,
    load_hardware,
    load_machine,
    load_prices,
    read_cluster,
)
from presets.cluster_file import pool_of
from presets.errors import shown, unknown_name
from presets.files import validated
from presets.scale_out import MAX_GPUS as LARGEST_CLUSTER

if TYPE_CHECKING:
    from optimizer.placement import Group  # predictions on a described cluster need no packing


def price_of(cluster: ClusterSpec) -> float:
    """Price of one GPU [USD/h]."""
    return cluster.hardware().price_usd_per_hour.value


def cluster_of(sku: str | None, options: Options, needed_gpus: int = 0) -> ClusterSpec:
    """Find the cluster of a question, at the price of the question.

    Parameters
    ----------
    sku : str or None
        Machine; None takes that of the machine file or the cluster file.
    options : Options
        With the cluster, the price and the GPU budget.
    needed_gpus : int
        Least size of a cluster that no file describes. [GPU]

    Raises
    ------
    InputError
        Where no machine is named, or the file describes another one.
    """
    given = options.cluster
    if given is None:
        machine = named_machine(sku, options)
        if machine is None:
            raise InputError(
                "--sku: no machine is named; give --sku NAME, --machine FILE or --cluster FILE"
            )
        cluster = default_cluster(machine, max(MAX_GPUS, options.max_gpus, needed_gpus))
    elif options.machine is not None:
        raise InputError("--machine and --cluster: the cluster names its machine; give one of them")
    else:
        cluster = _pool_of(sku, options)
        if sku not in (None, cluster.sku):
            load_hardware(str(sku))
            raise _another(sku, cluster.sku, "cluster")
    return at_price(cluster, options.price, options.prices)


def named_machine(sku: str | None, options: Options) -> str | Hardware | None:
    """Find the machine that is named, or described by a file of its own; None for neither.

    Raises
    ------
    InputError
        Where the file describes another one.
    """
    machine = options.machine
    if machine is None:
        return sku
    found = machine if isinstance(machine, Hardware) else load_machine(machine)
    if sku not in (None, found.name):
        raise _another(sku, found.name, "machine file")
    return found


def _pool_of(sku: str | None, options: Options) -> ClusterSpec:
    """Find the pool of a described cluster that a question is put to, that of decode."""
    given = options.cluster
    if isinstance(given, Path | str):
        given = read_cluster(given)
    if isinstance(given, ClusterPools):
        return given.pools[given.chosen(options.pool, sku)]
    return pool_of(given, options.pool)  # type: ignore[arg-type]


def _another(sku: object, machine: str, of: str) -> InputError:
    return InputError(
        f"--sku: {shown(sku)} is not the machine of the {of}, {machine!r}; leave one of the two out"
    )


def prefill_cluster_of(
    cluster: ClusterSpec, options: Options, needed_gpus: int = 0
) -> ClusterSpec | None:
    """Find the cluster of the prefill workers where they stand on other machines.

    Raises
    ------
    InputError
        Where the machine or the pool is unknown, or a price is given for one that is no other.
    """
    there = _prefill_pool(cluster, options)
    name = cluster.sku if options.prefill_sku is None else options.prefill_sku
    if there is None and name != cluster.sku:
        if name not in hardware_names():
            raise unknown_name("prefill_sku", name, hardware_names())
        there = default_cluster(name, max(MAX_GPUS, options.max_gpus, needed_gpus))
    if there is not None:
        return at_price(there, options.prefill_price, options.prices)
    if options.prefill_price is not None:
        raise InputError(
            f"prefill_price {shown(options.prefill_price)} is not valid where prefill stands on "
            f"the machine of decode, {name}; give price for both, or another machine as prefill_sku"
        )
    return None


def _prefill_pool(cluster: ClusterSpec, options: Options) -> ClusterSpec | None:
    """Find the pool of prefill, None where it is that of decode or none of the cluster's."""
    given, pool, sku = options.cluster, options.prefill_pool, options.prefill_sku
    if not isinstance(given, ClusterPools):
        if pool is not None:
            pool_of(cluster, pool)  # refuses its name
        return None
    others = {each.sku for each in given.pools.values()} - {cluster.sku}
    if pool is None and sku not in others:
        return None
    name = given.chosen(pool, sku, "prefill_pool")
    if name == given.chosen(options.pool, cluster.sku):
        return None
    if given.pools[name].sku == cluster.sku:
        raise InputError(
            f"prefill_pool: {shown(name)} has the machine of the pool of decode, {cluster.sku}; "
            "prefill and decode stand in one pool, or in pools of different machines"
        )
    return given.pools[name]


def at_price(cluster: ClusterSpec, price: float | None, prices: str | None) -> ClusterSpec:
    """Set the price of a cluster's GPUs if one is given, else that of a set if it has no own."""
    if price is None and prices is not None and cluster.price_usd_per_hour is None:
        fact = load_prices(prices).prices.get(cluster.sku)
        price = None if fact is None else fact.value
    if price is None:
        return cluster
    content = cluster.model_dump() | {"price_usd_per_hour": price}
    return validated(ClusterSpec, content)


def groups_of(configuration: Configuration, replicas: int = 1) -> tuple[Group, Group]:
    """GPUs per worker and workers, of decode and of prefill, over all replicas."""
    decode_workers = replicas * configuration.decode_workers
    prefill_workers = replicas * configuration.prefill_workers
    return (
        (configuration.decode_gpus_per_worker, decode_workers),
        (configuration.prefill_gpus_per_worker, prefill_workers),
    )


def gpus_needed(configuration: Configuration, machine: str | Hardware | None) -> int:
    """Size a cluster in whose NVLink domains all workers find room [GPU].

    Raises
    ------
    InputError
        Where the machine is unknown, or no cluster that can be described has room.
    """
    if machine is None:
        return configuration.gpus
    from optimizer.placement import roomy  # predictions on a described cluster need no packing

    decode, prefill = groups_of(configuration)
    known = machine if isinstance(machine, Hardware) else load_hardware(machine)
    domain = int(known.gpus_per_domain.value)
    largest = max(decode[0], prefill[0])
    least = max(configuration.gpus, -(-largest // domain) * domain)
    if least > LARGEST_CLUSTER:
        raise InputError(
            f"config: its workers take {least:,} GPUs; give fewer or smaller workers, at most "
            f"{LARGEST_CLUSTER:,} GPUs"
        )
    return roomy(default_cluster(machine, least), decode, prefill).gpus
