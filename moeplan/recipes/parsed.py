"""A recipe as it was read: typed documents, what each worker is set to, and what is malformed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from moeplan.recipes.engine_file import EngineFile
from moeplan.recipes.kubernetes import (
    ClusterTopologyBinding,
    ComputeDomain,
    ConfigMap,
    DynamoGraphDeployment,
    Job,
)
from moeplan.recipes.recipe import Recipe, RoleName

if TYPE_CHECKING:
    from moeplan.recipes.slurm import SlurmRecipe

Severity = Literal["error", "warning"]


class Finding(NamedTuple):
    """What a check found.

    Attributes
    ----------
    check : str
        Name of the check.
    field : str
        File and field.
    problem : str
        What is wrong, and what would be valid.
    severity : {"error", "warning"}
    """

    check: str
    field: str
    problem: str
    severity: Severity = "error"


class Setting(NamedTuple):
    """A value, and the field that it stands in."""

    field: str
    value: Any


@dataclass(frozen=True)
class Worker:
    """What the workers of one role are set to, in the same words for every format.

    None where a format does not say.

    Attributes
    ----------
    role : str
    replicas, nodes, gpus_per_node : Setting or None
        Workers, servers of one, GPUs on each.
    world, tp : Setting
        Ranks of the engine, and of one stage of its layers. [GPU]
    ep, moe_tp : Setting
        How experts are spread, and how each is split. [GPU]
    attention_dp : Setting
        Whether attention is replicated.
    batch, tokens, sequence : Setting, Setting or None, Setting
        Requests per rank or worker, tokens of a step, longest sequence.
    depth : Setting
        Draft tokens. [token]
    slots : Setting
        Expert slots; 0 without a load balancer. [1]
    graph : Setting or None
        Largest recorded batch. [1]
    model : Setting or None
        Path of the checkpoint.
    """

    role: RoleName
    replicas: Setting | None
    nodes: Setting | None
    gpus_per_node: Setting | None
    world: Setting
    tp: Setting
    ep: Setting
    moe_tp: Setting
    attention_dp: Setting
    batch: Setting
    tokens: Setting | None
    sequence: Setting
    depth: Setting
    slots: Setting
    graph: Setting | None
    model: Setting | None


class PlacedEngine(NamedTuple):
    """An engine file, and where it stands."""

    place: str
    engine: EngineFile

    def setting(self, *names: str) -> Setting:
        """Read a value; None where a part of the way is not set."""
        value: Any = self.engine
        for name in names:
            value = None if value is None else getattr(value, name)
        return Setting(f"{self.place}: {'.'.join(names)}", value)


@dataclass
class Parsed:
    """A recipe and its documents; what could not be read is None, and among the findings."""

    recipe: Recipe
    findings: list[Finding] = field(default_factory=list)
    workers: dict[RoleName, Worker] = field(default_factory=dict)
    engines: dict[RoleName, PlacedEngine] = field(default_factory=dict)
    deployment: DynamoGraphDeployment | None = None
    job: Job | None = None
    config_maps: dict[str, ConfigMap] = field(default_factory=dict)
    compute_domain: ComputeDomain | None = None
    topology: ClusterTopologyBinding | None = None
    load: dict[str, Setting] = field(default_factory=dict)
    router_port: Setting | None = None
    routes: dict[RoleName, list[Setting]] = field(default_factory=dict)
    slurm: SlurmRecipe | None = None
    commands: dict[RoleName, tuple[str, Any]] = field(default_factory=dict)
    environment: dict[RoleName, dict[str, str]] = field(default_factory=dict)
