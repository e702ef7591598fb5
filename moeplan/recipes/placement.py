"""How workers lie on servers and NVLink domains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from moeplan.answers.placement import Domain, placement_of
from moeplan.clusters import groups_of
from moeplan.recipes.recipe import Machine, Recipe, RoleName
from optimizer.placement import packs, roomy
from optimizer.resources import Resources
from presets import ClusterSpec, InputError
from presets.deployment_tools import load_dynamo
from presets.files import validated


@dataclass(frozen=True)
class Spread:
    """One worker on its servers.

    Attributes
    ----------
    nodes : int
        Servers. [1]
    gpus_per_node : int
        GPUs that it takes on each. [GPU]
    """

    nodes: int
    gpus_per_node: int


@dataclass(frozen=True)
class Layout:
    """All workers on their servers.

    Attributes
    ----------
    spread : dict of Spread
        By role.
    claiming : tuple of str
        Roles whose pods claim a channel of the compute domain; each fills whole servers.
    pack : {"deployment", "worker"} or None
        What is kept inside one NVLink domain.
    """

    spread: dict[RoleName, Spread]
    claiming: tuple[RoleName, ...]
    pack: Literal["deployment", "worker"] | None


def machine_of(cluster: ClusterSpec, prices: str | None = None) -> Machine:
    """Describe the machine of a cluster as recipes need it; `prices` is the set of its price.

    Raises
    ------
    InputError
        Where no recipes are known for it.
    """
    hardware, known = cluster.hardware(), load_dynamo().architectures
    if cluster.sku not in known:
        raise InputError(f"sku: {cluster.sku!r} has no recipes; valid: {', '.join(known)}")
    content = {
        "sku": cluster.sku,
        "title": hardware.title,
        "kernel_profile": hardware.kernel_profile,
        "architecture": known[cluster.sku].value,
        "gpus_per_node": int(hardware.gpus_per_node.value),
        "gpus_per_domain": int(hardware.gpus_per_domain.value),
        "usd_per_hour": float(hardware.price_usd_per_hour.value),
        "prices": prices,
    }
    return validated(Machine, content, key="machine")


def spread_worker(gpus: int, machine: Machine) -> Spread:
    """Put a worker on as few servers as hold it, with equal GPUs on each.

    Raises
    ------
    InputError
        Where a worker larger than a server does not fill whole servers.

    Examples
    --------
    >>> from moeplan.recipes.recipe import Machine
    >>> gb200 = Machine(sku="gb200", title="GB200", kernel_profile="blackwell",
    ...     architecture="arm64", gpus_per_node=4, gpus_per_domain=72, usd_per_hour=2.21)
    >>> spread_worker(32, gb200), spread_worker(2, gb200)
    (Spread(nodes=8, gpus_per_node=4), Spread(nodes=1, gpus_per_node=2))
    """
    node = machine.gpus_per_node
    if gpus <= node:
        return Spread(1, gpus)
    if gpus % node:
        raise InputError(
            f"gpus_per_worker: a worker of {gpus} GPUs does not fill servers of {node} GPUs; "
            f"give at most {node}, or a multiple of it"
        )
    return Spread(gpus // node, node)


def lay_out(recipe: Recipe) -> Layout:
    """Say which workers span servers, which of them share memory over NVLink, and what is packed.

    A compute domain lets pods on several servers of an NVLink domain reach each other's memory. A
    server takes one of its pods only, so that workers smaller than a server do not claim it: they
    share servers, and hand their KV cache over by NIC.

    Raises
    ------
    InputError
        Where a worker does not fill whole servers.
    """
    machine = recipe.machine
    spread = {role: spread_worker(recipe.gpus(role), machine) for role in recipe.roles}
    if machine.nodes_per_domain < 2:
        return Layout(spread, (), None)
    whole = tuple(role for role in spread if spread[role].gpus_per_node == machine.gpus_per_node)
    if sum(recipe.workers(role) * spread[role].nodes for role in whole) < 2:
        return Layout(spread, (), None)
    if not recipe.config.is_aggregated and _fits_one_domain(recipe):
        return Layout(spread, whole, "deployment")
    inside = any(1 < each.nodes <= machine.nodes_per_domain for each in spread.values())
    return Layout(spread, whole, "worker" if inside else None)


def place_recipe(recipe: Recipe) -> tuple[Domain, ...]:
    """Place the workers of a recipe as the search does, in as few NVLink domains as hold them.

    Raises
    ------
    InputError
        Where no cluster that can be described has room.
    """
    ground = Resources(roomy(_one_domain(recipe), *groups_of(recipe.config)))
    return placement_of(recipe.config, ground)


def _fits_one_domain(recipe: Recipe) -> bool:
    """Whether all workers find room in one NVLink domain."""
    return packs(_one_domain(recipe), *groups_of(recipe.config))


def _one_domain(recipe: Recipe) -> ClusterSpec:
    machine = recipe.machine
    return ClusterSpec(
        sku=machine.sku,
        gpus=machine.gpus_per_domain,
        gpus_per_domain=machine.gpus_per_domain,
        gpus_per_node=machine.gpus_per_node,
    )
