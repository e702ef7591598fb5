import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.calibration_file import load_calibration
from costmodel.counts import machine_arrays, model_arrays, path_arrays
from costmodel.inputs import MachineArrays, ModelArrays, PathArrays
from costmodel.prefill import Prefill, prefill_worker
from costmodel.workload import Workload
from presets import ClusterSpec, default_cluster, load_hardware, load_model
from topology import group_table

R1 = load_model("deepseek-r1-0528")
GPUS = np.asarray(4.0)

# Products of one token: 5 layers x 32 heads x 200 x 900 tokens = 28.8 MFLOP at 50 TFLOP/s.
ATTENTION = 0.576e-6


def linear(efficiency: float) -> float:
    """2 x 100 M FLOP at a share of 40 TFLOP/s."""
    return 2e8 / (4e13 * efficiency)


def test_one_gpu_by_hand(
    machine: MachineArrays,
    model: ModelArrays,
    inside: PathArrays,
    workload: Workload,
    plain: Calibration,
) -> None:
    alone = prefill_worker(machine, model, np.asarray(1.0), inside, workload, plain)
    seconds = linear(0.2) + ATTENTION
    assert alone.seconds_per_token == pytest.approx(seconds)
    assert alone.capacity == pytest.approx(1 / (900 * seconds))
    # 0.1 s fixed, 900 tokens, and their cache of 5 x 50 B each at 10 GB/s.
    hand_over = 900 * 250 / 1e10
    assert alone.latency == pytest.approx(0.1 + 900 * seconds + hand_over)


def test_a_rank_hands_over_no_faster_than_its_nic(
    machine: MachineArrays,
    model: ModelArrays,
    inside: PathArrays,
    workload: Workload,
    plain: Calibration,
) -> None:
    slow = inside._replace(nic_rate=np.asarray(1e3))
    worker = prefill_worker(machine, model, GPUS, slow, workload, plain)
    # 225 kB per request over 1 kB/s, on each of 4 ranks.
    assert worker.capacity == pytest.approx(4 / 225)
    received = prefill_worker(machine, model, GPUS, inside, workload, plain, np.asarray(1e3))
    assert received.capacity == pytest.approx(4 / 225)


def test_four_gpus_exchange_and_wait_for_the_slowest(
    machine: MachineArrays,
    model: ModelArrays,
    inside: PathArrays,
    workload: Workload,
    plain: Calibration,
) -> None:
    worker = prefill_worker(machine, model, GPUS, inside, workload, plain)
    # Each of 4 MoE layers sends 7/16 of 1500 B to each peer, 30 ps/B at half the rate.
    exchange = 4 * 7 / 16 * 1500 * 30e-12 / 0.5
    slowest = 1 + 0.1 * math.sqrt(2 * math.log(4))
    seconds = (linear(0.2) + ATTENTION + exchange) * slowest
    assert worker.seconds_per_token == pytest.approx(seconds)
    assert worker.capacity == pytest.approx(4 / (900 * seconds))


def test_capacity_and_latency_tell_of_the_same_time(
    machine: MachineArrays,
    model: ModelArrays,
    inside: PathArrays,
    workload: Workload,
    plain: Calibration,
) -> None:
    # Each of 4 ranks works on a request of its own: 4 requests in the time of one.
    worker = prefill_worker(machine, model, GPUS, inside, workload, plain)
    one = worker.latency - plain.first_token_time - 900 * 250 / 1e10
    assert worker.capacity * one == pytest.approx(4)


def test_crossing_domains_is_slower(
    machine: MachineArrays,
    model: ModelArrays,
    inside: PathArrays,
    across: PathArrays,
    workload: Workload,
    plain: Calibration,
) -> None:
    near = prefill_worker(machine, model, GPUS, inside, workload, plain)
    far = prefill_worker(machine, model, GPUS, across, workload, plain)
    slowest = 1 + 0.1 * math.sqrt(2 * math.log(4))
    # One copy to the other domain, 3/4 of all tokens, at half of 10 GB/s and three times as long in
    # the engine, instead of one to each of 3 ranks, 7/16, at half of 100 GB/s.
    more = 4 * 1500 * (3 / 4 * 3 / 5e9 - 7 / 16 * 3 / 50e9) * slowest
    assert far.seconds_per_token - near.seconds_per_token == pytest.approx(more)
    assert far.capacity < near.capacity


def test_sixteen_b200_cross_the_nic(plain: Calibration, workload: Workload) -> None:
    table = group_table(default_cluster("b200", 16), [8, 16])
    eight, sixteen = (
        prefill_worker(
            machine_arrays(load_hardware("b200"), R1, "fp4"),
            model_arrays(R1, "fp4"),
            np.asarray(float(gpus)),
            path_arrays(table[gpus]),
            workload,
            plain,
        )
        for gpus in (8, 16)
    )
    assert sixteen.latency > eight.latency
    assert sixteen.capacity < 2 * eight.capacity


@given(st.floats(2, 1e5), st.floats(1, 100))
def test_longer_inputs_take_longer_per_token_and_in_all(
    machine: MachineArrays,
    model: ModelArrays,
    inside: PathArrays,
    plain: Calibration,
    isl: float,
    factor: float,
) -> None:
    lengths = Workload(np.array([isl, isl * factor]), np.asarray(1000.0))
    worker = prefill_worker(machine, model, GPUS, inside, lengths, plain)
    assert worker.seconds_per_token[1] >= worker.seconds_per_token[0]
    assert worker.latency[1] >= worker.latency[0]
    assert worker.capacity[1] <= worker.capacity[0]


def test_four_gpus_that_share_a_request_by_hand(
    machine: MachineArrays,
    model: ModelArrays,
    inside: PathArrays,
    workload: Workload,
    plain: Calibration,
) -> None:
    worker = prefill_worker(
        machine, model, GPUS, inside, workload, plain, attention_dp=np.asarray(False)
    )
    # 10 M of the 100 M weights are not split. The 8 M of routed experts are, unevenly.
    uneven = 0.5 * math.sqrt(2 * math.log(4)) * math.sqrt(4 / 16)
    params = 1e7 + (9e7 + 8e6 * uneven) / 4
    products = 2 * params / (4e13 * 0.2) + ATTENTION / 4
    # 900 tokens of 2 kB: 3/4 of it twice at a quarter of 100 GB/s, 40 us, and 10 us to launch.
    reduce = 2 * 3 / 4 * 1.8e6 / 2.5e10 + 40e-6 + 10e-6
    alone = 900 * products + 2 * 5 * reduce
    assert worker.seconds_per_token == pytest.approx(alone / 900)
    assert worker.latency == pytest.approx(0.1 + alone + 900 * 250 / 1e10)
    # One server: the next request comes when this one is done.
    assert worker.servers == 1
    assert worker.capacity == pytest.approx(1 / alone)


def test_one_gpu_shares_nothing(
    machine: MachineArrays,
    model: ModelArrays,
    inside: PathArrays,
    workload: Workload,
    plain: Calibration,
) -> None:
    own, shared = (
        prefill_worker(machine, model, np.asarray(1.0), inside, workload, plain, attention_dp=dp)
        for dp in (True, False)
    )
    for name, value in own._asdict().items():
        assert getattr(shared, name) == pytest.approx(value, rel=1e-12)


def test_modes_stand_side_by_side(
    machine: MachineArrays,
    model: ModelArrays,
    inside: PathArrays,
    workload: Workload,
    plain: Calibration,
) -> None:
    modes = np.array([True, False])
    both = prefill_worker(
        machine, model, np.array([4.0, 4.0]), inside, workload, plain, attention_dp=modes
    )
    for place, dp in enumerate(modes):
        one = prefill_worker(machine, model, GPUS, inside, workload, plain, attention_dp=dp)
        for name, values in both._asdict().items():
            assert values[place] == getattr(one, name)


def r1_worker(cluster: ClusterSpec, gpus: int, isl: float, dp: bool = False) -> Prefill:
    """One worker of R1 in FP4 under the shipped constants."""
    return prefill_worker(
        machine_arrays(cluster.hardware(), R1, "fp4"),
        model_arrays(R1, "fp4"),
        np.asarray(float(gpus)),
        path_arrays(group_table(cluster, [gpus])[gpus]),
        Workload(np.asarray(isl), np.asarray(1024.0)),
        load_calibration(),
        attention_dp=dp,
    )


@given(st.floats(4096, 1e5), st.floats(900, 9000), st.sampled_from([2, 4, 8, 16, 32]))
def test_more_gpus_on_nvlink_answer_a_long_prompt_sooner(
    isl: float, rate: float, gpus: int
) -> None:
    # A short one may wait longer for the latency of the all-reduces than it gains.
    rack = ClusterSpec(sku="gb200", gpus=72, nvlink_gb_s=rate)
    fewer, more = (r1_worker(rack, number, isl) for number in (gpus, 2 * gpus))
    assert more.latency < fewer.latency
    assert fewer.latency < r1_worker(rack, gpus, isl, dp=True).latency


@given(
    st.floats(16, 1e5),
    st.sampled_from(["nvlink_gb_s", "nic_gb_s"]),
    st.floats(10, 2000),
    st.floats(1, 10),
    st.sampled_from([2, 4, 8, 16, 32]),
)
def test_a_faster_link_never_slows_a_shared_request(
    isl: float, link: str, rate: float, factor: float, gpus: int
) -> None:
    slow, fast = (
        r1_worker(ClusterSpec.model_validate({"sku": "b200", "gpus": 72, link: each}), gpus, isl)
        for each in (rate, rate * factor)
    )
    assert fast.latency <= slow.latency * (1 + 1e-12)
    assert fast.capacity >= slow.capacity * (1 - 1e-12)


def test_a_shared_request_across_the_nics_is_slow() -> None:
    b200, gb200 = (default_cluster(sku, 72) for sku in ("b200", "gb200"))
    assert r1_worker(b200, 16, 8192).latency > r1_worker(b200, 8, 8192).latency
    assert r1_worker(gb200, 16, 8192).latency < r1_worker(gb200, 8, 8192).latency
