"""Decode workers drawn at random: any machine, model, format, width, attention, drafts, links."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from hypothesis import strategies as st

from costmodel.calibration import calibration_of, constants_of
from costmodel.calibration_file import load_calibration, shipped_calibration
from costmodel.corpus_deviations import shared_constants
from costmodel.counts import can_multiply, expert_formats, machine_arrays, model_arrays, path_arrays
from costmodel.decode import decode_step
from costmodel.deviations import Traits
from costmodel.engine_rules import exchange_of, kernels_of
from costmodel.inputs import FloatArray, WorkerArrays
from costmodel.resolve import resolve
from costmodel.step_time import StepTime
from costmodel.workload import Workload
from presets import (
    ClusterSpec,
    Model,
    ScaleOut,
    default_cluster,
    hardware_names,
    load_hardware,
    load_model,
    model_names,
)
from presets.drafts import Draft
from presets.folders import engine_names
from topology import GroupPath, group_table

COVERAGE = load_calibration().coverage
# Deviations that the corpus tells of are joined as all are (test_resolve.py).
SHIPPED = constants_of(shared_constants(shipped_calibration()).calibration)
SERVED = [
    (sku, model, precision)
    for sku in hardware_names()
    for model in model_names()
    for precision in load_model(model).precision_names()
    if can_multiply(load_hardware(sku), load_model(model).precision(precision))
]
GPUS = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 72, 96, 128)


@dataclass(frozen=True)
class Drawn:
    """One decode worker on its cluster, and the constants it is predicted with."""

    cluster: ClusterSpec
    model: Model
    precision: str
    gpus: int
    ep: int
    dp: bool
    drafts: int
    draft: Draft
    eplb_slots: int
    trtllm_kernels: bool
    isl: int
    osl: int
    engine: str
    exchange: str | None
    constants: Mapping[str, float]

    def but(self, **changes: object) -> "Drawn":
        """Draw of which some things differ; keys of the cluster too."""
        of_cluster = {name: changes.pop(name) for name in list(changes) if name in LINKS}
        cluster = self.cluster.model_copy(update=of_cluster)
        return replace(self, **{"cluster": cluster} | changes)  # type: ignore[arg-type]

    @property
    def path(self) -> GroupPath:
        return path_of(self.cluster, self.gpus)

    def step(self, batch: FloatArray) -> StepTime:
        """Step with each of these batches; shape of ``batch``."""
        workers = WorkerArrays(
            gpus=np.array(float(self.gpus)),
            ep=np.array(float(self.ep)),
            attention_dp=np.array(self.dp),
            mtp_depth=np.array(float(self.drafts)),
            drafts_kept=np.array(float(self.drafts)),
            kept_as_given=np.array(False),
            eplb_slots=np.array(float(self.eplb_slots)),
            context=Workload(np.array(float(self.isl)), np.array(float(self.osl))).context,
            **{
                name: np.array(has) for name, has in exchange_of(self.engine, self.exchange).items()
            },
        )
        return decode_step(
            machine_arrays(self.cluster.hardware(), self.model, self.precision),
            model_arrays(self.model, self.precision, self.draft),
            workers,
            path_arrays(self.path),
            batch,
            resolve(calibration_of(self.constants, COVERAGE), self.traits),
        )

    @property
    def traits(self) -> Traits:
        hardware = self.cluster.hardware()
        formats = expert_formats(hardware, self.model, self.precision, self.draft)
        kernel = "trtllm" if self.trtllm_kernels else ""
        return Traits(self.engine, hardware.kernel_profile, *formats, kernel)


@cache
def path_of(cluster: ClusterSpec, gpus: int) -> GroupPath:
    """Path of a worker: what differs from a draw but in its links has the same."""
    return group_table(cluster, [gpus])[gpus]


LINKS = frozenset(ClusterSpec.model_fields)


@st.composite
def clusters(draw: st.DrawFn, sku: str) -> ClusterSpec:
    """As the preset has it, or with links of its own."""
    whole = default_cluster(sku, 144)
    if draw(st.booleans()):
        return whole
    return whole.model_copy(
        update={
            "gpus_per_domain": 4 * draw(st.integers(1, 18)),
            "gpus_per_node": 4,
            "nvlink_gb_s": draw(st.floats(50.0, 2000.0)),
            "nic_gb_s": draw(st.floats(5.0, 500.0)),
            "nvlink_latency_us": draw(st.floats(0.2, 2.0)),
            "nic_latency_us": draw(st.floats(2.5, 20.0)),
            "scale_out": ScaleOut(
                gpus_per_leaf=draw(st.sampled_from([8, 16, 32])),
                oversubscription=draw(st.floats(1.0, 4.0)),
            ),
        }
    )


@st.composite
def workers(draw: st.DrawFn, spread: float = 1.0) -> Drawn:
    """Any worker that a machine can run; constants up to ``spread`` times the shipped ones."""
    sku, name, precision = draw(st.sampled_from(SERVED))
    model = load_model(name)
    gpus = draw(st.sampled_from(GPUS))
    widths = [ep for ep in range(1, gpus + 1) if gpus % ep == 0 and ep <= model.experts]
    engine = draw(st.sampled_from(engine_names()))
    factors = np.random.default_rng(draw(st.integers(0, 999))).uniform(-1.0, 1.0, len(SHIPPED))
    moved = zip(SHIPPED.items(), (spread**factors).tolist(), strict=True)
    return Drawn(
        cluster=draw(clusters(sku)),
        model=model,
        precision=precision,
        gpus=gpus,
        ep=draw(st.sampled_from(widths)),
        dp=draw(st.booleans()),
        drafts=draw(st.integers(0, 8)),
        draft=draw(
            st.sampled_from(["eagle3", *model.draft_models, *["mtp"] * (model.draft_layers > 0)])
        ),
        eplb_slots=draw(st.sampled_from([0, model.experts])),
        trtllm_kernels=draw(st.booleans()),
        isl=draw(st.integers(1, 200_000)),
        osl=draw(st.integers(2, 50_000)),
        engine=engine,
        exchange=draw(st.sampled_from([None, *kernels_of(engine)])),
        constants={constant: value * factor for (constant, value), factor in moved},
    )
