"""What carries tokens across NVLink domains is said; no larger batch is quicker by any of it."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.calibration_file import load_calibration
from costmodel.engine_rules import kernels_of
from costmodel.predictions import predict
from costmodel.results import Configuration, Crossing, Scenario
from presets import default_cluster, load_model
from presets.engines import EXCHANGE_NAMES
from tests.costmodel.drawn import Drawn, workers


def test_a_prediction_says_what_carries_its_tokens() -> None:
    """Kernel, formats and engine of a worker that leaves its domain, and whether rows ran it."""
    usual = Configuration(
        prefill_workers=1,
        prefill_gpus_per_worker=8,
        decode_workers=1,
        decode_gpus_per_worker=16,
        decode_ep=16,
        decode_attention="dp",
        max_batch=16,
        mtp_depth=1,
        concurrency=256,
    )

    def carried(sku: str, precision: str, engine: str, **changes: object) -> Crossing | None:
        scenario = Scenario(
            model=load_model("deepseek-r1-0528"), precision=precision, engine=engine
        )
        chosen = usual.model_copy(update=changes)
        cluster = default_cluster(sku, 72)
        return predict([chosen], scenario, cluster, load_calibration())[0].crossing

    low, normal = "deepep_low_latency", "deepep_normal"
    for engine, kernel, there, back in (
        ("trtllm", low, "fp4", "fp4"),
        ("sglang", low, "fp4", "bf16"),
        ("trtllm", normal, "fp4", "bf16"),
    ):
        found = carried("b200", "fp4", engine, exchange=kernel)
        assert found == Crossing(
            kernel=kernel,
            engine=engine,
            dispatch_format=there,
            combine_format=back,
            measured=False,
        )
    assert carried("b200", "fp4", "trtllm") == carried("b200", "fp4", "trtllm", exchange=low)
    measured = carried("h100", "fp8", "trtllm", exchange=normal, prefill_gpus_per_worker=16)
    assert measured is not None
    assert (measured.dispatch_format, measured.measured) == ("bf16", True)
    assert carried("b200", "fp4", "trtllm", decode_gpus_per_worker=8, decode_ep=8) is None
    assert carried("gb200", "fp4", "trtllm") is None
    assert carried("b200", "fp4", "trtllm", decode_attention="tp") is None


@settings(max_examples=150, deadline=None)
@given(workers(spread=1.0), st.sampled_from([None, *EXCHANGE_NAMES]))
def test_no_step_falls_as_the_batch_rises(drawn: Drawn, kernel: str | None) -> None:
    """Batch 1 to 2,048 on any machine, width and format, by any kernel that an engine has."""
    chosen = kernel if kernel in kernels_of(drawn.engine) else None
    found = replace(drawn, exchange=chosen).step(np.arange(1.0, 2049.0))
    assert np.all(np.diff(np.broadcast_to(found.total, 2048)) >= -1e-15)
