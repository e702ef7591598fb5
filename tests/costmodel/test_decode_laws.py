"""Laws of one decode step, on R1 and real machines."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.counts import machine_arrays, model_arrays, path_arrays
from costmodel.decode import decode_step
from costmodel.deviations import Traits
from costmodel.engine_rules import exchange_of
from costmodel.inputs import (
    FloatArray,
    WorkerArrays,
)
from costmodel.resolve import resolve
from presets import default_cluster, load_hardware, load_model
from topology import group_table

R1 = load_model("deepseek-r1-0528")


def array(value: float) -> FloatArray:
    return np.asarray(float(value))


def step_of(
    plain: Calibration,
    sku: str,
    gpus: int,
    attention: str,
    depth: int,
    requests: float,
    change: str = "",
    factor: float = 1.0,
) -> float:
    """Seconds of a step; a change multiplies one fact of the machine or the path."""
    precision = "fp4" if load_hardware(sku).kernel_profile == "blackwell" else "fp8"
    facts = machine_arrays(load_hardware(sku), R1, precision)
    paths = path_arrays(group_table(default_cluster(sku, 72), [gpus])[gpus])
    if change in facts._fields:
        facts = facts._replace(**{change: getattr(facts, change) * factor})
    elif change:
        paths = paths._replace(**{change: getattr(paths, change) * factor})
    dp = attention == "dp"
    workers = WorkerArrays(
        gpus=array(gpus),
        ep=array(gpus if dp else 1),
        attention_dp=np.asarray(dp),
        mtp_depth=array(depth),
        drafts_kept=array(depth),
        kept_as_given=np.asarray(False),
        eplb_slots=array(0),
        context=array(1500),
        **{name: np.asarray(has) for name, has in exchange_of("trtllm").items()},
    )
    counts = model_arrays(R1, precision)
    profile, formats = (
        load_hardware(sku).kernel_profile,
        (precision, "bf16" if precision == "fp4" else "fp8"),
    )
    constants = resolve(plain, Traits("trtllm", profile, *formats))
    return float(decode_step(facts, counts, workers, paths, array(requests), constants).total)


workers_on_machines = {
    "sku": st.sampled_from(["b200", "gb200", "h100"]),
    "gpus": st.sampled_from([1, 4, 8, 16, 64]),
    "attention": st.sampled_from(["tp", "dp"]),
    "depth": st.integers(0, 3),
    "requests": st.floats(0.1, 2000),
}


@settings(deadline=None)
@given(factor=st.floats(1.01, 100), **workers_on_machines)
def test_a_better_machine_is_never_slower(
    plain: Calibration,
    sku: str,
    gpus: int,
    attention: str,
    depth: int,
    requests: float,
    factor: float,
) -> None:
    case = (plain, sku, gpus, attention, depth, requests)
    before = step_of(*case)
    for name in ("hbm_rate", "flops_experts", "flops_dense", "flops_attention", "flops_bf16"):
        assert step_of(*case, name, factor) < before, name
    drafting = step_of(*case, "flops_draft", factor)
    assert drafting < before if depth else drafting == before
    for name in ("nvlink_rate", "nic_rate"):
        assert step_of(*case, name, factor) <= before, name
    assert step_of(*case, "seconds_per_pair_byte", 1 / factor) <= before


@settings(deadline=None)
@given(factor=st.floats(1, 100), **workers_on_machines)
def test_a_bigger_batch_is_never_quicker(
    plain: Calibration,
    sku: str,
    gpus: int,
    attention: str,
    depth: int,
    requests: float,
    factor: float,
) -> None:
    case = (plain, sku, gpus, attention, depth)
    assert step_of(*case, requests * factor) >= step_of(*case, requests) * (1 - 1e-12)


@settings(deadline=None)
@given(st.integers(0, 2), st.floats(1, 500))
def test_deeper_drafts_make_longer_steps(plain: Calibration, depth: int, requests: float) -> None:
    shallow = step_of(plain, "gb200", 8, "dp", depth, requests)
    assert step_of(plain, "gb200", 8, "dp", depth + 1, requests) > shallow
