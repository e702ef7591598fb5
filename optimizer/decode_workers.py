"""Decode workers as the cost model reads them, one entry for each shape, before any batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from costmodel.aggregated import interleaved
from costmodel.anchors import anchor_of
from costmodel.calibration import Calibration
from costmodel.counts import machine_arrays, model_arrays, path_arrays
from costmodel.deployments import traits_of
from costmodel.deviations import Kinds, kinds_of
from costmodel.engine_rules import exchange_of
from costmodel.inputs import (
    FloatArray,
    MachineArrays,
    ModelArrays,
    PathArrays,
    WorkerArrays,
    stack,
)
from costmodel.memory import batch_limit
from costmodel.network import Interleaved
from costmodel.prefill import Prefill, prefill_worker
from costmodel.resolve import resolve
from costmodel.results import Scenario
from costmodel.workload import Workload
from optimizer.inside import case_of_workers
from optimizer.links import apart_by_links, links_of
from optimizer.problem import Problem
from optimizer.space import Shape, allowed_shapes
from presets import ClusterSpec, InputError
from presets.drafts import Draft
from topology import GroupPath, group_table


class Facts(NamedTuple):
    """One machine and one model at one precision, as the cost model reads them."""

    machine: MachineArrays
    model: ModelArrays
    frontends: FloatArray  # that route requests
    draft: Draft


@dataclass(frozen=True, eq=False)
class DecodeWorkers:
    """Every allowed shape of decode worker on a cluster, and what it takes to rate it.

    Attributes
    ----------
    shapes : tuple of Shape
    workers : WorkerArrays
        One entry for each shape, as all below.
    paths : PathArrays
        The links between a worker's GPUs.
    facts : Facts
        The machine and the model.
    kinds : Kinds
        Traits that constants depend on.
    constants : Calibration
    memory : array of float
        Requests whose cache fits, per rank (dp) or worker (tp). [1]
    mixed : Interleaved or None
        What prefill does to the steps of workers that do both; None where workers only decode.
    prefill : Prefill or None
        What workers that do both do as prefill workers.
    """

    shapes: tuple[Shape, ...]
    workers: WorkerArrays
    paths: PathArrays
    facts: Facts
    kinds: Kinds
    constants: Calibration
    memory: FloatArray
    mixed: Interleaved | None
    prefill: Prefill | None


def decode_workers(problem: Problem) -> DecodeWorkers:
    """Gather every decode worker of the space that breaks no rule.

    Raises
    ------
    InputError
        If no decode worker of the space runs on the cluster.
    """
    space, scenario, cluster = problem.space, problem.scenario, problem.cluster
    facts = facts_of(scenario, cluster)
    shapes = allowed_shapes(space, scenario, cluster)
    links = links_of(problem)
    known = None if links is None else links.decode
    shapes = apart_by_links(shapes, known)
    if not shapes:
        raise InputError(
            f"decode_gpus {space.decode_gpus}: no decode worker of the space runs "
            f"{scenario.model.name} on {cluster.gpus} GPUs of {cluster.sku}; give more gpus"
        )
    workers = _workers(shapes, problem)
    kinds = kinds_of(
        [
            traits_of(scenario, cluster, each.attention, each.mtp_depth, scenario.drafting)
            for each in shapes
        ]
    )
    constants = resolve(problem.calibration, kinds)
    workload = scenario.workload
    limits = batch_limit(facts.machine, facts.model, workers, workload, constants)
    paths = paths_of(cluster, shapes, known)
    both = _both(facts, workers, paths, workload, constants) if problem.is_aggregated else None
    return DecodeWorkers(
        shapes=tuple(shapes),
        workers=workers,
        paths=paths,
        facts=facts,
        kinds=kinds,
        constants=constants,
        memory=np.broadcast_to(limits, len(shapes)),
        mixed=None if both is None else both[0],
        prefill=None if both is None else both[1],
    )


def facts_of(scenario: Scenario, cluster: ClusterSpec) -> Facts:
    """Arrays of a scenario's model and a cluster's machine, each field of shape ``()``."""
    return Facts(
        machine_arrays(cluster.hardware(), scenario.model, scenario.precision),
        model_arrays(scenario.model, scenario.precision, scenario.drafting),
        np.asarray(float(scenario.frontends)),
        scenario.drafting,
    )


def paths_of(
    cluster: ClusterSpec, shapes: Sequence[Shape], known: dict[int, list[GroupPath]] | None
) -> PathArrays:
    """Links of workers, one entry each: by size alone, or those `known` of it."""
    if known is None:
        table = group_table(cluster, [shape.gpus for shape in shapes])
        known = {size: [path] for size, path in table.items()}
    arrays = {size: [path_arrays(path) for path in paths] for size, paths in known.items()}
    return stack([arrays[shape.gpus][shape.links] for shape in shapes])


def _workers(shapes: list[Shape], problem: Problem) -> WorkerArrays:
    scenario, own = problem.scenario, problem.calibration.anchors
    gpus = np.array([float(shape.gpus) for shape in shapes])
    depths = {shape.mtp_depth for shape in shapes} - {0}
    accepted = scenario.acceptance_of(scenario.drafting) if depths else None
    kept = {0: 0.0} | {depth: accepted.kept(depth) for depth in depths if accepted}
    return WorkerArrays(
        gpus=gpus,
        ep=np.array([float(shape.ep) for shape in shapes]),
        attention_dp=np.array([shape.attention == "dp" for shape in shapes]),
        mtp_depth=np.array([float(shape.mtp_depth) for shape in shapes]),
        drafts_kept=np.array([kept[shape.mtp_depth] for shape in shapes]),
        kept_as_given=np.asarray(scenario.acceptance is not None),
        eplb_slots=np.array([float(shape.eplb_slots) for shape in shapes]),
        context=np.asarray(scenario.workload.context),
        level=np.array([anchor_of(case_of_workers(one, 1, problem), own).level for one in shapes]),
        **{name: np.asarray(has) for name, has in exchange_of(scenario.engine).items()},
    )


def _both(
    facts: Facts,
    workers: WorkerArrays,
    paths: PathArrays,
    workload: Workload,
    calibration: Calibration,
) -> tuple[Interleaved | None, Prefill]:
    """Say what workers that do both prefill, and what it does to steps of the latest releases."""
    prefill = prefill_worker(
        facts.machine,
        facts.model,
        workers.gpus,
        paths,
        workload,
        calibration,
        attention_dp=workers.attention_dp,
        hands_over=False,
    )
    every = np.ones(workers.gpus.shape, dtype=np.bool_)
    mixed = interleaved(
        every, ~every, facts.machine, facts.model, workers, prefill, workload, calibration
    )
    return mixed, prefill
