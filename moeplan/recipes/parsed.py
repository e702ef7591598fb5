"""A recipe as it was read: typed documents, what each worker is set to, and what is malformed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel

from costmodel.results import Configuration
from moeplan.recipes.recipe import TWO_POOLS, Machine, Recipe, RoleName

Severity = Literal["error", "warning"]
DocumentT = TypeVar("DocumentT", bound=BaseModel)


class Unreadable(Exception):
    """What a check judges could not be read; the findings of reading say why."""


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
    parts_inputs : bool
        Whether a step may take a part of an input.
    depth : Setting
        Draft tokens. [token]
    head : Setting
        Path of the checkpoint that drafts; None where it is the model itself, or nothing.
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
    head: Setting
    slots: Setting
    graph: Setting | None
    model: Setting | None
    parts_inputs: bool = False


@dataclass(frozen=True)
class Facts:
    """What files are held against; None where nothing tells.

    Attributes
    ----------
    config : Configuration or None
        What was to be deployed; files that moeplan did not write come without.
    machine : Machine or None
    isl, osl : int or None
        Longest input and output. [token]
    experts, heads, expert_width, kv_heads : int or None
        Routed experts of a layer, attention heads, width of an expert, heads of a grouped cache.
        [1]
    engine : str or None
        Name of the engine that is started.
    precision, expert_format : str or None
    engine_release : str or None
    """

    config: Configuration | None = None
    machine: Machine | None = None
    isl: int | None = None
    osl: int | None = None
    experts: int | None = None
    heads: int | None = None
    expert_width: int | None = None
    kv_heads: int | None = None
    engine: str | None = None
    precision: str | None = None
    expert_format: str | None = None
    engine_release: str | None = None

    @classmethod
    def of(cls, recipe: Recipe, engine: str) -> Facts:
        """All of it, as the record has it."""
        served = recipe.served
        return cls(
            config=recipe.config,
            machine=recipe.machine,
            isl=served.isl,
            osl=served.osl,
            experts=served.experts,
            heads=served.heads,
            expert_width=served.expert_width,
            kv_heads=served.kv_heads,
            engine=engine,
            precision=served.precision,
            expert_format=served.expert_format,
            engine_release=recipe.engine_release,
        )


@dataclass
class Parsed:
    """Files of a recipe, as documents and as what they say.

    Attributes
    ----------
    record : Recipe or None
        What moeplan wrote them from; None for files of another origin.
    facts : Facts
        What they are held against.
    roles : mapping
        Roles that there are, each with what its workers are called.
    findings : list of Finding
        What is malformed.
    documents : dict
        Typed documents by place: a file, or a part of one. What could not be read is missing.
    engines, commands : dict of str
        Place of the engine options, and of the launch options, by role.
    environment : dict
        What the command of a role exports.
    workers : dict of Worker
    load : dict of Setting
        The benchmark.
    router_port : Setting or None
    routes : dict
        Addresses that the router joins.
    """

    record: Recipe | None
    facts: Facts = field(default_factory=Facts)
    roles: Mapping[RoleName, str] = field(default_factory=lambda: TWO_POOLS)
    findings: list[Finding] = field(default_factory=list)
    documents: dict[str, BaseModel] = field(default_factory=dict)
    engines: dict[RoleName, str] = field(default_factory=dict)
    commands: dict[RoleName, str] = field(default_factory=dict)
    environment: dict[RoleName, dict[str, str]] = field(default_factory=dict)
    workers: dict[RoleName, Worker] = field(default_factory=dict)
    load: dict[str, Setting] = field(default_factory=dict)
    router_port: Setting | None = None
    routes: dict[RoleName, list[Setting]] = field(default_factory=dict)

    @property
    def one_pool(self) -> bool:
        """Whether workers prefill what they decode."""
        return "prefill" not in self.roles

    @property
    def recipe(self) -> Recipe:
        """The record, for what cannot be judged without.

        Raises
        ------
        Unreadable
            Where there is none.
        """
        if self.record is None:
            raise Unreadable
        return self.record

    def get(self, place: str, model: type[DocumentT]) -> DocumentT | None:
        """Document at a place; None where it is missing, or could not be read."""
        found = self.documents.get(place)
        return found if isinstance(found, model) else None

    def read(self, place: str, model: type[DocumentT]) -> DocumentT:
        """Document at a place.

        Raises
        ------
        Unreadable
            Where it is missing, or could not be read.
        """
        found = self.get(place, model)
        if found is None:
            raise Unreadable
        return found

    def tell(self, check: str, place: str, problem: str, severity: Severity = "error") -> None:
        """Add a finding."""
        self.findings.append(Finding(check, place, problem, severity))
