"""NVLink domains and the workers that stand in them, as frozen records."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from moeplan.shown import Result


class PlacedWorker(Result):
    """One worker, or the part of it that lies in one NVLink domain.

    Attributes
    ----------
    role : {"prefill", "decode"}
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

    role: Literal["prefill", "decode"]
    replica: int
    worker: int
    gpus: int
    of_gpus: int
    gpu_numbers: tuple[int, ...]
    links_as_priced: bool


class Domain(Result):
    """One NVLink domain that workers stand in.

    Attributes
    ----------
    sku : str
    domain : int
        Its number in the cluster of that machine, from 1. [1]
    gpus, free_gpus : int
        All of them, and those that no worker has. [GPU]
    workers : tuple of PlacedWorker
        By role, replica and number, prefill first.
    unit : {"domain", "server"}
        What it is called: a domain of one server is a server.
    """

    sku: str
    domain: int
    gpus: int
    free_gpus: int
    workers: tuple[PlacedWorker, ...]
    unit: Annotated[Literal["domain", "server"], Field(exclude=True)] = "domain"
