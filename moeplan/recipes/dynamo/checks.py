"""Checks of the objects of a deployment of Dynamo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from moeplan.recipes.checks import Breaches, Check, differs
from moeplan.recipes.dynamo.checks_nvlink import compute_domain, topology
from moeplan.recipes.dynamo.files import (
    ARCHITECTURE_LABEL,
    FRONTEND,
    FRONTEND_PORT,
    GPU,
    WORKER,
    WORKER_PORT,
    WorkerOptions,
    image_release,
)
from moeplan.recipes.dynamo.kubernetes import (
    Component,
    ComputeDomain,
    ConfigMap,
    Container,
    Job,
    PodSpec,
)
from moeplan.recipes.dynamo.reading import (
    BENCHMARK,
    COMPUTE_DOMAIN,
    component_of,
    deployment_of,
    main_container,
    placed,
    roles_of,
)
from moeplan.recipes.parsed import Parsed, Setting, Unreadable
from moeplan.recipes.recipe import ROLES, RoleName
from presets.deployment_tools import load_dynamo
from presets.errors import shown

JOB_POD = "benchmark.yaml: spec.template.spec"
KINDS: tuple[Literal["frontend", "prefill", "decode"], ...] = ("frontend", *ROLES)


def _config_maps(parsed: Parsed) -> dict[str, ConfigMap]:
    names = [f"{role}-engine.yaml" for role in ROLES]
    return {name: found for name in names if (found := parsed.get(name, ConfigMap)) is not None}


def _pods(parsed: Parsed) -> Iterator[tuple[str, PodSpec]]:
    for place, component in placed(parsed):
        yield f"{place}.podTemplate.spec", component.pod_template.spec


def components(parsed: Parsed) -> Breaches:
    """One component of each type, under different names."""
    deployment = deployment_of(parsed)
    kinds: list[str] = [component.type for component in deployment.spec.components]
    for kind in KINDS:
        if kinds.count(kind) != 1:
            yield (
                "deployment.yaml: spec.components",
                f"{kinds.count(kind)} are of type {kind}; there must be 1",
            )
    seen: set[str] = set()
    for place, component in placed(parsed):
        if component.type not in KINDS:
            yield f"{place}.type", f"is {component.type}; a recipe has {', '.join(KINDS)} only"
        if component.name.lower() in seen:
            yield f"{place}.name", f"{shown(component.name)} stands twice"
        seen.add(component.name.lower())
        if component.multinode is not None and component.type not in ROLES:
            yield f"{place}.multinode", "is for workers only"
        if component.type == "frontend" and not component.replicas:
            yield f"{place}.replicas", "is 0; clients need a frontend"
    yield from differs(
        Setting("deployment.yaml: spec.backendFramework", deployment.spec.backend_framework),
        "trtllm",
        "the engine of the recipe",
    )


def containers(parsed: Parsed) -> Breaches:
    """Containers that the operator and the role need."""
    for place, component in placed(parsed):
        where = f"{place}.podTemplate.spec.containers"
        main = main_container(component)
        if main is None:
            yield where, "none is named main"
        elif main.command != _program(component):
            yield f"{where}.main.command", f"must be {' '.join(_program(component))}"
    for role, place, component in roles_of(parsed):
        main = main_container(component)
        if main is None:
            continue
        where = f"{place}.podTemplate.spec.containers.main"
        resources = main.resources
        asked = ((resources.requests if resources else None) or {}).get(GPU)
        limit = ((resources.limits if resources else None) or {}).get(GPU)
        if asked is not None and asked != limit:
            yield f"{where}.resources.requests.{GPU}", f"is {asked}; it must be the limit, {limit}"
        probe = main.startup_probe.http_get if main.startup_probe else None
        if probe is not None:
            told = Setting(f"{where}.startupProbe.httpGet.port", probe.port)
            yield from differs(told, WORKER_PORT, "where workers tell of their health")
        options = parsed.get(parsed.commands.get(role, ""), WorkerOptions)
        if options is not None:
            mode = Setting(f"{where}.args: --disaggregation-mode", options.disaggregation_mode)
            yield from differs(mode, role, "the type of the component")


def _program(component: Component) -> list[str]:
    return FRONTEND if component.type == "frontend" else WORKER


def names(parsed: Parsed) -> Breaches:
    """Pods are named after deployment and component, and for several nodes after the role too."""
    deployment = deployment_of(parsed)
    most = int(load_dynamo().limits["combined_name"].value)
    own = len(deployment.metadata.name)
    for place, component in placed(parsed):
        length = own + len(component.name)
        if component.multinode is not None:
            length += len(f"{component.name}-ldr")
        if length > most:
            yield (
                "deployment.yaml: metadata.name",
                f"{shown(deployment.metadata.name)} is {length - most} letters too long beside "
                f"{place}.name; names of pods have room for {most}",
            )
    objects = [("deployment.yaml", deployment.metadata)]
    objects += [(name, each.metadata) for name, each in _config_maps(parsed).items()]
    domain, job = parsed.get(COMPUTE_DOMAIN, ComputeDomain), parsed.get(BENCHMARK, Job)
    if domain is not None:
        objects.append((COMPUTE_DOMAIN, domain.metadata))
    if job is not None:
        objects.append((BENCHMARK, job.metadata))
    for name, metadata in objects:
        setting = Setting(f"{name}: metadata.namespace", metadata.namespace)
        yield from differs(setting, deployment.metadata.namespace, "that of the deployment")


def images(parsed: Parsed) -> Breaches:
    """Workers run one image, whose release admission can tell."""
    workers = list(roles_of(parsed))
    used = {main.image for _, _, each in workers if (main := main_container(each)) is not None}
    if len(used) > 1:
        place = workers[-1][1]
        yield f"{place}.podTemplate.spec.containers.main.image", "differs from that of prefill"
    for place, component in placed(parsed):
        main = main_container(component)
        if main is None or component.runtime_version_override or image_release(main.image):
            continue
        yield (
            f"{place}.runtimeVersionOverride",
            f"is missing; the tag of {shown(main.image)} tells no release of Dynamo",
        )


def references(parsed: Parsed) -> Breaches:
    """Find names of things that do not exist."""
    maps = {each.metadata.name for each in _config_maps(parsed).values()}
    pods = list(_pods(parsed))
    job = parsed.get(BENCHMARK, Job)
    if job is not None:
        pods.append((JOB_POD, job.spec.template.spec))
    for place, pod in pods:
        volumes = {volume.name for volume in pod.volumes or []}
        claims = {claim.name for claim in pod.resource_claims or []}
        for container in pod.containers:
            yield from _mounts(f"{place}.containers.{container.name}", container, volumes, claims)
        for volume in pod.volumes or []:
            if not volume.model_dump(exclude={"name"}, exclude_none=True):
                yield f"{place}.volumes.{volume.name}", "has no source; it would be empty"
            if volume.persistent_volume_claim is not None:
                claim_name = volume.persistent_volume_claim.claim_name
                field = f"{place}.volumes.{volume.name}.persistentVolumeClaim.claimName"
                if parsed.record is not None:
                    wanted = parsed.record.settings.claim
                    yield from differs(Setting(field, claim_name), wanted, "which is recorded")
            if volume.config_map is not None and volume.config_map.name not in maps:
                field = f"{place}.volumes.{volume.name}.configMap.name"
                yield field, f"{shown(volume.config_map.name)} is no config map of the recipe"
    for role, place, component in roles_of(parsed):
        yield from _engine_mount(parsed, role, place, component)
    yield from _load_url(parsed)


def _mounts(place: str, container: Container, volumes: set[str], claims: set[str]) -> Breaches:
    for mount in container.volume_mounts or []:
        if mount.name not in volumes:
            yield f"{place}.volumeMounts.{mount.name}", "is no volume of the pod"
    for claim in (container.resources.claims or []) if container.resources else []:
        if claim.name not in claims:
            yield f"{place}.resources.claims.{claim.name}", "is no resource claim of the pod"


def _engine_mount(parsed: Parsed, role: RoleName, place: str, component: Component) -> Breaches:
    """Find an engine file that is not the one of its role."""
    main = main_container(component)
    options = parsed.get(parsed.commands.get(role, ""), WorkerOptions)
    config_map = parsed.get(f"{role}-engine.yaml", ConfigMap)
    if main is None or options is None or config_map is None:
        return
    path = options.extra_engine_args
    sources = {
        volume.name: volume.config_map.name
        for volume in component.pod_template.spec.volumes or []
        if volume.config_map is not None
    }
    files = {
        f"{mount.mount_path.rstrip('/')}/{key}"
        for mount in main.volume_mounts or []
        if sources.get(mount.name) == config_map.metadata.name
        for key in config_map.data
    }
    if path not in files:
        yield (
            f"{place}.podTemplate.spec.containers.main.args: --extra-engine-args",
            f"{shown(path)} is not mounted from the config map of {role}",
        )


def _load_url(parsed: Parsed) -> Breaches:
    deployment = deployment_of(parsed)
    frontend = component_of(deployment, "frontend")
    if not parsed.load or frontend is None:
        return
    host = f"{deployment.metadata.name}-{frontend.name.lower()}"
    yield from differs(
        parsed.load["url"], f"http://{host}:{FRONTEND_PORT}", "the frontend's service"
    )


def architecture(parsed: Parsed) -> Breaches:
    """Images are pulled for the processor of the machine."""
    machine = parsed.facts.machine
    if machine is None:
        raise Unreadable
    for place, pod in _pods(parsed):
        labels = pod.node_selector or {}
        setting = Setting(
            f"{place}.nodeSelector.{ARCHITECTURE_LABEL}", labels.get(ARCHITECTURE_LABEL)
        )
        yield from differs(setting, machine.architecture, f"that of {machine.sku}")
    job = parsed.get(BENCHMARK, Job)
    if job is not None:
        labels = job.spec.template.spec.node_selector or {}
        field = f"{JOB_POD}.nodeSelector.{ARCHITECTURE_LABEL}"
        if labels.get(ARCHITECTURE_LABEL, "amd64") not in ("amd64", "arm64"):
            yield field, f"is {shown(labels[ARCHITECTURE_LABEL])}; give amd64 or arm64"


DYNAMO_CHECKS = (
    Check(
        "components",
        "one frontend, one prefill, one decode component, of different names",
        components,
    ),
    Check(
        "containers",
        "every pod has a container named main; workers start their role",
        containers,
    ),
    Check("names", "names leave room for those of the pods", names),
    Check("images", "workers share an image, and admission finds its release", images),
    Check(
        "references",
        "every volume, mount, config map and claim that is named exists",
        references,
    ),
    Check(
        "compute-domain",
        "workers over several servers of an NVLink domain claim its channel, whole servers each",
        compute_domain,
    ),
    Check(
        "topology",
        "what shares memory over NVLink is packed into one NVLink domain, and fits",
        topology,
    ),
    Check("architecture", "pods ask for the processor of the machine", architecture),
)
"""Checks of the objects of Kubernetes."""
