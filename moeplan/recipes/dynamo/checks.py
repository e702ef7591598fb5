"""Checks of the objects of a deployment of Dynamo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from moeplan.recipes.checks import Breaches, Check, differs
from moeplan.recipes.dynamo.files import (
    ARCHITECTURE_LABEL,
    CLIQUE_LABEL,
    FRONTEND,
    FRONTEND_PORT,
    GPU,
    WORKER,
    WORKER_PORT,
    WorkerOptions,
    image_release,
)
from moeplan.recipes.dynamo.kubernetes import (
    ClusterTopologyBinding,
    Component,
    ComputeDomain,
    ConfigMap,
    Container,
    DynamoGraphDeployment,
    Job,
    PodSpec,
)
from moeplan.recipes.dynamo.reading import (
    BENCHMARK,
    COMPUTE_DOMAIN,
    DEPLOYMENT,
    TOPOLOGY,
    component_of,
    component_place,
    main_container,
)
from moeplan.recipes.parsed import Parsed, Setting, Unreadable
from moeplan.recipes.placement import Layout, lay_out
from moeplan.recipes.recipe import ROLES, RoleName
from presets import InputError
from presets.engines import load_dynamo
from presets.errors import shown

JOB_POD = "benchmark.yaml: spec.template.spec"
KINDS: tuple[Literal["frontend", "prefill", "decode"], ...] = ("frontend", *ROLES)


def _deployment(parsed: Parsed) -> DynamoGraphDeployment:
    return parsed.read(DEPLOYMENT, DynamoGraphDeployment)


def _config_maps(parsed: Parsed) -> dict[str, ConfigMap]:
    names = [f"{role}-engine.yaml" for role in ROLES]
    return {name: found for name in names if (found := parsed.get(name, ConfigMap)) is not None}


def _layout(parsed: Parsed) -> Layout:
    try:
        return lay_out(parsed.recipe)
    except InputError:
        raise Unreadable from None  # the check of nodes tells


def _placed(parsed: Parsed) -> Iterator[tuple[str, Component]]:
    deployment = _deployment(parsed)
    for component in deployment.spec.components:
        yield component_place(deployment, component), component


def _pods(parsed: Parsed) -> Iterator[tuple[str, PodSpec]]:
    for place, component in _placed(parsed):
        yield f"{place}.podTemplate.spec", component.pod_template.spec


def _roles(parsed: Parsed) -> Iterator[tuple[RoleName, str, Component]]:
    deployment = _deployment(parsed)
    for role in ROLES:
        component = component_of(deployment, role)
        if component is not None:
            yield role, component_place(deployment, component), component


def components(parsed: Parsed) -> Breaches:
    """One component of each type, under different names."""
    deployment = _deployment(parsed)
    kinds: list[str] = [component.type for component in deployment.spec.components]
    for kind in KINDS:
        if kinds.count(kind) != 1:
            yield (
                "deployment.yaml: spec.components",
                f"{kinds.count(kind)} are of type {kind}; there must be 1",
            )
    seen: set[str] = set()
    for place, component in _placed(parsed):
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
    for place, component in _placed(parsed):
        where = f"{place}.podTemplate.spec.containers"
        main = main_container(component)
        if main is None:
            yield where, "none is named main"
        elif main.command != _program(component):
            yield f"{where}.main.command", f"must be {' '.join(_program(component))}"
    for role, place, component in _roles(parsed):
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
    deployment = _deployment(parsed)
    most = int(load_dynamo().limits["combined_name"].value)
    own = len(deployment.metadata.name)
    for place, component in _placed(parsed):
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
    workers = list(_roles(parsed))
    used = {main.image for _, _, each in workers if (main := main_container(each)) is not None}
    if len(used) > 1:
        place = workers[-1][1]
        yield f"{place}.podTemplate.spec.containers.main.image", "differs from that of prefill"
    for place, component in _placed(parsed):
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
    for role, place, component in _roles(parsed):
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
    deployment = _deployment(parsed)
    frontend = component_of(deployment, "frontend")
    if not parsed.load or frontend is None:
        return
    host = f"{deployment.metadata.name}-{frontend.name.lower()}"
    yield from differs(
        parsed.load["url"], f"http://{host}:{FRONTEND_PORT}", "the frontend's service"
    )


def compute_domain(parsed: Parsed) -> Breaches:
    """Channels are claimed where, and only where, memory is shared over NVLink."""
    layout, domain = _layout(parsed), parsed.get(COMPUTE_DOMAIN, ComputeDomain)
    if layout.claiming and domain is None:
        yield (
            "compute-domain.yaml",
            "is missing; workers on several servers of an NVLink domain need it",
        )
    if domain is not None:
        if not layout.claiming:
            yield "compute-domain.yaml", "is for workers on several servers of an NVLink domain"
        yield from differs(
            Setting("compute-domain.yaml: spec.numNodes", domain.spec.num_nodes),
            0,
            "so that the domain follows its pods",
        )
    for role, place, component in _roles(parsed):
        yield from _claims(parsed, role, f"{place}.podTemplate.spec", component)


def _claims(parsed: Parsed, role: RoleName, place: str, component: Component) -> Breaches:
    pod, machine = component.pod_template.spec, parsed.recipe.machine
    domain = parsed.get(COMPUTE_DOMAIN, ComputeDomain)
    template = domain.spec.channel.resource_claim_template.name if domain else None
    main = main_container(component)
    used = (
        {claim.name for claim in (main.resources.claims or [])}
        if main and main.resources
        else set()
    )
    wanted = role in _layout(parsed).claiming
    claimed = [claim for claim in pod.resource_claims or [] if claim.name in used]
    if wanted and not claimed:
        yield f"{place}.resourceClaims", "claims no channel of the compute domain"
    for claim in pod.resource_claims or []:
        if claim.resource_claim_template_name != template:
            yield (
                f"{place}.resourceClaims.{claim.name}.resourceClaimTemplateName",
                f"{shown(claim.resource_claim_template_name)} is no template of the recipe; "
                f"the compute domain makes {shown(template)}",
            )
        worker = parsed.workers.get(role)
        gpus = worker.gpus_per_node if worker else None
        if gpus is not None and gpus.value != machine.gpus_per_node:
            yield (
                gpus.field,
                f"is {gpus.value}; a pod that claims a channel takes its whole server of "
                f"{machine.gpus_per_node} GPUs",
            )


def topology(parsed: Parsed) -> Breaches:
    """Find what shares memory over NVLink and is not packed."""
    deployment, layout = _deployment(parsed), _layout(parsed)
    binding = parsed.get(TOPOLOGY, ClusterTopologyBinding)
    constraint = deployment.spec.topology_constraint
    field = "deployment.yaml: spec.topologyConstraint"
    if layout.pack is None:
        if constraint is not None:
            yield field, "packs by NVLink domain what does not share one"
        return
    if constraint is None:
        yield field, "is missing; nothing else keeps the pods in one NVLink domain"
        return
    if binding is None:
        yield "topology.yaml", "is missing; it binds NVLink domains to a label of the nodes"
        return
    name = Setting(f"{field}.clusterTopologyName", constraint.cluster_topology_name)
    yield from differs(name, binding.metadata.name, "the name in topology.yaml")
    domains = {level.domain: level.key for level in binding.spec.levels}
    if CLIQUE_LABEL not in domains.values():
        yield "topology.yaml: spec.levels", f"no level has the key {CLIQUE_LABEL}"
    packed = [(f"{field}.packDomain", constraint.pack_domain)]
    if layout.pack == "worker":
        packed = [
            (f"{place}.topologyConstraint.packDomain", each.topology_constraint.pack_domain)
            if each.topology_constraint
            else (f"{place}.topologyConstraint", None)
            for role, place, each in _roles(parsed)
            if 1 < layout.spread[role].nodes <= parsed.recipe.machine.nodes_per_domain
        ]
    for where, inside in packed:
        if inside is None:
            yield where, "is missing; pods would spread over NVLink domains"
        elif domains.get(inside) != CLIQUE_LABEL:
            yield where, f"{shown(inside)} is no level of topology.yaml by {CLIQUE_LABEL}"


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
