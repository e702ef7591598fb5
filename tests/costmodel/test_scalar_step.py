"""The arrays agree with a second implementation in plain floats, part by part."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from costmodel.calibration import calibration_of, constants_of, load_calibration
from costmodel.counts import can_multiply, machine_arrays, model_arrays, path_arrays
from costmodel.decode import decode_step
from costmodel.inputs import WorkerArrays
from costmodel.workload import Workload
from presets import (
    ClusterSpec,
    ScaleOut,
    default_cluster,
    hardware_names,
    load_hardware,
    load_model,
    model_names,
)
from tests.costmodel.scalar_step import Worker, step
from topology import group_table

SHIPPED = load_calibration()
CONSTANTS = constants_of(SHIPPED)
COMBINATIONS = [
    (sku, model, precision)
    for sku in hardware_names()
    for model in model_names()
    for precision in load_model(model).precision_names()
    if can_multiply(load_hardware(sku), load_model(model).precision(precision))
]
GPUS = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 72, 96, 128)


@st.composite
def clusters(draw: st.DrawFn, sku: str) -> ClusterSpec:
    """As the preset, or with links of its own."""
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


@settings(max_examples=400, deadline=None)
@given(
    st.data(),
    st.sampled_from(COMBINATIONS),
    st.sampled_from(GPUS),
    st.floats(0.0, 3.3),
    st.integers(0, 3),
)
def test_arrays_agree_with_plain_floats(
    data: st.DataObject,
    combination: tuple[str, str, str],
    gpus: int,
    log_batch: float,
    drafts: int,
) -> None:
    sku, name, precision = combination
    model, cluster = load_model(name), data.draw(clusters(sku))
    ep = data.draw(st.sampled_from([each for each in range(1, gpus + 1) if gpus % each == 0]))
    assume(ep <= model.experts)
    dp, trtllm = data.draw(st.booleans()), data.draw(st.booleans())
    slots = data.draw(st.sampled_from([0, model.experts]))
    isl, osl = data.draw(st.integers(1, 200_000)), data.draw(st.integers(2, 50_000))
    factors = np.random.default_rng(data.draw(st.integers(0, 999))).uniform(
        0.8, 1.25, len(CONSTANTS)
    )
    at = {each: CONSTANTS[each] * factor for each, factor in zip(CONSTANTS, factors, strict=True)}
    batch, path = 10.0**log_batch, group_table(cluster, [gpus])[gpus]
    worker = Worker(
        model, model.precision(precision), cluster.hardware(), path,
        gpus, ep, dp, drafts, slots, trtllm, isl, osl,
    )  # fmt: skip
    workers = WorkerArrays(
        gpus=np.array([float(gpus)]),
        ep=np.array([float(ep)]),
        attention_dp=np.array([dp]),
        mtp_depth=np.array([float(drafts)]),
        eplb_slots=np.array([float(slots)]),
        trtllm_experts=np.array([trtllm]),
        context=Workload(np.array([float(isl)]), np.array([float(osl)])).context,
    )
    found = decode_step(
        machine_arrays(cluster.hardware(), model, precision),
        model_arrays(model, precision),
        workers,
        path_arrays(path),
        np.array([batch]),
        calibration_of(at, SHIPPED.coverage),
    )
    expected = step(worker, batch, at)
    parts = {part: float(np.squeeze(seconds)) for part, seconds in found.parts.items()}
    total = sum(expected.values())
    assert parts == pytest.approx(expected, rel=1e-9, abs=1e-9 * total)
    assert float(np.squeeze(found.total)) == pytest.approx(total, rel=1e-9)
