"""Where every worker goes: placed workers as records, NVLink domain by NVLink domain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from moeplan.domains import Domain, PlacedWorker
from moeplan.scenario import groups_of
from topology import group_path, group_table
from topology.cluster import cached_cluster, read_layout

if TYPE_CHECKING:
    from costmodel.results import Configuration
    from optimizer.ground import Ground
    from optimizer.placement import PlacedWorker as Placed
    from presets import ClusterSpec


def placement_of(
    configuration: Configuration, ground: Ground, replicas: int = 1
) -> tuple[Domain, ...]:
    """Place a deployment, or copies of it, as the search does.

    Parameters
    ----------
    configuration : Configuration
        The deployment.
    ground : Ground
        Where it stands.
    replicas : int
        Copies. [1]

    Returns
    -------
    tuple of Domain
        Those in use; where prefill has its own machine its domains come last.

    Raises
    ------
    InputError
        If the workers find no room.
    """
    return domains_of(ground.place(*groups_of(configuration), replicas))


def domains_of(placed: Iterable[Placed]) -> tuple[Domain, ...]:
    """Sort placed workers by NVLink domain."""
    inside: dict[ClusterSpec, dict[int, list[PlacedWorker]]] = {}
    for each in placed:
        for domain, record in _parts(each):
            inside.setdefault(each.cluster, {}).setdefault(domain, []).append(record)
    return tuple(
        _domain(cluster, number, workers)
        for cluster, domains in inside.items()
        for number, workers in sorted(domains.items())
    )


def _parts(placed: Placed) -> list[tuple[int, PlacedWorker]]:
    """One worker as a record in each of its domains."""
    gpus, domain = placed.placement.gpus, read_layout(placed.cluster).gpus_per_domain
    as_priced = _links_as_priced(placed)
    parts = []
    for number in placed.placement.domains:
        here = tuple(gpu for gpu in gpus if gpu // domain == number)
        record = PlacedWorker(
            role=placed.role,
            replica=placed.replica,
            worker=placed.number,
            gpus=len(here),
            of_gpus=len(gpus),
            gpu_numbers=here,
            links_as_priced=as_priced,
        )
        parts.append((number, record))
    return parts


def _links_as_priced(placed: Placed) -> bool:
    """Whether a worker has the links that the cost model takes for one of its size."""
    gpus = placed.placement.gpus
    if len(placed.placement.domains) == 1:  # NVLink alone, wherever it stands
        return True
    priced = group_table(placed.cluster, [len(gpus)])[len(gpus)]
    return group_path(cached_cluster(placed.cluster), gpus) == priced


def _domain(cluster: ClusterSpec, number: int, workers: list[PlacedWorker]) -> Domain:
    layout = read_layout(cluster)
    gpus = layout.domain_sizes[number]
    return Domain(
        sku=cluster.sku,
        domain=number + 1,
        gpus=gpus,
        free_gpus=gpus - sum(worker.gpus for worker in workers),
        workers=tuple(
            sorted(workers, key=lambda each: (each.role != "prefill", each.replica, each.worker))
        ),
        unit="server" if layout.gpus_per_node == layout.gpus_per_domain else "domain",
    )
