"""Deployments as arrays: many configurations, each on its machine, ready for the cost model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from costmodel.aggregated import interleaved
from costmodel.anchors import NONE, anchor_of
from costmodel.calibration import Anchor, Calibration
from costmodel.counts import (
    attention_of,
    expert_formats,
    machine_arrays,
    model_arrays,
    path_arrays,
)
from costmodel.deviations import Kinds, Traits, kinds_of
from costmodel.engine_rules import check_machine, exchange_of
from costmodel.inputs import (
    BoolArray,
    FloatArray,
    MachineArrays,
    ModelArrays,
    PathArrays,
    WorkerArrays,
    stack,
)
from costmodel.memory import batch_limit, prefill_limit
from costmodel.network import Benchmark, Fleet, Network
from costmodel.prefill import prefill_worker
from costmodel.resolve import resolve
from costmodel.results import Case, Configuration, Scenario
from costmodel.runs import expert_kernel, frontends_of, is_early, measured_frontends
from costmodel.serving import serve
from costmodel.workload import SHORTEST, Workload
from presets import ClusterSpec, Model, ServingRow, default_cluster, load_hardware, load_model
from presets.drafts import Draft
from presets.engines import known_engine
from presets.files import validated
from topology import fleet_paths

NO_NUMBERS = frozenset(
    {"serving", "prefill_attention", "decode_attention", "frontends", "draft", "exchange"}
)
"""Fields of a configuration that are text, or may be blank."""


class Deployments(NamedTuple):
    """Configurations with the facts of their machines, models and links; one entry each."""

    machine: MachineArrays  # of decode
    prefill_machine: MachineArrays
    model: ModelArrays
    workers: WorkerArrays
    paths: PathArrays
    prefill_paths: PathArrays
    prefill_gpus: FloatArray  # of what prefills: a prefill worker, or a worker that does both
    prefill_dp: BoolArray  # whether each rank of a prefill worker takes requests of its own
    prefill_tp: FloatArray  # GPUs that share each request under attention dp
    prefill_stages: FloatArray  # that a prefill worker is parted into
    aggregated: BoolArray  # whether workers prefill what they decode
    early: BoolArray  # whether they run an early release
    decode_nic_rate: FloatArray  # of a decode GPU [B/s]
    kinds: Kinds  # traits that constants depend on
    prefill_kinds: Kinds
    fleet: Fleet
    workload: Workload
    max_batch: FloatArray
    concurrency: FloatArray


def case_of(row: ServingRow) -> Case:
    """Build the case that a measured row describes, on its machine as the preset has it.

    What the row says of the rate of its NICs holds in place of the preset's.

    Raises
    ------
    InputError
        If the row is outside what the model covers, such as a deeper draft.
    """
    values = {name: getattr(row, name) for name in Configuration.model_fields}
    if row.frontends is None and row.serving == "disaggregated":
        at_its_date = measured_frontends(row.sku, row.precision, row.date)
        if at_its_date != measured_frontends(row.sku, row.precision):
            values["frontends"] = at_its_date
    engine, model = row.framework or "trtllm", load_model(row.model)
    profile = known_engine(engine)
    if profile and profile.slots_besides_experts and 0 < row.eplb_slots < model.experts:
        values["eplb_slots"] = model.experts + row.eplb_slots
    configuration = validated(Configuration, values)
    served = {
        "model": model,
        "precision": row.precision,
        "isl": row.isl,
        "osl": row.osl,
        "cached_share": row.cached_share,
        "engine": engine,
    }
    scenario = validated(Scenario, served)
    domain = int(load_hardware(row.sku).gpus_per_domain.value)
    largest = max(row.decode_gpus_per_worker, row.prefill_gpus_per_worker)
    gpus = max(configuration.gpus, -(-largest // domain) * domain)
    cluster = default_cluster(row.sku, gpus).model_copy(update={"nic_gb_s": row.nic_gb_s})
    early = is_early(engine, row.framework_version, row.date)
    release = row.framework_version
    shortest = SHORTEST if row.shortest is None else row.shortest
    return Case(
        configuration,
        scenario,
        cluster,
        early=early,
        release=release,
        of_a_row=True,
        shortest=shortest,
    )


def check_offered(case: Case) -> None:
    """Refuse a precision or an engine that a model is not offered at, or its machine cannot run.

    Raises
    ------
    InputError
        Naming it and the valid ones.
    """
    check_machine(case.scenario.engine, case.cluster.hardware())
    _model_of(case)
    _machine(case, case.cluster)


def deployments_of(cases: Sequence[Case], own: Mapping[str, Anchor] = NONE) -> Deployments:
    """Join configurations with the facts they need; one entry per case.

    `own` are anchors of a user's own rows, as a calibration has them.

    Raises
    ------
    InputError
        If a worker does not fit its cluster, or a model is not offered at a precision.
    """
    names = Configuration.model_fields
    column = {
        name: np.array([float(getattr(case.configuration, name)) for case in cases])
        for name in names
        if name not in NO_NUMBERS
    }
    workload = Workload(
        np.array([float(case.scenario.isl) for case in cases]),
        np.array([float(case.scenario.osl) for case in cases]),
        np.array([case.scenario.cached_share for case in cases]),
        np.array([case.scenario.cache_as_written for case in cases]),
        np.array([case.scenario.hand_over_page for case in cases]),
        np.array([case.shortest for case in cases]),
    )
    attention_dp = np.array([case.configuration.decode_attention == "dp" for case in cases])
    prefilling = [prefilling_worker(case.configuration) for case in cases]
    aggregated = np.array([case.configuration.is_aggregated for case in cases])
    paths = [_paths(case) for case in cases]
    exchanges = [exchange_of(case.scenario.engine, case.configuration.exchange) for case in cases]
    return Deployments(
        machine=stack([_machine(case, case.cluster) for case in cases]),
        prefill_machine=stack([_machine(case, case.prefill_on) for case in cases]),
        model=stack([_model_of(case) for case in cases]),
        workers=WorkerArrays(
            gpus=column["decode_gpus_per_worker"],
            ep=column["decode_ep"],
            attention_dp=attention_dp,
            mtp_depth=column["mtp_depth"],
            drafts_kept=np.array([_drafts_kept(case) for case in cases]),
            kept_as_given=np.array([case.scenario.acceptance is not None for case in cases]),
            eplb_slots=column["eplb_slots"],
            context=workload.context,
            level=np.array([anchor_of(case, own).level for case in cases]),
            **{name: np.array([each[name] for each in exchanges]) for name in exchanges[0]},
            attention_tp=column["decode_attention_tp"],
        ),
        paths=stack([each for each, _ in paths]),
        prefill_paths=stack([each for _, each in paths]),
        prefill_gpus=np.array([float(gpus) for gpus, _ in prefilling]),
        prefill_dp=np.array([attention == "dp" for _, attention in prefilling]),
        prefill_tp=np.where(aggregated, column["decode_attention_tp"], 1.0),
        prefill_stages=column["prefill_stages"],
        aggregated=aggregated,
        early=np.array([case.early for case in cases]),
        decode_nic_rate=np.array([case.cluster.hardware().scale_out_rate.value for case in cases]),
        kinds=kinds_of([_traits(case, case.cluster) for case in cases]),
        prefill_kinds=kinds_of([_traits(case, case.prefill_on) for case in cases]),
        fleet=Fleet(
            np.where(aggregated, column["decode_workers"], column["prefill_workers"]),
            column["prefill_gpus_per_worker"],
            column["decode_workers"],
            np.array([_frontends(case) for case in cases]),
        ),
        workload=workload,
        max_batch=column["max_batch"],
        concurrency=column["concurrency"],
    )


def network_of(deployments: Deployments, calibration: Calibration) -> Network:
    """Build the closed network of each deployment under a calibration."""
    own = resolve(calibration, deployments.kinds)
    prefill = prefill_worker(
        deployments.prefill_machine,
        deployments.model,
        deployments.prefill_gpus,
        deployments.prefill_paths,
        deployments.workload,
        resolve(calibration, deployments.prefill_kinds),
        deployments.decode_nic_rate,
        attention_dp=deployments.prefill_dp,
        hands_over=~deployments.aggregated,
        attention_tp=deployments.prefill_tp,
        stages=deployments.prefill_stages,
    )
    return Network(
        machine=deployments.machine,
        model=deployments.model,
        workers=deployments.workers,
        paths=deployments.paths,
        prefill=prefill,
        fleet=deployments.fleet,
        workload=deployments.workload,
        calibration=own,
        mixed=interleaved(
            deployments.aggregated,
            deployments.early,
            deployments.machine,
            deployments.model,
            deployments.workers,
            prefill,
            deployments.workload,
            own,
        ),
    )


def memory_limit(deployments: Deployments, calibration: Calibration) -> FloatArray:
    """Count the requests whose KV cache fits, per rank (dp) or worker (tp) [1]."""
    return batch_limit(
        deployments.machine,
        deployments.model,
        deployments.workers,
        deployments.workload,
        resolve(calibration, deployments.kinds),
    )


def prefill_memory_limit(deployments: Deployments, calibration: Calibration) -> FloatArray:
    """Count the inputs whose KV cache fits, per prefill rank (dp) or worker (tp) [1].

    Workers that do both keep whole requests, as `memory_limit` counts them: here they have no end.
    """
    limit = prefill_limit(
        deployments.prefill_machine,
        deployments.model,
        deployments.prefill_gpus,
        deployments.workload,
        resolve(calibration, deployments.prefill_kinds),
        deployments.prefill_dp,
        deployments.prefill_stages,
    )
    return np.where(deployments.aggregated, np.inf, limit)


def run(deployments: Deployments, calibration: Calibration) -> Benchmark:
    """Predict a benchmark of each deployment; the batch is cut where the KV cache does not fit."""
    limit = np.maximum(memory_limit(deployments, calibration), 1.0)
    batch = np.minimum(deployments.max_batch, limit)
    return serve(network_of(deployments, calibration), batch, deployments.concurrency)


def _machine(case: Case, cluster: ClusterSpec) -> MachineArrays:
    return _machine_of(cluster, case.scenario.model, case.scenario.precision)


def prefilling_worker(configuration: Configuration) -> tuple[int, str]:
    """GPUs and attention of a worker that prefills."""
    if configuration.is_aggregated:
        return configuration.decode_gpus_per_worker, configuration.decode_attention
    return configuration.prefill_gpus_per_worker, configuration.prefill_attention


def _frontends(case: Case) -> float:
    sku, precision = case.cluster.sku, case.scenario.precision
    return float(frontends_of(case.configuration, sku, precision))


def _traits(case: Case, cluster: ClusterSpec) -> Traits:
    chosen = case.configuration
    depth, draft = chosen.mtp_depth, _draft_of(case)
    return traits_of(case.scenario, cluster, chosen.decode_attention, depth, draft)


def traits_of(
    scenario: Scenario,
    cluster: ClusterSpec,
    attention: str = "dp",
    mtp_depth: int = 0,
    draft: Draft | None = None,
) -> Traits:
    """Say what constants of workers depend on; attention and drafts tell the experts' kernel."""
    hardware, precision = cluster.hardware(), scenario.precision
    return Traits(
        scenario.engine,
        hardware.kernel_profile,
        *expert_formats(hardware, scenario.model, precision, draft),
        expert_kernel(cluster.sku, precision, scenario.isl, attention, mtp_depth),
        attention_of(scenario.model),
    )


@lru_cache
def _machine_of(cluster: ClusterSpec, model: Model, precision: str) -> MachineArrays:
    return machine_arrays(cluster.hardware(), model, precision)


def _model_of(case: Case) -> ModelArrays:
    return _model(case.scenario.model, case.scenario.precision, _draft_of(case))


def _draft_of(case: Case) -> Draft | None:
    """Name what drafts; None where nothing does, so that no draft has to be there."""
    draft = case.configuration.draft
    return None if draft == "none" else draft


@lru_cache
def _model(model: Model, precision: str, draft: Draft | None) -> ModelArrays:
    return model_arrays(model, precision, draft)


def _drafts_kept(case: Case) -> float:
    draft, depth = case.configuration.draft, case.configuration.mtp_depth
    return case.scenario.acceptance_of(draft).kept(depth) if depth else 0.0


def _paths(case: Case) -> tuple[PathArrays, PathArrays]:
    """Links of the slowest decode worker and of the slowest prefill worker, all side by side."""
    one = case.configuration
    decode = one.decode_gpus_per_worker, one.decode_workers
    stages = one.prefill_stages
    prefill = one.prefill_gpus_per_worker // stages, stages * one.prefill_workers
    return _fleet(case.cluster, case.prefill_cluster, decode, prefill)


@lru_cache(maxsize=4096)
def _fleet(
    cluster: ClusterSpec,
    prefill_cluster: ClusterSpec | None,
    decode: tuple[int, int],
    prefill: tuple[int, int],
) -> tuple[PathArrays, PathArrays]:
    here, there = fleet_paths(cluster, prefill_cluster, decode, prefill)
    return path_arrays(here), path_arrays(there)
