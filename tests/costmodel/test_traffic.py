import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.calibration_file import load_calibration
from costmodel.decode import decode_step
from costmodel.deployments import deployments_of, network_of, run
from costmodel.results import Case, Configuration, Scenario
from costmodel.traffic import traffic_of
from presets import default_cluster, load_model

R1 = Scenario(model=load_model("deepseek-r1-0528"))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return load_calibration()


def case(sku: str = "b200", gpus: int = 72, **changes: Any) -> Case:
    values: dict[str, Any] = {
        "prefill_workers": 1,
        "prefill_gpus_per_worker": 4,
        "decode_workers": 1,
        "decode_gpus_per_worker": 8,
        "decode_ep": 8,
        "decode_attention": "dp",
        "max_batch": 16,
        "mtp_depth": 0,
        "concurrency": 10_000,
    }
    return Case(Configuration(**(values | changes)), R1, default_cluster(sku, gpus))


def test_bytes_of_an_exchange_redone_by_hand(calibration: Calibration) -> None:
    found = traffic_of(case(), calibration)
    # 16 tokens to each of 7 peers that holds one of their 8 experts, 4 bits and an FP8 scale per
    # 16 of 7168 elements, there and back, in 58 MoE layers.
    hit = 1.0 - (7 / 8) ** 8
    assert found.decode["nvlink"].moved == pytest.approx(16 * hit * 7 * 2 * 7168 * 4.5 / 8 * 58)
    # The latent cache of 0.9 x 1024 tokens in 61 layers of 576 bytes, from one NIC.
    assert found.prefill["nic"].moved == pytest.approx(0.9 * 1024 * 61 * 576)
    hit = 1.0 - (3 / 4) ** 8
    assert found.prefill["nvlink"].moved == pytest.approx(
        0.9 * 1024 * 58 * hit * 3 * 2 * 7168 * 4.5 / 8
    )


def test_bytes_from_memory_redone_by_hand(calibration: Calibration) -> None:
    found = traffic_of(case(), calibration._replace(touch_spread=1e-12)).decode["hbm"].moved
    model = network_of(deployments_of([case()]), calibration).model
    load = 8 * 16 * 8 / 256
    variance = calibration.expert_spread**2
    touched = 256 * (1.0 - (1.0 + variance * load) ** (-1.0 / variance))
    (attention,) = model.attention
    weights = 61 * (attention.bytes_whole + attention.bytes_split)
    weights += 58 * (touched / 8 * model.expert_bytes + model.shared_bytes)
    weights += model.dense_bytes + model.head_bytes / 8
    context = 0.9 * 1024 + (1 + 0.8 + 0.64) / 3 / 1.8 * 1024
    assert found == pytest.approx(float(weights[0]) + 16 * context * 576 * 61, rel=1e-6)


def test_rate_in_use_is_bytes_over_the_step(calibration: Calibration) -> None:
    one = case(mtp_depth=2, decode_workers=3)
    found = traffic_of(one, calibration)
    step = float(run(deployments_of([one]), calibration).steady.decode.step.total[0])
    for load in found.decode.values():
        assert load.in_use == pytest.approx(load.moved / step)
        assert load.utilisation == pytest.approx(load.in_use / load.rate)
        assert 0.0 < load.utilisation < 1.0


def test_what_prefill_sends_decode_receives(calibration: Calibration) -> None:
    found = traffic_of(case(prefill_workers=2, decode_workers=3), calibration)
    sent = 2 * 4 * found.prefill["nic"].in_use
    assert 3 * 8 * found.decode["nic"].in_use == pytest.approx(sent, rel=1e-6)


def test_a_worker_across_domains_uses_its_nics(calibration: Calibration) -> None:
    inside = traffic_of(case("gb200", decode_gpus_per_worker=16, decode_ep=16), calibration)
    across = traffic_of(case("b200", decode_gpus_per_worker=16, decode_ep=16), calibration)
    # Of 8 copies, one for each expert, 4 leave the domain, and 1/2 stays on the rank itself.
    assert across.decode["nic"].moved > 8 / 7 * across.decode["nvlink"].moved
    assert across.decode["nic"].utilisation > inside.decode["nic"].utilisation


@pytest.mark.parametrize(("gpus", "batch"), [(2, 4), (4, 1), (8, 512)])
def test_an_all_reduce_moves_one_shot_or_two_shot(
    calibration: Calibration, gpus: int, batch: int
) -> None:
    one = case(
        "gb200",
        decode_attention="tp",
        decode_gpus_per_worker=gpus,
        decode_ep=gpus,
        max_batch=batch,
        prefill_workers=8,
    )
    # Two GPUs cannot hold the model; the bytes do not mind.
    found = traffic_of(one, calibration._replace(reserved_bytes=1e-3))
    network = network_of(deployments_of([one]), calibration)
    in_flight = float(run(deployments_of([one]), calibration).steady.decode.requests[0])
    size = 2.0 * 7168 * in_flight
    moved = found.decode["nvlink"].moved / (2 * 61)
    flat = {size * (gpus - 1), 2.0 * size * (gpus - 1) / gpus}
    # Or in two stages, of groups of 2 or 4 first.
    staged = {
        first + 2.0 * size / group * (1.0 - group / gpus)
        for group in (2, 4)
        if group < gpus
        for first in (size * (group - 1), 2.0 * size * (group - 1) / group)
    }
    assert any(moved == pytest.approx(each, rel=1e-4) for each in flat | staged)
    if (gpus, batch) == (4, 1):
        assert moved == pytest.approx(size * 3, rel=1e-4)  # short: one shot
    assert float(network.workers.gpus[0]) == gpus


def test_a_step_is_never_shorter_than_its_bytes_take(calibration: Calibration) -> None:
    for attention in ("dp", "tp"):
        one = case(decode_attention=attention, max_batch=64, mtp_depth=1)
        found = traffic_of(one, calibration).decode
        network = network_of(deployments_of([one]), calibration)
        batch = run(deployments_of([one]), calibration).steady.decode.requests
        step = decode_step(
            network.machine, network.model, network.workers, network.paths, batch, calibration
        )
        assert float(step.total[0]) > sum(load.moved / load.rate for load in found.values())
        assert all(math.isfinite(load.moved) for load in found.values())
    assert np.isfinite(step.total).all()


def test_a_shared_request_is_reduced_twice_a_layer(calibration: Calibration) -> None:
    one = case("gb200", prefill_attention="tp", prefill_workers=2, concurrency=8)
    found = traffic_of(one, calibration)
    # 0.9 x 1024 tokens of 7168 BF16 values, 3/4 of them twice, in 61 layers.
    size = 0.9 * 1024 * 7168 * 2
    assert found.prefill["nvlink"].moved == pytest.approx(2 * 61 * 2 * 0.75 * size, rel=1e-4)
    # One NIC of the four hands the cache over.
    assert found.prefill["nic"].moved == pytest.approx(0.9 * 1024 * 61 * 576 / 4)
    sent = 2 * 4 * found.prefill["nic"].in_use
    assert 8 * found.decode["nic"].in_use == pytest.approx(sent, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["gb200", "b200", "h100"]),
    st.sampled_from(["glm-4.5", "qwen3-235b-a22b", "deepseek-r1-0528"]),
    st.sampled_from([4, 8, 16, 32]),
    st.sampled_from([2, 4, 8, 16]),
    st.tuples(st.sampled_from(["dp", "tp"]), st.sampled_from(["dp", "tp"])),
    st.tuples(st.integers(1, 14), st.integers(1, 2), st.integers(1, 300), st.integers(0, 3)),
    st.tuples(st.integers(16, 32_768), st.integers(2, 2048)),
    st.floats(1.0, 100.0),
)
def test_no_nic_carries_more_than_its_rate(
    sku: str,
    model: str,
    decode_gpus: int,
    prefill_gpus: int,
    attention: tuple[str, str],
    sizes: tuple[int, int, int, int],
    lengths: tuple[int, int],
    nic_gb_s: float,
) -> None:
    scenario = Scenario(model=load_model(model), precision="fp8", isl=lengths[0], osl=lengths[1])
    given_case = case(
        sku,
        288,
        prefill_workers=sizes[0],
        prefill_gpus_per_worker=prefill_gpus,
        prefill_attention=attention[0],
        decode_workers=sizes[1],
        decode_gpus_per_worker=decode_gpus,
        decode_ep=decode_gpus,
        decode_attention=attention[1],
        max_batch=sizes[2],
        mtp_depth=sizes[3],
        draft="mtp" if load_model(model).draft else "eagle3",
        concurrency=100_000,
    )
    cluster = given_case.cluster.model_copy(update={"nic_gb_s": nic_gb_s})
    found = traffic_of(Case(given_case.configuration, scenario, cluster), load_calibration())
    for links in (found.decode, found.prefill):
        assert all(links[link].utilisation <= 1.0 for link in ("nic", "nvlink"))
