"""The files of a deployment of Dynamo on Kubernetes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from moeplan.recipes.benchmark import AIPERF_PROFILE, RESULT, aiperf_options
from moeplan.recipes.command_line import Count, Options, Text
from moeplan.recipes.dynamo import kubernetes as k8s
from moeplan.recipes.markdown import block, code
from moeplan.recipes.placement import Layout, lay_out
from moeplan.recipes.recipe import ROLES, Recipe, RoleName
from moeplan.recipes.trtllm.engine import engine_files
from moeplan.recipes.yaml_text import yaml_text
from presets.deployment_tools import load_dynamo
from presets.engines import RELEASE

MODELS, ENGINE_FOLDER = "/models", "/etc/moeplan"
CHANNEL = "compute-domain-channel"
CLIQUE_LABEL = "nvidia.com/gpu.clique"
GPU = "nvidia.com/gpu"
ARCHITECTURE_LABEL = "kubernetes.io/arch"
PACK_DOMAIN = "nvlink-domain"
TOPOLOGY_NAME = "nvlink-domains"
FRONTEND, WORKER = ["python3", "-m", "dynamo.frontend"], ["python3", "-m", "dynamo.trtllm"]
FRONTEND_PORT = 8000
WORKER_PORT = 9090
RESULTS = "/results"

WORKER_ENV = {
    "TLLM_LOG_LEVEL": "INFO",
    "TRTLLM_ENABLE_PDL": "1",
    "TRTLLM_SERVER_DISABLE_GC": "1",
    "TRTLLM_WORKER_DISABLE_GC": "1",
    "NCCL_GRAPH_MIXING_SUPPORT": "0",
}
"""What measured recipes set for workers (NVIDIA/srt-slurm, recipes/trtllm)."""

NVLINK_ENV = {"NCCL_CUMEM_ENABLE": "1", "NCCL_MNNVL_ENABLE": "1"}
"""What a worker on several servers of an NVLink domain needs besides (Dynamo GB200 recipe)."""

BENCHMARK_SCRIPT = f'pip install --quiet "$0" && aiperf "$@" && cat {RESULTS}/{AIPERF_PROFILE}'
"""Options come as words of their own, never as part of this text."""


class FrontendOptions(Options):
    """Options of ``dynamo.frontend`` that a recipe may hold."""

    http_port: Annotated[Count | None, Field(alias="--http-port")] = None
    router_mode: Annotated[Text | None, Field(alias="--router-mode")] = None


class WorkerOptions(Options):
    """Options of ``python3 -m dynamo.trtllm``."""

    model_path: Annotated[Text, Field(alias="--model-path")]
    served_model_name: Annotated[Text, Field(alias="--served-model-name")]
    extra_engine_args: Annotated[Text, Field(alias="--extra-engine-args")]
    disaggregation_mode: Annotated[
        Literal["prefill", "decode", "prefill_and_decode", "encode"],
        Field(alias="--disaggregation-mode"),
    ]


def dynamo_files(recipe: Recipe) -> dict[str, str]:
    """Write the objects of a deployment, each in its file.

    Raises
    ------
    InputError
        Where a worker does not fill whole servers, or the engine cannot serve the experts.
    """
    layout = lay_out(recipe)
    engines = engine_files(recipe)
    objects: dict[str, k8s.KubernetesPart] = {}
    for role in ROLES:
        text = yaml_text(engines[role].content())
        objects[f"{role}-engine.yaml"] = k8s.ConfigMap(
            api_version="v1",
            kind="ConfigMap",
            metadata=_metadata(recipe, f"{recipe.settings.name}-{role}"),
            data={f"{role}.yaml": text},
        )
    if layout.claiming:
        objects["compute-domain.yaml"] = _compute_domain(recipe)
    if layout.pack:
        objects["topology.yaml"] = _topology()
    objects["deployment.yaml"] = _deployment(recipe, layout)
    objects["benchmark.yaml"] = _benchmark(recipe)
    return {name: yaml_text(each.content()) for name, each in objects.items()}


def _metadata(recipe: Recipe, name: str) -> k8s.Metadata:
    return k8s.Metadata(name=name, namespace=recipe.settings.namespace)


def _compute_domain(recipe: Recipe) -> k8s.ComputeDomain:
    template = k8s.TemplateName(name=f"{recipe.settings.name}-channel")
    return k8s.ComputeDomain(
        api_version="resource.nvidia.com/v1beta1",
        kind="ComputeDomain",
        metadata=_metadata(recipe, recipe.settings.name),
        # 0 nodes: the domain follows its pods. The driver makes the template of the claim.
        spec=k8s.ComputeDomainSpec(
            num_nodes=0, channel=k8s.Channel(resource_claim_template=template)
        ),
    )


def _topology() -> k8s.ClusterTopologyBinding:
    level = k8s.TopologyLevel(domain=PACK_DOMAIN, key=CLIQUE_LABEL)
    return k8s.ClusterTopologyBinding(
        api_version="grove.io/v1alpha1",
        kind="ClusterTopologyBinding",
        metadata=k8s.Metadata(name=TOPOLOGY_NAME),
        spec=k8s.TopologySpec(levels=[level]),
    )


def _deployment(recipe: Recipe, layout: Layout) -> k8s.DynamoGraphDeployment:
    constraint = None
    if layout.pack:
        inside = PACK_DOMAIN if layout.pack == "deployment" else None
        constraint = k8s.GraphPackConstraint(
            cluster_topology_name=TOPOLOGY_NAME, pack_domain=inside
        )
    return k8s.DynamoGraphDeployment(
        api_version="nvidia.com/v1beta1",
        kind="DynamoGraphDeployment",
        metadata=_metadata(recipe, recipe.settings.name),
        spec=k8s.GraphSpec(
            backend_framework="trtllm",
            topology_constraint=constraint,
            components=[_frontend(recipe), *(_worker(recipe, layout, role) for role in ROLES)],
        ),
    )


def _frontend(recipe: Recipe) -> k8s.Component:
    main = k8s.Container(
        name="main",
        image=recipe.settings.image,
        command=FRONTEND,
        args=FrontendOptions(http_port=FRONTEND_PORT).words(),
        env_from=_token(recipe),
        volume_mounts=[_models_mount()],
    )
    return k8s.Component(
        name="frontend",
        type="frontend",
        replicas=1,
        runtime_version_override=_runtime_version(recipe),
        pod_template=k8s.PodTemplate(spec=_pod(recipe, main, [_models_volume(recipe)])),
    )


def _worker(recipe: Recipe, layout: Layout, role: RoleName) -> k8s.Component:
    spread, claims = layout.spread[role], role in layout.claiming
    main = k8s.Container(
        name="main",
        image=recipe.settings.image,
        command=WORKER,
        args=[k8s.literal(word) for word in _worker_options(recipe, role).words()],
        env=[
            k8s.EnvVar(name=name, value=value)
            for name, value in (WORKER_ENV | (NVLINK_ENV if claims else {})).items()
        ],
        env_from=_token(recipe),
        resources=k8s.Resources(
            limits={GPU: str(spread.gpus_per_node)},
            claims=[k8s.ClaimRef(name=CHANNEL)] if claims else None,
        ),
        volume_mounts=[
            _models_mount(),
            k8s.VolumeMount(name="engine", mount_path=ENGINE_FOLDER, read_only=True),
        ],
        # Hours of loading from slow storage must not look like a failure.
        startup_probe=k8s.Probe(
            http_get=k8s.HttpGet(path="/live", port=WORKER_PORT),
            period_seconds=10,
            timeout_seconds=5,
            failure_threshold=720,
        ),
    )
    volumes = [
        _models_volume(recipe),
        k8s.Volume(
            name="engine", config_map=k8s.ConfigMapVolume(name=f"{recipe.settings.name}-{role}")
        ),
    ]
    packed = layout.pack == "worker" and 1 < spread.nodes <= recipe.machine.nodes_per_domain
    return k8s.Component(
        name=role,
        type=role,
        replicas=recipe.workers(role),
        multinode=k8s.Multinode(node_count=spread.nodes) if spread.nodes > 1 else None,
        topology_constraint=k8s.PackConstraint(pack_domain=PACK_DOMAIN) if packed else None,
        runtime_version_override=_runtime_version(recipe),
        shared_memory_size="80Gi",
        pod_template=k8s.PodTemplate(spec=_pod(recipe, main, volumes, _claim(recipe, claims))),
    )


def _worker_options(recipe: Recipe, role: RoleName) -> WorkerOptions:
    return WorkerOptions(
        model_path=recipe.settings.model_path,
        served_model_name=recipe.settings.served_name,
        extra_engine_args=f"{ENGINE_FOLDER}/{role}.yaml",
        disaggregation_mode=role,
    )


def _claim(recipe: Recipe, claims: bool) -> list[k8s.ResourceClaim] | None:
    if not claims:
        return None
    template = f"{recipe.settings.name}-channel"
    return [k8s.ResourceClaim(name=CHANNEL, resource_claim_template_name=template)]


def _pod(
    recipe: Recipe,
    main: k8s.Container,
    volumes: list[k8s.Volume],
    resource_claims: list[k8s.ResourceClaim] | None = None,
    **fields: Any,
) -> k8s.PodSpec:
    settings = recipe.settings
    secret = settings.pull_secret
    return k8s.PodSpec(
        node_selector={ARCHITECTURE_LABEL: recipe.machine.architecture, **settings.node_selector},
        image_pull_secrets=[k8s.SecretRef(name=secret)] if secret else None,
        resource_claims=resource_claims,
        containers=[main],
        volumes=volumes,
        **fields,
    )


def _token(recipe: Recipe) -> list[k8s.EnvFrom] | None:
    secret = recipe.settings.token_secret
    return [k8s.EnvFrom(secret_ref=k8s.SecretRef(name=secret))] if secret else None


def _models_mount() -> k8s.VolumeMount:
    return k8s.VolumeMount(name="models", mount_path=MODELS)


def _models_volume(recipe: Recipe) -> k8s.Volume:
    claim = k8s.ClaimVolume(claim_name=recipe.settings.claim)
    return k8s.Volume(name="models", persistent_volume_claim=claim)


def _runtime_version(recipe: Recipe) -> str | None:
    """Release of Dynamo for admission, where the tag of the image does not tell it."""
    if image_release(recipe.settings.image):
        return None
    dynamo = load_dynamo()
    shipping = dynamo.shipping("trtllm", recipe.engine_release)
    return shipping.name if shipping else dynamo.default_release


def image_release(image: str) -> str | None:
    """Find the release in the tag of an image.

    Examples
    --------
    >>> image_release("nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime:1.6.1"), image_release("a:b")
    ('1.6.1', None)
    """
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    match = RELEASE.match(tag)
    return ".".join(match.group(1, 2, 3)) if match else None


def _benchmark(recipe: Recipe) -> k8s.Job:
    url = f"http://{recipe.settings.name}-frontend:{FRONTEND_PORT}"
    words = ["profile", *aiperf_options(recipe, url, RESULTS).words()]
    main = k8s.Container(
        name="aiperf",
        image="python:3.12-slim",
        command=["/bin/sh", "-c", BENCHMARK_SCRIPT, f"aiperf=={load_dynamo().aiperf_release}"],
        args=[k8s.literal(word) for word in words],
        env_from=_token(recipe),
        volume_mounts=[_models_mount(), k8s.VolumeMount(name="results", mount_path=RESULTS)],
    )
    volumes = [_models_volume(recipe), k8s.Volume(name="results", empty_dir={})]
    pod = _pod(recipe, main, volumes, restart_policy="Never")
    return k8s.Job(
        api_version="batch/v1",
        kind="Job",
        metadata=_metadata(recipe, f"{recipe.settings.name}-benchmark"),
        spec=k8s.JobSpec(backoff_limit=0, template=k8s.PodTemplate(spec=pod)),
    )


def dynamo_guide(recipe: Recipe) -> list[str]:
    """Say how the objects are used."""
    name, layout = recipe.settings.name, lay_out(recipe)
    space = f" -n {recipe.settings.namespace}" if recipe.settings.namespace else ""
    kubectl = f"kubectl{space}"
    names = [f"{role}-engine.yaml" for role in ROLES]
    names += ["compute-domain.yaml"] if layout.claiming else []
    before = []
    if layout.pack:
        before = ["# once per cluster, by its administrator", "kubectl apply -f topology.yaml"]
    apply = f"{kubectl} apply {' '.join(f'-f {each}' for each in [*names, 'deployment.yaml'])}"
    needs = (
        f"The cluster needs Dynamo {_dynamo_release(recipe)} with Grove, the storage claim "
        f"{code(recipe.settings.claim)} with the checkpoint at {code(recipe.settings.model_path)} "
        f"(mounted at /models)"
    )
    needs += ", and the DRA driver for GPUs (ComputeDomain)." if layout.claiming else "."
    if set(layout.claiming) != set(ROLES):
        needs += (
            " Caches move by NIC: add the RDMA resource of the cluster, which differs from one to "
            "the next, to the limits of the workers."
        )
    job = f"{name}-benchmark"
    return [
        f"## Apply\n\n{needs}\n\n" + block(*before, apply),
        "## Is it healthy\n\n"
        + block(
            f"{kubectl} wait dynamographdeployment/{name} --for=condition=Ready --timeout=2h",
            f"{kubectl} get pods -l nvidia.com/dynamo-graph-deployment-name={name} -o wide",
            f"{kubectl} port-forward service/{name}-frontend {FRONTEND_PORT}:{FRONTEND_PORT} &",
            f"curl -s localhost:{FRONTEND_PORT}/health",
        ),
        "## Benchmark\n\n"
        + block(
            f"{kubectl} apply -f benchmark.yaml",
            f"{kubectl} wait job/{job} --for=condition=Complete --timeout=2h",
            f"{kubectl} logs job/{job} | sed -n '/^{{/,$p' > {RESULT}",
        ),
    ]


def _dynamo_release(recipe: Recipe) -> str:
    return image_release(recipe.settings.image) or load_dynamo().default_release
