"""Where every worker stands: NVLink domains and what each holds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, TypeAdapter

from moeplan.clusters import groups_of
from presets import ClusterSpec, DataFileError
from presets.files import read_text
from presets.record import Record
from topology import placed_paths, shares_links
from topology.cluster import read_layout
from topology.placement import unusable

if TYPE_CHECKING:
    from costmodel.results import Configuration
    from optimizer.placement import PlacedWorker
    from optimizer.resources import Resources


MOST_BYTES = 20_000_000
"""Longest answer that is read. [B]"""


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
        Whether the prediction takes this worker's links; else they are better than those of the
        slowest worker of its role, which it takes.
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
        All of them, and those that a worker could have and none has. [GPU]
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
    workers = list(placed)
    for each, as_priced in zip(workers, _links_as_priced(workers), strict=True):
        role = "both" if one_pool else each.role
        for domain, record in _parts(each, role, as_priced):
            inside.setdefault(each.cluster, {}).setdefault(domain, []).append(record)
    return tuple(
        _domain(cluster, number, workers)
        for cluster, domains in inside.items()
        for number, workers in sorted(domains.items())
    )


def _parts(
    placed: PlacedWorker, role: Literal["prefill", "decode", "both"], as_priced: bool
) -> list[tuple[int, WorkerPart]]:
    """One worker as a record in each of its domains."""
    gpus, layout = placed.placement.gpus, read_layout(placed.cluster)
    parts = []
    for number in placed.placement.domains:
        here = tuple(gpu for gpu in gpus if gpu in layout.gpus_of(number))
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


def _links_as_priced(placed: list[PlacedWorker]) -> list[bool]:
    """Whether each worker has the links that the prediction takes, those of its role's slowest."""
    as_priced = [True] * len(placed)
    # Copies of a deployment are priced as one alone.
    for cluster in {each.cluster for each in placed if shares_links(each.cluster)}:
        places = [
            place
            for place, each in enumerate(placed)
            if each.cluster == cluster and each.replica == 1
        ]
        paths = placed_paths(cluster, [placed[place].placement.gpus for place in places])
        slowest: dict[str, float] = {}
        for place, path in zip(places, paths, strict=True):
            role = placed[place].role
            slowest[role] = max(slowest.get(role, 0.0), path.seconds_per_pair_byte)
        for place, path in zip(places, paths, strict=True):
            priced = slowest[placed[place].role]
            as_priced[place] = math.isclose(path.seconds_per_pair_byte, priced, rel_tol=1e-9)
    return as_priced


def _domain(cluster: ClusterSpec, number: int, workers: list[WorkerPart]) -> Domain:
    layout = read_layout(cluster)
    gpus = layout.domain_sizes[number]
    away = len(unusable(cluster).intersection(layout.gpus_of(number)))
    return Domain(
        sku=cluster.sku,
        domain=number + 1,
        gpus=gpus,
        free_gpus=gpus - away - sum(worker.gpus for worker in workers),
        workers=tuple(
            sorted(workers, key=lambda each: (each.role != "prefill", each.replica, each.worker))
        ),
        unit="server" if layout.gpus_per_node == layout.gpus_per_domain else "domain",
    )


def read_placement(path: Path, cluster: ClusterSpec) -> tuple[Domain, ...]:
    """Read the placement of an answer's JSON, of the workers that stand on a cluster's machine.

    Raises
    ------
    DataFileError
        Where the file is no answer, or names GPUs that the cluster has not.
    """
    try:
        content = json.loads(read_text(path, MOST_BYTES))
        domains = TypeAdapter(tuple[Domain, ...]).validate_json(json.dumps(content["placement"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataFileError(
            "is no answer with a placement; give what best or predict printed with --json", path
        ) from None
    found = tuple(domain for domain in domains if domain.sku == cluster.sku)
    gpus = [gpu for each in found for worker in each.workers for gpu in worker.gpu_numbers]
    if len(set(gpus)) < len(gpus) or not all(0 <= gpu < cluster.gpus for gpu in gpus):
        raise DataFileError(
            "places workers on GPUs twice, or on some that the cluster has not: its "
            f"{cluster.gpus} GPUs are numbered from 0",
            path,
            key="placement",
        )
    return found
