"""The recipe file of srt-slurm, in the layout that it reads without ``schema: 2``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from moeplan.recipes.benchmark import ROUNDS, SHORTEST, WARMUP_ROUNDS
from moeplan.recipes.dynamo import WORKER_ENV
from moeplan.recipes.parsed import Parsed, Setting
from moeplan.recipes.placement import lay_out
from moeplan.recipes.reading import document, engine_of, trtllm_worker
from moeplan.recipes.recipe import ROLES, Recipe, RoleName
from moeplan.recipes.trtllm import engine_files
from moeplan.recipes.yaml_text import yaml_text

RECIPE = "recipe.yaml"
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class SlurmPart(BaseModel):
    """Base of all parts: frozen, strict, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SlurmModel(SlurmPart):
    """Checkpoint and container."""

    path: str
    container: str
    precision: Literal["fp4", "fp8", "fp16", "bf16"]


class SlurmResources(SlurmPart):
    """Workers and nodes; srt-slurm does not check that they agree."""

    gpu_type: str
    gpus_per_node: Count
    prefill_nodes: Count
    prefill_workers: Count
    gpus_per_prefill: Count
    decode_nodes: Count
    decode_workers: Count
    gpus_per_decode: Count


class SlurmJob(SlurmPart):
    """Where the job runs; what is not set comes from the cluster's own file."""

    account: str | None = None
    partition: str | None = None
    time_limit: str | None = None


class SlurmEngines(SlurmPart):
    """Engine options of both roles, which srt-slurm passes on as they are."""

    prefill: dict[str, Any]
    decode: dict[str, Any]


class SlurmBackend(SlurmPart):
    """The engine."""

    type: Literal["trtllm"]
    prefill_environment: dict[str, str] = Field(default_factory=dict)
    decode_environment: dict[str, str] = Field(default_factory=dict)
    trtllm_config: SlurmEngines


class SlurmFrontend(SlurmPart):
    """What clients ask."""

    type: Literal["dynamo", "trtllm_serve"]
    enable_multiple_frontends: bool = True


class SlurmBenchmark(SlurmPart):
    """The load."""

    type: Literal["sa-bench"]
    isl: Count
    osl: Count
    concurrencies: Annotated[list[Count], Field(min_length=1)]
    req_rate: str
    random_range_ratio: float | None = None
    num_prompts_mult: Count | None = None
    num_warmup_mult: Count | None = None
    use_chat_template: bool | None = None


class SlurmHealth(SlurmPart):
    """How long workers may take."""

    max_attempts: Count
    interval_seconds: Count


class SlurmRecipe(SlurmPart):
    """One recipe of srt-slurm."""

    name: Annotated[str, Field(min_length=1)]
    model: SlurmModel
    resources: SlurmResources
    slurm: SlurmJob | None = None
    health_check: SlurmHealth | None = None
    backend: SlurmBackend
    frontend: SlurmFrontend
    benchmark: SlurmBenchmark


def slurm_files(recipe: Recipe) -> dict[str, str]:
    """Write the recipe file."""
    engines = engine_files(recipe)
    spread = lay_out(recipe).spread
    resources: dict[str, Any] = {
        "gpu_type": recipe.machine.sku,
        "gpus_per_node": recipe.machine.gpus_per_node,
    }
    for role in ROLES:
        resources |= {
            f"{role}_nodes": role_nodes(recipe.workers(role), recipe.gpus(role), recipe),
            f"{role}_workers": recipe.workers(role),
            f"gpus_per_{role}": spread[role].nodes * spread[role].gpus_per_node,
        }
    content = SlurmRecipe(
        name=recipe.settings.name,
        model=SlurmModel(
            path=recipe.settings.model_path,
            container=recipe.settings.image,
            precision=recipe.served.precision,
        ),
        resources=SlurmResources(**resources),
        health_check=SlurmHealth(max_attempts=720, interval_seconds=10),
        backend=SlurmBackend(
            type="trtllm",
            prefill_environment=WORKER_ENV,
            decode_environment=WORKER_ENV,
            trtllm_config=SlurmEngines(
                prefill=engines["prefill"].content(), decode=engines["decode"].content()
            ),
        ),
        frontend=SlurmFrontend(type="dynamo", enable_multiple_frontends=False),
        benchmark=SlurmBenchmark(
            type="sa-bench",
            isl=recipe.served.isl,
            osl=recipe.served.osl,
            concurrencies=[recipe.config.concurrency],
            req_rate="inf",
            random_range_ratio=SHORTEST,
            num_prompts_mult=ROUNDS,
            num_warmup_mult=WARMUP_ROUNDS,
            use_chat_template=True,
        ),
    )
    return {RECIPE: yaml_text(content.model_dump(mode="json", exclude_unset=True))}


def role_nodes(workers: int, gpus: int, recipe: Recipe) -> int:
    """Count the nodes of a role: whole ones for large workers, shared ones for small."""
    node = recipe.machine.gpus_per_node
    if gpus >= node:
        return workers * -(-gpus // node)
    return -(-workers // (node // gpus))


def read_slurm(parsed: Parsed, files: Mapping[str, str]) -> None:
    """Read the recipe file."""
    content = document(parsed, files, RECIPE, SlurmRecipe)
    if content is None:
        return
    parsed.slurm = content
    engines = content.backend.trtllm_config
    for role in ROLES:
        engine_of(parsed, role, f"{RECIPE}: backend.trtllm_config.{role}", getattr(engines, role))
        _read_worker(parsed, role, content)
    load = content.benchmark
    place = f"{RECIPE}: benchmark"
    parsed.load = {
        "concurrency": Setting(f"{place}.concurrencies", load.concurrencies[0]),
        "isl": Setting(f"{place}.isl", load.isl),
        "osl": Setting(f"{place}.osl", load.osl),
        "random_range_ratio": Setting(f"{place}.random_range_ratio", load.random_range_ratio),
    }


def _read_worker(parsed: Parsed, role: RoleName, content: SlurmRecipe) -> None:
    placed, resources = parsed.engines.get(role), content.resources
    if placed is None:
        return
    gpus = getattr(resources, f"gpus_per_{role}")
    node = resources.gpus_per_node
    place = f"{RECIPE}: resources"
    parsed.workers[role] = trtllm_worker(
        role,
        placed,
        replicas=Setting(f"{place}.{role}_workers", getattr(resources, f"{role}_workers")),
        nodes=Setting(f"{place}.gpus_per_{role}", max(gpus // node, 1)),
        gpus_per_node=Setting(f"{place}.gpus_per_{role}", min(gpus, node)),
        model=Setting(f"{RECIPE}: model.path", content.model.path),
    )
