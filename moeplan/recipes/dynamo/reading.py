"""Reading a deployment of Dynamo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from moeplan.recipes.benchmark import AiperfOptions, load_settings
from moeplan.recipes.dynamo.files import (
    BENCHMARK_SCRIPT,
    FRONTEND_PORT,
    GPU,
    FrontendOptions,
    WorkerOptions,
)
from moeplan.recipes.dynamo.kubernetes import (
    ClusterTopologyBinding,
    Component,
    ComputeDomain,
    ConfigMap,
    Container,
    DynamoGraphDeployment,
    Job,
    plain,
)
from moeplan.recipes.parsed import Parsed, Setting
from moeplan.recipes.reading import document, options_of, yaml_of
from moeplan.recipes.recipe import ROLES, RoleName
from moeplan.recipes.trtllm.reading import note_worker, read_engine

DEPLOYMENT, BENCHMARK = "deployment.yaml", "benchmark.yaml"
COMPUTE_DOMAIN, TOPOLOGY = "compute-domain.yaml", "topology.yaml"


def read_dynamo(parsed: Parsed, files: Mapping[str, str]) -> None:
    """Read all objects, and what each worker is set to."""
    for role in ROLES:
        name = f"{role}-engine.yaml"
        config_map = document(parsed, files, name, ConfigMap)
        if config_map is not None:
            _read_engine(parsed, role, name, config_map)
    document(parsed, files, COMPUTE_DOMAIN, ComputeDomain, needed=False)
    document(parsed, files, TOPOLOGY, ClusterTopologyBinding, needed=False)
    deployment = document(parsed, files, DEPLOYMENT, DynamoGraphDeployment)
    if deployment is not None:
        _read_frontend(parsed, deployment)
        for role in ROLES:
            _read_worker(parsed, role, deployment)
    job = document(parsed, files, BENCHMARK, Job)
    if job is not None:
        _read_benchmark(parsed, job)


def component_place(deployment: DynamoGraphDeployment, component: Component) -> str:
    """Where a component stands."""
    return f"{DEPLOYMENT}: spec.components.{deployment.spec.components.index(component)}"


def main_container(component: Component) -> Container | None:
    """Container that serves; the operator knows it by its name."""
    containers = component.pod_template.spec.containers
    return next((each for each in containers if each.name == "main"), None)


def component_of(deployment: DynamoGraphDeployment, kind: str) -> Component | None:
    """First component of a type."""
    return next((each for each in deployment.spec.components if each.type == kind), None)


def deployment_of(parsed: Parsed) -> DynamoGraphDeployment:
    """Give the deployment; `Unreadable` where it could not be read."""
    return parsed.read(DEPLOYMENT, DynamoGraphDeployment)


def placed(parsed: Parsed) -> Iterator[tuple[str, Component]]:
    """Give every component with its place."""
    deployment = deployment_of(parsed)
    for component in deployment.spec.components:
        yield component_place(deployment, component), component


def roles_of(parsed: Parsed) -> Iterator[tuple[RoleName, str, Component]]:
    """Give the component of each role with its place."""
    deployment = deployment_of(parsed)
    for role in ROLES:
        component = component_of(deployment, role)
        if component is not None:
            yield role, component_place(deployment, component), component


def _read_engine(parsed: Parsed, role: RoleName, name: str, config_map: ConfigMap) -> None:
    key = f"{role}.yaml"
    if key not in config_map.data:
        parsed.tell("files", f"{name}: data.{key}", "is missing")
        return
    place = f"{name}: data.{key}"
    content = yaml_of(parsed, place, config_map.data[key])
    if content is not None:
        read_engine(parsed, role, place, content)


def _read_frontend(parsed: Parsed, deployment: DynamoGraphDeployment) -> None:
    component = component_of(deployment, "frontend")
    main = main_container(component) if component is not None else None
    if component is None or main is None:
        return  # the checks of components and containers tell
    place = f"{component_place(deployment, component)}.podTemplate.spec.containers.main.args"
    words = [plain(word) for word in main.args or []]
    options = options_of(parsed, place, words, FrontendOptions)
    if options is not None and options.http_port not in (None, FRONTEND_PORT):
        problem = f"is {options.http_port}; it must be {FRONTEND_PORT}, where clients look"
        parsed.tell("options", f"{place}: --http-port", problem)


def _read_worker(parsed: Parsed, role: RoleName, deployment: DynamoGraphDeployment) -> None:
    component = component_of(deployment, role)
    if component is None:
        return  # the check of components tells
    place = component_place(deployment, component)
    main = main_container(component)
    model = None
    if main is not None:
        where = f"{place}.podTemplate.spec.containers.main.args"
        options = options_of(
            parsed, where, [plain(word) for word in main.args or []], WorkerOptions
        )
        if options is not None:
            parsed.commands[role] = where
            model = Setting(f"{where}: --model-path", options.model_path)
    nodes = component.multinode.node_count if component.multinode else 1
    limits = main.resources.limits if main and main.resources else None
    gpus = (limits or {}).get(GPU, "0")
    where = f"{place}.podTemplate.spec.containers.main.resources.limits.{GPU}"
    note_worker(
        parsed,
        role,
        replicas=Setting(f"{place}.replicas", component.replicas),
        nodes=Setting(f"{place}.multinode.nodeCount", nodes),
        gpus_per_node=Setting(where, int(gpus) if gpus.isdecimal() else 0),
        model=model,
    )


def _read_benchmark(parsed: Parsed, job: Job) -> None:
    container = job.spec.template.spec.containers[0]
    place = f"{BENCHMARK}: spec.template.spec.containers.0"
    command = container.command or []
    start = ["/bin/sh", "-c", BENCHMARK_SCRIPT]
    if command[:3] != start or not [word for word in command[3:] if word.startswith("aiperf")]:
        problem = "is not the script of the recipe and a release of aiperf; options go into args"
        parsed.tell("schema", f"{place}.command", problem)
    if job.spec.template.spec.restart_policy not in ("Never", "OnFailure"):
        field = f"{BENCHMARK}: spec.template.spec.restartPolicy"
        parsed.tell("schema", field, "must be Never or OnFailure for a job")
    words = [plain(word) for word in container.args or []]
    if words[:1] != ["profile"]:
        parsed.tell("schema", f"{place}.args", "must begin with 'profile'")
        return
    options = options_of(parsed, f"{place}.args", words[1:], AiperfOptions)
    if options is not None:
        parsed.load = load_settings(f"{place}.args", options)
