"""What holds of a whole deployment with its users, whatever it is made of."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from costmodel.calibration_file import load_calibration
from costmodel.predictions import predict
from costmodel.results import Configuration, Prediction, Scenario
from presets import InputError, default_cluster, load_model

pytestmark = pytest.mark.many_cases

law = settings(max_examples=25, deadline=None)
SOLVED = 1.0 - 1e-6
"""The batch in flight is solved for to some 1e-8."""

lengths = st.tuples(st.integers(16, 32_768), st.integers(2, 8192))
machines = st.sampled_from([("gb200", "fp4"), ("b200", "fp4"), ("h200", "fp8"), ("h100", "fp8")])


@st.composite
def deployments(draw: st.DrawFn) -> Configuration:
    gpus = draw(st.sampled_from([8, 16, 32]))
    return Configuration(
        prefill_workers=draw(st.integers(1, 6)),
        prefill_gpus_per_worker=draw(st.sampled_from([8, 16])),
        prefill_attention=draw(st.sampled_from(["dp", "tp"])),
        decode_workers=draw(st.integers(1, 3)),
        decode_gpus_per_worker=gpus,
        decode_ep=gpus,
        decode_attention=draw(st.sampled_from(["dp", "tp"])),
        max_batch=draw(st.integers(1, 512)),
        mtp_depth=draw(st.integers(0, 3)),
        concurrency=draw(st.integers(1, 20_000)),
        frontends=draw(st.sampled_from([1, 10])),
    )


def prediction(
    configuration: Configuration,
    machine: tuple[str, str],
    served: tuple[int, int],
    **links: float,
) -> Prediction | None:
    """Prediction for R1; None where its memory holds not one request."""
    sku, precision = machine
    model = load_model("deepseek-r1-0528")
    scenario = Scenario(model=model, precision=precision, isl=served[0], osl=served[1])
    cluster = default_cluster(sku, 192).model_copy(update=links)
    try:
        return predict([configuration], scenario, cluster, load_calibration())[0].prediction
    except InputError:
        return None


@law
@given(deployments(), machines, lengths, st.integers(1, 512))
def test_more_slots_never_shorten_tpot(
    chosen: Configuration, machine: tuple[str, str], served: tuple[int, int], batch: int
) -> None:
    few, many = sorted((batch, chosen.max_batch))
    fewer, more = (
        prediction(chosen.model_copy(update={"max_batch": slots}), machine, served)
        for slots in (few, many)
    )
    assume(fewer is not None)
    assert fewer is not None
    assert more is not None
    assert more.tpot_ms >= fewer.tpot_ms * SOLVED


@pytest.mark.parametrize("link", ["nvlink_gb_s", "nic_gb_s"])
@law
@given(deployments(), machines, lengths, st.floats(5.0, 2000.0), st.floats(1.0, 10.0))
def test_a_quicker_link_never_lowers_throughput(
    link: str,
    chosen: Configuration,
    machine: tuple[str, str],
    served: tuple[int, int],
    rate: float,
    factor: float,
) -> None:
    slow, fast = (
        prediction(chosen, machine, served, **{link: each}) for each in (rate, rate * factor)
    )
    assume(slow is not None)
    assert slow is not None
    assert fast is not None
    assert fast.total_tok_s_per_gpu >= slow.total_tok_s_per_gpu * SOLVED
