"""What all launch commands share: hosts, ports, the benchmark, and how they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from moeplan.recipes.benchmark import (
    AIPERF_PROFILE,
    RESULT,
    AiperfOptions,
    aiperf_options,
    load_settings,
)
from moeplan.recipes.checks import Breaches, Check
from moeplan.recipes.command_line import Options, Port, Text, port_at, script, slot_port
from moeplan.recipes.markdown import block, code
from moeplan.recipes.parsed import Parsed, Setting, Unreadable
from moeplan.recipes.placement import lay_out
from moeplan.recipes.reading import options_of, program_of
from moeplan.recipes.recipe import ROLES, Recipe, RoleName
from presets.engines import load_dynamo
from presets.errors import shown

ROUTER_PORT = 8000
PORTS: dict[RoleName, int] = {"prefill": 8100, "decode": 8150}
PORT_STEP = 100
"""From one worker of a server to the next: engines take some ports beside their own. [1]"""

LEADER_PORT = 20000
BENCHMARK, ROUTER = "benchmark.sh", "router.sh"

RANK_GUARD = ': "${NODE_RANK:?rank of this node within its worker, from 0}"'
LEADER_GUARD = ': "${LEADER:?address of the node of rank 0}"'
SLOT_GUARD = ': "${SLOT:?place of this worker among those of its role on this server, from 0}"'


class RouterOptions(Options):
    """Options that the routers of both engines have."""

    prefill: Annotated[list[list[str]], Field(alias="--prefill")]
    decode: Annotated[list[list[str]], Field(alias="--decode")]
    host: Annotated[Text, Field(alias="--host")]
    port: Annotated[Port, Field(alias="--port")]

    repeated_fields: ClassVar[frozenset[str]] = frozenset({"prefill", "decode"})


def sharing(recipe: Recipe, role: RoleName) -> int:
    """Workers of a role on one server, 1 where each has its own [1]."""
    room = recipe.machine.gpus_per_node // recipe.gpus(role)
    return max(1, min(room, recipe.workers(role)))


def slot_of(recipe: Recipe, role: RoleName, worker: int) -> int:
    """Place of a worker among those of its role on its server, from 0 [1]."""
    return worker % sharing(recipe, role)


def worker_port(recipe: Recipe, role: RoleName) -> str:
    """Port of a worker; by its slot where several share a server."""
    first = PORTS[role]
    return slot_port(first, PORT_STEP) if sharing(recipe, role) > 1 else str(first)


def slot_lines(recipe: Recipe, role: RoleName) -> list[str]:
    """Ask for the slot where there are several."""
    return [SLOT_GUARD] if sharing(recipe, role) > 1 else []


def worker_addresses(recipe: Recipe, role: RoleName) -> list[str]:
    """Address the first node of each worker; the user maps the names of hosts to nodes.

    Returns
    -------
    list of str
        Such as "prefill-0:8100".
    """
    port = worker_port(recipe, role)
    return [
        f"{role}-{number}:{port_at(port, slot_of(recipe, role, number))}"
        for number in range(recipe.workers(role))
    ]


def launch_files(
    recipe: Recipe,
    worker_script: Callable[[Recipe, RoleName], str],
    program: Sequence[str],
    router: RouterOptions,
) -> dict[str, str]:
    """Write launch scripts of both roles, of the router and of the benchmark."""
    files = {f"{role}.sh": worker_script(recipe, role) for role in ROLES}
    files[ROUTER] = script("Joins the workers behind one address.", program, router.lines())
    files[BENCHMARK] = benchmark_script(recipe)
    return files


def benchmark_script(recipe: Recipe) -> str:
    """Write the script that loads the deployment at the chosen concurrency."""
    options = aiperf_options(recipe, f"http://localhost:{ROUTER_PORT}", "results")
    comment = "Loads the deployment; run it where the router runs, in a container with the model."
    return script(comment, ["aiperf", "profile"], options.lines())


def read_load(parsed: Parsed, files: Mapping[str, str]) -> None:
    """Read the options of the load generator."""
    command = program_of(parsed, files, BENCHMARK, ("aiperf", "profile"))
    if command is not None:
        options = options_of(parsed, BENCHMARK, command[0], AiperfOptions)
        if options is not None:
            parsed.load = load_settings(BENCHMARK, options)


def read_router(
    parsed: Parsed, files: Mapping[str, str], program: tuple[str, ...], model: type[RouterOptions]
) -> dict[RoleName, Setting]:
    """Read how many workers of each role the router joins; nothing where it cannot be read."""
    command = program_of(parsed, files, ROUTER, program)
    if command is None:
        return {}
    options = options_of(parsed, ROUTER, command[0], model)
    if options is None:
        return {}
    joined: dict[RoleName, Setting] = {}
    parsed.router_port = Setting(f"{ROUTER}: --port", options.port)
    for role in ROLES:
        entries = [entry for entry in getattr(options, role) if entry]
        parsed.routes[role] = [Setting(f"{ROUTER}: --{role}", entry) for entry in entries]
        urls = [entry[0] for entry in entries]
        joined[role] = Setting(f"{ROUTER}: --{role}", len(urls))
        if len(set(urls)) < len(urls):
            parsed.tell("options", f"{ROUTER}: --{role}", "names a worker twice")
    return joined


def ports(parsed: Parsed) -> Breaches:
    """Find an address where nothing listens."""
    router = parsed.router_port
    if router is None:
        raise Unreadable
    for role in ROLES:
        port = getattr(parsed.read(parsed.commands.get(role, ""), Options), "port", None)
        if port is None:
            raise Unreadable
        for number, (field, (url, *_)) in enumerate(parsed.routes.get(role, [])):
            listens = port_at(port, slot_of(parsed.recipe, role, number))
            if not url.endswith(f":{listens}"):
                yield field, f"{shown(url)} must end in :{listens}, where {role}-{number} listens"
    url = parsed.load.get("url")
    if url is not None and not url.value.rstrip("/").endswith(f":{router.value}"):
        yield url.field, f"{shown(url.value)} must end in :{router.value}, that of {router.field}"


PORT_CHECK = Check("ports", "addresses carry the ports that are listened on", ports)


def multi_node(place: str, nodes: int, rank: str | None, leader: str | None) -> Breaches:
    """Find workers on several nodes that do not know each other."""
    if nodes > 1 and (rank is None or leader is None):
        yield f"{place}: --nnodes", f"is {nodes}; a rank and the address of the first are missing"


def script_guide(recipe: Recipe) -> list[str]:
    """Say how scripts are used that run on every node of a worker."""
    return guide(
        recipe,
        f"Every node needs {code(recipe.settings.image)} and the checkpoint at "
        f"{code(recipe.settings.model_path)}. The names prefill-0, decode-0 and so on stand for "
        "the first node of each worker: let them resolve, or edit router.sh.",
        f"./{ROUTER}",
        each_node=True,
    )


def guide(recipe: Recipe, needs: str, router: str, *, each_node: bool) -> list[str]:
    """Say how launch scripts are used: what they need, each command, health and benchmark."""
    starts = [line for role in ROLES for line in _starts(recipe, role, each_node)]
    shared = [role for role in ROLES if recipe.gpus(role) < recipe.machine.gpus_per_node]
    if shared:
        needs += (
            f" Workers smaller than a server ({', '.join(shared)}) may share one: SLOT is a "
            "worker's place among those of its role there and decides its port, and "
            "CUDA_VISIBLE_DEVICES gives it its GPUs, which must be no other worker's."
        )
    answers = ", ".join(f"{worker_addresses(recipe, role)[0]}" for role in ROLES)
    return [
        f"## Apply\n\n{needs}\n\n" + block(*starts, "# where clients ask", router),
        f"## Is it healthy\n\nWorkers answer at {answers} and so on, the router on {ROUTER_PORT}."
        "\n\n" + block(f"curl -s localhost:{ROUTER_PORT}/health"),
        "## Benchmark\n\n"
        + block(
            f"pip install aiperf=={load_dynamo().aiperf_release}",
            f"./{BENCHMARK}",
            f"cp results/{AIPERF_PROFILE} {RESULT}",
        ),
    ]


def _starts(recipe: Recipe, role: RoleName, each_node: bool) -> list[str]:
    """Commands that start the workers of a role."""
    number, slots, start = recipe.workers(role), sharing(recipe, role), f"./{role}.sh"
    which = f"{role}-0" if number == 1 else f"each of {role}-0 to {role}-{number - 1}"
    if slots > 1:
        gpus = recipe.gpus(role)
        lines = [f"# {which}, {slots} to a server: one of these for each"]
        for slot in range(slots):
            devices = ",".join(str(gpu) for gpu in range(slot * gpus, (slot + 1) * gpus))
            lines.append(f"SLOT={slot} CUDA_VISIBLE_DEVICES={devices} {start}")
        return lines
    nodes = lay_out(recipe).spread[role].nodes
    if not each_node:
        return [f"# once for {which}", start]
    if nodes == 1:
        return [f"# {which}: on its node", start]
    where = f"on each of its {nodes} nodes, with its rank from 0 to {nodes - 1}"
    return [f"# {which}: {where}", f"NODE_RANK=0 LEADER={role}-0 {start}"]
