"""Checks of a recipe file of srt-slurm."""

from __future__ import annotations

from moeplan.recipes.checks import Breaches, Check, differs
from moeplan.recipes.dynamo.files import image_release
from moeplan.recipes.parsed import Parsed, Setting
from moeplan.recipes.recipe import ROLES
from moeplan.recipes.slurm.files import RECIPE, role_nodes
from moeplan.recipes.slurm.reading import Job, JobResources
from presets.deployment_tools import load_dynamo


def job(parsed: Parsed) -> Breaches:
    """Find servers of a Slurm job that its workers do not fill, or do not fit."""
    content = parsed.read(RECIPE, Job)
    resources, place = content.resources, f"{RECIPE}: resources"
    if parsed.record is None:
        yield from _room(place, resources)
        return
    recipe = parsed.record
    machine = recipe.machine
    node = Setting(f"{place}.gpus_per_node", resources.gpus_per_node)
    yield from differs(node, machine.gpus_per_node, f"as {machine.sku} has")
    yield from differs(Setting(f"{place}.gpu_type", resources.gpu_type), machine.sku, "the machine")
    precision = Setting(f"{RECIPE}: model.precision", content.model.precision)
    yield from differs(precision, recipe.served.precision, "as predicted")
    for role in ROLES:
        workers, gpus = resources.workers(role), resources.gpus(role)
        nodes = Setting(f"{place}.{role}_nodes", getattr(resources, f"{role}_nodes"))
        wanted = role_nodes(workers, gpus, machine.gpus_per_node) if workers else 0
        yield from differs(nodes, wanted, f"for {workers} x {gpus} GPUs")


def _room(place: str, resources: JobResources) -> Breaches:
    """Find more GPUs of workers than the servers have; decode may share those of prefill."""
    nodes = {role: getattr(resources, f"{role}_nodes") for role in ROLES}
    if None in nodes.values():
        return  # one kind of worker for both roles
    asked = {role: resources.workers(role) * resources.gpus(role) for role in ROLES}
    shared = nodes["decode"] == 0
    for role in ROLES:
        room = nodes[role] * resources.gpus_per_node
        wanted = sum(asked.values()) if shared else asked[role]
        if wanted > room and not (shared and role == "decode"):
            yield (
                f"{place}.{role}_nodes",
                f"is {nodes[role]}, {room} GPUs; the workers ask for {wanted}",
            )


def runtime(parsed: Parsed) -> Breaches:
    """Find a Dynamo that is installed over the one that the image holds."""
    content = parsed.read(RECIPE, Job)
    image, installed = content.model.container, content.dynamo.installed
    held = image_release(image)
    if content.frontend.type != "dynamo" or installed is None or held is None:
        return
    if image.startswith(load_dynamo().image.rpartition("/")[0]) and installed != held:
        yield (
            f"{RECIPE}: dynamo",
            f"installs {installed} over the {held} of the image; give install: false",
        )


SLURM_CHECKS = (
    Check("job", "the servers of the job are those that its workers fill", job),
    Check(
        "runtime",
        "no other release of Dynamo is installed over that of the image",
        runtime,
        warns=True,
    ),
)
"""Checks of srtctl's recipe file."""
