"""What all launch commands share: hosts, ports, the benchmark, and how they are used."""

from __future__ import annotations

from abc import abstractmethod
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
from moeplan.recipes.command_line import (
    Options,
    Port,
    Text,
    Words,
    port_at,
    script,
    slot_port,
)
from moeplan.recipes.markdown import block, code
from moeplan.recipes.parsed import Parsed, Setting, Unreadable
from moeplan.recipes.placement import lay_out
from moeplan.recipes.reading import options_of, program_of
from moeplan.recipes.recipe import Recipe, RoleName
from presets.deployment_tools import load_dynamo
from presets.errors import shown

ANY_ADDRESS = "0.0.0.0"
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

    host: Annotated[Text, Field(alias="--host")]
    port: Annotated[Port, Field(alias="--port")]

    @abstractmethod
    def joined(self) -> dict[RoleName, tuple[str, list[list[str]]]]:
        """Option that names the workers of a role, and what it says of each, its address first."""


class PairRouterOptions(RouterOptions):
    """Options of a router that hands a request to a worker of each role."""

    prefill: Annotated[list[list[str]], Field(alias="--prefill")]
    decode: Annotated[list[list[str]], Field(alias="--decode")]

    repeated_fields: ClassVar[frozenset[str]] = frozenset({"prefill", "decode"})

    def joined(self) -> dict[RoleName, tuple[str, list[list[str]]]]:
        """Name the workers of both roles."""
        return {"prefill": ("--prefill", self.prefill), "decode": ("--decode", self.decode)}


class PoolRouterOptions(RouterOptions):
    """Options of a router of one pool, which the routers of both engines spell alike."""

    worker_urls: Annotated[Words, Field(alias="--worker-urls", min_length=1)]
    policy: Annotated[Text | None, Field(alias="--policy")] = None

    def joined(self) -> dict[RoleName, tuple[str, list[list[str]]]]:
        """Name the workers of the pool."""
        return {"decode": ("--worker-urls", [[url] for url in self.worker_urls])}


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
        Such as "prefill-0:8100", or "worker-0:8150" in one pool.
    """
    port = worker_port(recipe, role)
    return [
        f"{recipe.roles[role]}-{number}:{port_at(port, slot_of(recipe, role, number))}"
        for number in range(recipe.workers(role))
    ]


def joins(recipe: Recipe) -> bool:
    """Whether something joins the workers, so that clients do not ask the only one."""
    return not recipe.config.is_aggregated or recipe.workers("decode") > 1


def asked_port(recipe: Recipe) -> int:
    """Port at which clients ask: of what joins the workers, or of the only one."""
    return ROUTER_PORT if joins(recipe) else PORTS["decode"]


def pool_router(recipe: Recipe) -> PoolRouterOptions | None:
    """Join the workers of one pool; None where there is nothing to join.

    Each gets as many requests as every other, as it was predicted, but where they keep what they
    have read: then like goes to like.
    """
    if not joins(recipe):
        return None
    return PoolRouterOptions(
        worker_urls=[f"http://{each}" for each in worker_addresses(recipe, "decode")],
        host=ANY_ADDRESS,
        port=ROUTER_PORT,
        policy="cache_aware" if recipe.served.cached_share else "round_robin",
    )


def launch_files(
    recipe: Recipe,
    worker_script: Callable[[Recipe, RoleName], str],
    program: Sequence[str],
    router: RouterOptions | None,
) -> dict[str, str]:
    """Write launch scripts of each role, of the benchmark, and of the router where there is one."""
    files = {f"{name}.sh": worker_script(recipe, role) for role, name in recipe.roles.items()}
    if router is not None:
        files[ROUTER] = script("Joins the workers behind one address.", program, router.lines())
    files[BENCHMARK] = benchmark_script(recipe)
    return files


def benchmark_script(recipe: Recipe) -> str:
    """Write the script that loads the deployment at the chosen concurrency."""
    options = aiperf_options(recipe, f"http://localhost:{asked_port(recipe)}", "results")
    where = "where the router runs" if joins(recipe) else "on the first node of the worker"
    comment = f"Loads the deployment; run it {where}, in a container with the model."
    return script(comment, ["aiperf", "profile"], options.lines())


def read_load(parsed: Parsed, files: Mapping[str, str]) -> None:
    """Read the options of the load generator."""
    command = program_of(parsed, files, BENCHMARK, ("aiperf", "profile"))
    if command is not None:
        options = options_of(parsed, BENCHMARK, command[0], AiperfOptions)
        if options is not None:
            parsed.load = load_settings(BENCHMARK, options)


def read_router(
    parsed: Parsed,
    files: Mapping[str, str],
    program: tuple[str, ...],
    pair: type[PairRouterOptions],
) -> dict[RoleName, Setting]:
    """Read how many workers of each role the router joins; nothing where it cannot be read.

    One pool of one worker has none.
    """
    needed = joins(parsed.record) if parsed.record else ROUTER in files or not parsed.one_pool
    if not needed:
        return {}
    command = program_of(parsed, files, ROUTER, program)
    if command is None:
        return {}
    model: type[RouterOptions] = PoolRouterOptions if parsed.one_pool else pair
    options = options_of(parsed, ROUTER, command[0], model)
    if options is None:
        return {}
    joined: dict[RoleName, Setting] = {}
    parsed.router_port = Setting(f"{ROUTER}: --port", options.port)
    for role, (option, workers) in options.joined().items():
        entries = [entry for entry in workers if entry]
        parsed.routes[role] = [Setting(f"{ROUTER}: {option}", entry) for entry in entries]
        urls = [entry[0] for entry in entries]
        joined[role] = Setting(f"{ROUTER}: {option}", len(urls))
        if len(set(urls)) < len(urls):
            parsed.tell("options", f"{ROUTER}: {option}", "names a worker twice")
    return joined


def ports(parsed: Parsed) -> Breaches:
    """Find an address where nothing listens."""
    router = parsed.router_port
    if router is None and not parsed.one_pool:
        raise Unreadable
    for role, name in parsed.roles.items():
        place = parsed.commands.get(role, "")
        port = getattr(parsed.read(place, Options), "port", None)
        if port is None:
            raise Unreadable
        for number, (field, (url, *_)) in enumerate(parsed.routes.get(role, [])):
            listens = port_at(port, slot_of(parsed.recipe, role, number))
            if not url.endswith(f":{listens}"):
                yield field, f"{shown(url)} must end in :{listens}, where {name}-{number} listens"
        if router is None and not joins(parsed.recipe):
            router = Setting(f"{place}: --port", port_at(port, 0))
    if router is None:
        router = Setting("README.md: the load balancer", ROUTER_PORT)
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
    needs = (
        f"Every node needs {code(recipe.settings.image)} and the checkpoint at "
        f"{code(recipe.settings.model_path)}."
    )
    if not joins(recipe):
        return guide(recipe, needs, each_node=True)
    names = ", ".join(f"{name}-0" for name in recipe.roles.values())
    needs += (
        f" The names {names} and so on stand for the first node of each worker: let them resolve, "
        "or edit router.sh."
    )
    return guide(recipe, needs, f"./{ROUTER}", each_node=True)


def guide(recipe: Recipe, needs: str, router: str | None = None, *, each_node: bool) -> list[str]:
    """Say how launch scripts are used: what they need, each command, health and benchmark."""
    starts = [line for role in recipe.roles for line in _starts(recipe, role, each_node)]
    shared = [
        name
        for role, name in recipe.roles.items()
        if recipe.gpus(role) < recipe.machine.gpus_per_node
    ]
    if shared:
        needs += (
            f" Workers smaller than a server ({', '.join(shared)}) may share one: SLOT is a "
            "worker's place among those of its role there and decides its port, and "
            "CUDA_VISIBLE_DEVICES gives it its GPUs, which must be no other worker's."
        )
    if router is not None:
        starts += ["# where clients ask", router]
    answers, asked = (
        [worker_addresses(recipe, role)[0] for role in recipe.roles],
        asked_port(recipe),
    )
    health = f"The worker answers at {answers[0]}."
    if joins(recipe):
        joining = "the load balancer" if router is None else "the router"
        health = f"Workers answer at {', '.join(answers)} and so on, {joining} on {asked}."
    return [
        f"## Apply\n\n{needs}\n\n" + block(*starts),
        f"## Is it healthy\n\n{health}\n\n" + block(f"curl -s localhost:{asked}/health"),
        "## Benchmark\n\n"
        + block(
            f"pip install aiperf=={load_dynamo().aiperf_release}",
            f"./{BENCHMARK}",
            f"cp results/{AIPERF_PROFILE} {RESULT}",
        ),
    ]


def _starts(recipe: Recipe, role: RoleName, each_node: bool) -> list[str]:
    """Commands that start the workers of a role."""
    number, slots, name = recipe.workers(role), sharing(recipe, role), recipe.roles[role]
    start = f"./{name}.sh"
    which = f"{name}-0" if number == 1 else f"each of {name}-0 to {name}-{number - 1}"
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
    return [f"# {which}: {where}", f"NODE_RANK=0 LEADER={name}-0 {start}"]
