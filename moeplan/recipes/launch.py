"""What all launch commands share: hosts, ports and the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from moeplan.recipes.benchmark import AiperfOptions, aiperf_options, load_settings
from moeplan.recipes.command_line import Options, Port, Text, script
from moeplan.recipes.parsed import Finding, Parsed, Setting
from moeplan.recipes.reading import options_of, program_of
from moeplan.recipes.recipe import ROLES, Recipe, RoleName

ROUTER_PORT = 8000
PORTS: dict[RoleName, int] = {"prefill": 8001, "decode": 8002}
LEADER_PORT = 20000
BENCHMARK, ROUTER = "benchmark.sh", "router.sh"

RANK_GUARD = ': "${NODE_RANK:?rank of this node within its worker, from 0}"'
LEADER_GUARD = ': "${LEADER:?address of the node of rank 0}"'


class RouterOptions(Options):
    """Options that the routers of both engines have."""

    prefill: Annotated[list[list[str]], Field(alias="--prefill")]
    decode: Annotated[list[list[str]], Field(alias="--decode")]
    host: Annotated[Text, Field(alias="--host")]
    port: Annotated[Port, Field(alias="--port")]

    repeated_fields: ClassVar[frozenset[str]] = frozenset({"prefill", "decode"})


def worker_addresses(recipe: Recipe, role: RoleName) -> list[str]:
    """Address the first node of each worker; the user maps the names of hosts to nodes.

    Returns
    -------
    list of str
        Such as "prefill-0:8001".
    """
    return [f"{role}-{number}:{PORTS[role]}" for number in range(recipe.workers(role))]


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
            parsed.findings.append(
                Finding("options", f"{ROUTER}: --{role}", "names a worker twice")
            )
    return joined
