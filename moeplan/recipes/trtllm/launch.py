"""Engine files of TensorRT-LLM, and the commands that start its workers and their router."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from moeplan.recipes.checks import Breaches, Check, differs
from moeplan.recipes.command_line import Count, Options, SlotPort, Text, script
from moeplan.recipes.launch import (
    PORT_CHECK,
    ROUTER_PORT,
    benchmark_script,
    guide,
    joins,
    read_load,
    slot_lines,
    worker_addresses,
    worker_port,
)
from moeplan.recipes.parsed import Parsed, Setting
from moeplan.recipes.placement import lay_out
from moeplan.recipes.reading import document, options_of, program_of, yaml_of
from moeplan.recipes.recipe import Recipe, RoleName
from moeplan.recipes.trtllm.engine import engine_files
from moeplan.recipes.trtllm.reading import note_worker, read_engine
from moeplan.recipes.yaml_text import yaml_text
from presets.engines import load_engine

PROGRAM = ("trtllm-llmapi-launch", "trtllm-serve")


class SrunOptions(Options):
    """Options of ``srun``: one task per GPU of a worker."""

    nodes: Annotated[Count, Field(alias="--nodes")]
    ntasks: Annotated[Count, Field(alias="--ntasks")]
    ntasks_per_node: Annotated[Count, Field(alias="--ntasks-per-node")]
    mpi: Annotated[Text, Field(alias="--mpi")]
    container_image: Annotated[Text, Field(alias="--container-image")]


class ServeOptions(Options):
    """Options of ``trtllm-serve``; releases name the engine file in one of two ways."""

    backend: Annotated[Text, Field(alias="--backend")]
    host: Annotated[Text, Field(alias="--host")]
    port: Annotated[SlotPort, Field(alias="--port")]
    config: Annotated[Text | None, Field(alias="--config")] = None
    extra_llm_api_options: Annotated[Text | None, Field(alias="--extra_llm_api_options")] = None

    shell_fields: ClassVar[frozenset[str]] = frozenset({"port"})


class Servers(BaseModel):
    """Workers of one role."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    num_instances: Annotated[int, Field(ge=1)]
    urls: list[str]


class RouterFile(BaseModel):
    """What ``trtllm-serve disaggregated`` reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    hostname: str
    port: Annotated[int, Field(ge=1, le=65535)]
    backend: Literal["pytorch"] = "pytorch"
    context_servers: Servers
    generation_servers: Servers


SERVERS: dict[RoleName, str] = {"prefill": "context_servers", "decode": "generation_servers"}


def trtllm_files(recipe: Recipe) -> dict[str, str]:
    """Write engine files, launch scripts and benchmark, and a router file for two pools."""
    engines = engine_files(recipe)
    files = {
        f"{name}.yaml": yaml_text(engines[role].content()) for role, name in recipe.roles.items()
    }
    files |= {f"{name}.sh": _worker_script(recipe, role) for role, name in recipe.roles.items()}
    if not recipe.config.is_aggregated:
        files["router.yaml"] = yaml_text(_router(recipe).model_dump(mode="json"))
    files["benchmark.sh"] = benchmark_script(recipe)
    return files


def _worker_script(recipe: Recipe, role: RoleName) -> str:
    spread = lay_out(recipe).spread[role]
    srun = SrunOptions(
        nodes=spread.nodes,
        ntasks=recipe.gpus(role),
        ntasks_per_node=spread.gpus_per_node,
        mpi="pmix",
        container_image=recipe.settings.image,
    )
    option = load_engine("trtllm").releases_of(recipe.engine_release).traits["config_option"]
    serve = ServeOptions.model_validate(
        {
            "--backend": "pytorch",
            "--host": "0.0.0.0",
            "--port": worker_port(recipe, role),
            option: f"{recipe.roles[role]}.yaml",
        }
    )
    model = shlex.quote(recipe.settings.model_path)
    lines = [*srun.lines(), " ".join(PROGRAM), model, *serve.lines()]
    comment = f"Starts one {recipe.kind(role)}: {recipe.gpus(role)} GPUs on {spread.nodes} nodes."
    before = ['cd "$(dirname "$0")"', *slot_lines(recipe, role)]
    return script(comment, ["srun"], lines, before)


def _router(recipe: Recipe) -> RouterFile:
    servers: dict[str, Any] = {
        SERVERS[role]: Servers(
            num_instances=recipe.workers(role),
            urls=worker_addresses(recipe, role),
        )
        for role in recipe.roles
    }
    return RouterFile(hostname="0.0.0.0", port=ROUTER_PORT, **servers)


def read_trtllm(parsed: Parsed, files: Mapping[str, str]) -> None:
    """Read engine files, scripts and router file."""
    router = None if parsed.one_pool else document(parsed, files, "router.yaml", RouterFile)
    for role, worker in parsed.roles.items():
        name = f"{worker}.yaml"
        if name not in files:
            parsed.tell("files", name, "is missing")
            continue
        content = yaml_of(parsed, name, files[name])
        if content is not None:
            read_engine(parsed, role, name, content)
        _read_worker(parsed, files, role, router)
    read_load(parsed, files)


def _read_worker(
    parsed: Parsed, files: Mapping[str, str], role: RoleName, router: RouterFile | None
) -> None:
    name = f"{parsed.roles[role]}.sh"
    command = program_of(parsed, files, name, ("srun",))
    if command is None:
        return
    words, _ = command
    start = next((at for at, word in enumerate(words) if word == PROGRAM[0]), len(words))
    if words[start : start + 2] != list(PROGRAM) or len(words) < start + 3:
        parsed.tell("schema", name, f"starts no {' '.join(PROGRAM)} with a model")
        return
    srun = options_of(parsed, f"{name}: srun", words[:start], SrunOptions)
    if options_of(parsed, name, words[start + 3 :], ServeOptions) is not None:
        parsed.commands[role] = name
    replicas = None
    if router is not None:
        servers: Servers = getattr(router, SERVERS[role])
        parsed.router_port = Setting("router.yaml: port", router.port)
        field = f"router.yaml: {SERVERS[role]}.urls"
        parsed.routes[role] = [Setting(field, [url]) for url in servers.urls]
        replicas = Setting(f"router.yaml: {SERVERS[role]}.num_instances", servers.num_instances)
        if len(servers.urls) != servers.num_instances:
            told = f"names {len(servers.urls)} workers; num_instances is {servers.num_instances}"
            parsed.tell("schema", field, told)
    note_worker(
        parsed,
        role,
        replicas=replicas,
        nodes=None if srun is None else Setting(f"{name}: --nodes", srun.nodes),
        gpus_per_node=(
            None if srun is None else Setting(f"{name}: --ntasks-per-node", srun.ntasks_per_node)
        ),
        model=Setting(f"{name}: model", words[start + 2]),
    )


def ranks(parsed: Parsed) -> Breaches:
    """Find options of a worker that contradict each other."""
    known = load_engine("trtllm").releases_of(parsed.recipe.engine_release)
    option = known.traits["config_option"]
    for worker in parsed.roles.values():
        place = f"{worker}.sh"
        srun = parsed.read(f"{place}: srun", SrunOptions)
        serve = parsed.read(place, ServeOptions)
        tasks = srun.nodes * srun.ntasks_per_node
        yield from differs(Setting(f"{place}: --ntasks", srun.ntasks), tasks, "one per GPU")
        names = {
            "--config": serve.config,
            "--extra_llm_api_options": serve.extra_llm_api_options,
        }
        file = Setting(f"{place}: {option}", names[option])
        yield from differs(file, f"{worker}.yaml", "the file of the role")


LAUNCH_CHECKS = (
    Check("ranks", "launch options of a worker agree with its size", ranks),
    PORT_CHECK,
)


def trtllm_guide(recipe: Recipe) -> list[str]:
    """Say how the scripts are used; in one pool trtllm-serve has no router."""
    needs = "The scripts start one worker each, by Slurm."
    if recipe.config.is_aggregated:
        balancer = (
            "Any load balancer that speaks HTTP joins the workers: it listens on "
            f"{ROUTER_PORT} and gives each as many requests as every other."
        )
        return guide(recipe, f"{needs} {balancer}" if joins(recipe) else needs, each_node=False)
    needs += (
        " The names prefill-0, decode-0 and so on in router.yaml stand for the first node of each "
        "worker: let them resolve, or edit the file."
    )
    return guide(recipe, needs, "trtllm-serve disaggregated -c router.yaml", each_node=False)
