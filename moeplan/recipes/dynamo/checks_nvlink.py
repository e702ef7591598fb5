"""Checks of what shares memory over NVLink: compute domain and packing."""

from __future__ import annotations

from moeplan.recipes.checks import Breaches, differs
from moeplan.recipes.dynamo.files import CLIQUE_LABEL
from moeplan.recipes.dynamo.kubernetes import ClusterTopologyBinding, Component, ComputeDomain
from moeplan.recipes.dynamo.reading import (
    COMPUTE_DOMAIN,
    TOPOLOGY,
    deployment_of,
    main_container,
    roles_of,
)
from moeplan.recipes.parsed import Parsed, Setting, Unreadable
from moeplan.recipes.placement import Layout, lay_out
from moeplan.recipes.recipe import RoleName
from presets import InputError
from presets.errors import shown


def _layout(parsed: Parsed) -> Layout:
    try:
        return lay_out(parsed.recipe)
    except InputError:
        raise Unreadable from None  # the check of nodes tells


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
    for role, place, component in roles_of(parsed):
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
    deployment, layout = deployment_of(parsed), _layout(parsed)
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
            for role, place, each in roles_of(parsed)
            if 1 < layout.spread[role].nodes <= parsed.recipe.machine.nodes_per_domain
        ]
    for where, inside in packed:
        if inside is None:
            yield where, "is missing; pods would spread over NVLink domains"
        elif domains.get(inside) != CLIQUE_LABEL:
            yield where, f"{shown(inside)} is no level of topology.yaml by {CLIQUE_LABEL}"
