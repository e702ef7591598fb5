"""Where every worker stands: NVLink domains and what each holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from moeplan.question import groups_of
from presets import ClusterSpec
from presets.record import Record
from topology import group_paths, group_table
from topology.cluster import read_layout

if TYPE_CHECKING:
    from costmodel.results import Configuration
    from optimizer.placement import PlacedWorker
    from optimizer.resources import Resources


class WorkerPart(Record):
    """One worker, or the part of it that lies in one NVLink domain.

    Attributes
    ----------
    role : {"prefill", "decode", "both"}
    replica, worker : int
        Which copy of the deployment, and which worker of its role there, from 1. [1]
    gpus, of_gpus : int
        Those in this domain, and those of the whole worker. [GPU]
    gpu_numbers : tuple of int
        Numbers of the GPUs in the cluster, from 0 through its domains and servers.
    links_as_priced : bool
        Whether the worker's links are those that the prediction takes for its size; a worker over
        several domains may lie otherwise on the leaf switches.
    """

    role: Literal["prefill", "decode", "both"]
    replica: int
    worker: int
    gpus: int
    of_gpus: int
    gpu_numbers: tuple[int, ...]
    links_as_priced: bool


class Domain(Record):
    """One NVLink domain that workers stand in.

    Attributes
    ----------
    sku : str
    domain : int
        Its number in the cluster of that machine, from 1. [1]
    gpus, free_gpus : int
        All of them, and those that no worker has. [GPU]
    workers : tuple of WorkerPart
        By role, replica and number, prefill first.
    unit : {"domain", "server"}
        What it is called: a domain of one server is a server.
    """

    sku: str
    domain: int
    gpus: int
    free_gpus: int
    workers: tuple[WorkerPart, ...]
    unit: Annotated[Literal["domain", "server"], Field(exclude=True)] = "domain"


def placement_of(
    configuration: Configuration, resources: Resources, replicas: int = 1
) -> tuple[Domain, ...]:
    """Place a deployment, or copies of it, as the search does.

    Parameters
    ----------
    configuration : Configuration
        The deployment.
    resources : Resources
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
    placed = resources.place(*groups_of(configuration), replicas)
    return domains_of(placed, one_pool=configuration.is_aggregated)


def domains_of(placed: Iterable[PlacedWorker], one_pool: bool = False) -> tuple[Domain, ...]:
    """Sort placed workers by NVLink domain; those of one pool have both roles."""
    inside: dict[ClusterSpec, dict[int, list[WorkerPart]]] = {}
    for each in placed:
        for domain, record in _parts(each, "both" if one_pool else each.role):
            inside.setdefault(each.cluster, {}).setdefault(domain, []).append(record)
    return tuple(
        _domain(cluster, number, workers)
        for cluster, domains in inside.items()
        for number, workers in sorted(domains.items())
    )


def _parts(
    placed: PlacedWorker, role: Literal["prefill", "decode", "both"]
) -> list[tuple[int, WorkerPart]]:
    """One worker as a record in each of its domains."""
    gpus, domain = placed.placement.gpus, read_layout(placed.cluster).gpus_per_domain
    as_priced = _links_as_priced(placed)
    parts = []
    for number in placed.placement.domains:
        here = tuple(gpu for gpu in gpus if gpu // domain == number)
        record = WorkerPart(
            role=role,
            replica=placed.replica,
            worker=placed.number,
            gpus=len(here),
            of_gpus=len(gpus),
            gpu_numbers=here,
            links_as_priced=as_priced,
        )
        parts.append((number, record))
    return parts


def _links_as_priced(placed: PlacedWorker) -> bool:
    """Whether a worker has the links that the cost model takes for one of its size."""
    gpus = placed.placement.gpus
    if len(placed.placement.domains) == 1:  # NVLink alone, wherever it stands
        return True
    priced = group_table(placed.cluster, [len(gpus)])[len(gpus)]
    return group_paths(placed.cluster, [gpus])[0] == priced


def _domain(cluster: ClusterSpec, number: int, workers: list[WorkerPart]) -> Domain:
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
