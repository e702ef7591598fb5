"""Kubernetes objects of a recipe, as far as recipes use them; unknown fields are errors.

Names follow the API in camel case. What an object only carries on, such as an affinity, is not
looked into.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

Text = Annotated[str, StringConstraints(min_length=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=1_000_000)]
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?([KMGTPE]i?|[kmun])?$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
ComponentName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?$")
]
Domain = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]
Opaque = dict[str, Any]


class KubernetesPart(BaseModel):
    """Base of all objects: frozen, strict, no unknown field."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )

    def content(self) -> dict[str, Any]:
        """Fields as the API names them; what is not set stays out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Metadata(KubernetesPart):
    """Name and labels of an object."""

    name: Name
    namespace: Name | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class PodMetadata(KubernetesPart):
    """Labels of a pod."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class ConfigMap(KubernetesPart):
    """Text files that pods mount."""

    api_version: Literal["v1"]
    kind: Literal["ConfigMap"]
    metadata: Metadata
    data: dict[str, str]


class TemplateName(KubernetesPart):
    """Name of the claim template that a driver makes."""

    name: Name


class Channel(KubernetesPart):
    """Channel of a compute domain."""

    resource_claim_template: TemplateName
    allocation_mode: Literal["All", "Single"] | None = None


class ComputeDomainSpec(KubernetesPart):
    """What a compute domain asks for; 0 nodes lets it follow its pods."""

    num_nodes: CountOrZero
    channel: Channel


class ComputeDomain(KubernetesPart):
    """Servers whose pods share memory over NVLink."""

    api_version: Literal["resource.nvidia.com/v1beta1"]
    kind: Literal["ComputeDomain"]
    metadata: Metadata
    spec: ComputeDomainSpec


class TopologyLevel(KubernetesPart):
    """A domain, and the node label that tells it."""

    domain: Domain
    key: Text


class TopologySpec(KubernetesPart):
    """Levels, the broadest first."""

    levels: Annotated[list[TopologyLevel], Field(min_length=1)]
    scheduler_topology_bindings: list[Opaque] | None = None


class ClusterTopologyBinding(KubernetesPart):
    """What the scheduler packs by."""

    api_version: Literal["grove.io/v1alpha1"]
    kind: Literal["ClusterTopologyBinding"]
    metadata: Metadata
    spec: TopologySpec


class EnvVar(KubernetesPart):
    """A variable of the environment; its value is text."""

    name: Text
    value: str | None = None
    value_from: Opaque | None = None


class SecretRef(KubernetesPart):
    """A secret by name."""

    name: Name
    optional: bool | None = None


class EnvFrom(KubernetesPart):
    """Variables that a secret or a config map holds."""

    secret_ref: SecretRef | None = None
    config_map_ref: SecretRef | None = None


class ClaimRef(KubernetesPart):
    """A claim of the pod that a container uses."""

    name: Text
    request: Text | None = None


class Resources(KubernetesPart):
    """What a container asks for."""

    limits: dict[str, Quantity] | None = None
    requests: dict[str, Quantity] | None = None
    claims: list[ClaimRef] | None = None


class VolumeMount(KubernetesPart):
    """Where a volume appears in a container."""

    name: Text
    mount_path: Text
    read_only: bool | None = None
    sub_path: Text | None = None


class HttpGet(KubernetesPart):
    """A request that tells whether a container is well."""

    path: Text
    port: Count | Text
    scheme: Literal["HTTP", "HTTPS"] | None = None


class Probe(KubernetesPart):
    """How often a container is asked, and how often it may fail."""

    http_get: HttpGet | None = None
    exec: Opaque | None = None
    tcp_socket: Opaque | None = None
    initial_delay_seconds: CountOrZero | None = None
    period_seconds: Count | None = None
    timeout_seconds: Count | None = None
    success_threshold: Count | None = None
    failure_threshold: Count | None = None


class Container(KubernetesPart):
    """One container of a pod."""

    name: Name
    image: Text
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    working_dir: Text | None = None
    env: list[EnvVar] | None = None
    env_from: list[EnvFrom] | None = None
    ports: list[Opaque] | None = None
    resources: Resources | None = None
    volume_mounts: list[VolumeMount] | None = None
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    security_context: Opaque | None = None


class ConfigMapVolume(KubernetesPart):
    """A config map as a volume."""

    name: Name
    items: list[Opaque] | None = None
    optional: bool | None = None


class ClaimVolume(KubernetesPart):
    """A storage claim as a volume."""

    claim_name: Name
    read_only: bool | None = None


class Volume(KubernetesPart):
    """A volume of a pod."""

    name: Name
    config_map: ConfigMapVolume | None = None
    persistent_volume_claim: ClaimVolume | None = None
    empty_dir: Opaque | None = None
    host_path: Opaque | None = None
    secret: Opaque | None = None


class ResourceClaim(KubernetesPart):
    """A claim of a pod, and the template that it comes from."""

    name: Text
    resource_claim_template_name: Name | None = None
    resource_claim_name: Name | None = None


class PodSpec(KubernetesPart):
    """What runs in a pod, and where."""

    restart_policy: Literal["Always", "OnFailure", "Never"] | None = None
    node_selector: dict[str, str] | None = None
    affinity: Opaque | None = None
    tolerations: list[Opaque] | None = None
    image_pull_secrets: list[SecretRef] | None = None
    service_account_name: Name | None = None
    scheduler_name: Name | None = None
    priority_class_name: Name | None = None
    runtime_class_name: Name | None = None
    security_context: Opaque | None = None
    termination_grace_period_seconds: CountOrZero | None = None
    host_network: bool | None = None
    host_ipc: Annotated[bool | None, Field(alias="hostIPC")] = None
    resource_claims: list[ResourceClaim] | None = None
    init_containers: list[Container] | None = None
    containers: Annotated[list[Container], Field(min_length=1)]
    volumes: list[Volume] | None = None


class PodTemplate(KubernetesPart):
    """A pod as its owner makes it."""

    metadata: PodMetadata | None = None
    spec: PodSpec


class Multinode(KubernetesPart):
    """A worker over several servers, one pod on each."""

    node_count: Annotated[int, Field(ge=2, le=10_000)]


class PackConstraint(KubernetesPart):
    """What one component is packed into."""

    pack_domain: Domain


class GraphPackConstraint(KubernetesPart):
    """What the deployment is packed into, and by which topology."""

    cluster_topology_name: Name
    pack_domain: Domain | None = None


class Component(KubernetesPart):
    """One component of a deployment: the frontend, or the workers of a role."""

    name: ComponentName
    type: Literal["frontend", "worker", "prefill", "decode", "planner", "epp"]
    replicas: CountOrZero
    multinode: Multinode | None = None
    topology_constraint: PackConstraint | None = None
    runtime_version_override: Annotated[
        str | None, StringConstraints(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}$")
    ] = None
    shared_memory_size: Quantity | None = None
    min_available: Count | None = None
    scaling_adapter: Opaque | None = None
    pod_template: PodTemplate


class GraphSpec(KubernetesPart):
    """Components that serve one model together."""

    backend_framework: Literal["trtllm", "sglang", "vllm"]
    topology_constraint: GraphPackConstraint | None = None
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    priority_class_name: Name | None = None
    env: list[EnvVar] | None = None
    components: Annotated[list[Component], Field(min_length=1, max_length=25)]


class DynamoGraphDeployment(KubernetesPart):
    """A deployment of Dynamo."""

    api_version: Literal["nvidia.com/v1beta1"]
    kind: Literal["DynamoGraphDeployment"]
    metadata: Metadata
    spec: GraphSpec


class JobSpec(KubernetesPart):
    """Pods that run to their end."""

    backoff_limit: CountOrZero | None = None
    completions: Count | None = None
    parallelism: Count | None = None
    active_deadline_seconds: Count | None = None
    ttl_seconds_after_finished: CountOrZero | None = None
    template: PodTemplate


class Job(KubernetesPart):
    """A job."""

    api_version: Literal["batch/v1"]
    kind: Literal["Job"]
    metadata: Metadata
    spec: JobSpec


def literal(text: str) -> str:
    """Protect text from the expansion of variables in arguments and values.

    Examples
    --------
    >>> literal("$(HOME)/x"), plain("$$(HOME)/x")
    ('$$(HOME)/x', '$(HOME)/x')
    """
    return text.replace("$", "$$")


def plain(text: str) -> str:
    """Undo `literal`."""
    return text.replace("$$", "$")
