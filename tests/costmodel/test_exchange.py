"""Kernels across NVLink domains, in numbers that a reader can multiply in the head."""

import numpy as np
import pytest

from costmodel.calibration import Calibration
from costmodel.engine_rules import EXCHANGES, exchange_of, kernels_of
from costmodel.exchange import Group, crossing_exchange, low_latency_time, nic_share
from costmodel.inputs import FloatArray, MachineArrays, ModelArrays, PathArrays, WorkerArrays
from presets.engines import EXCHANGE_NAMES
from presets.folders import engine_names

TEN = np.asarray(10.0)


def only(workers: WorkerArrays, *kernels: str) -> WorkerArrays:
    """Workers that may run some kernels and no other."""
    return workers._replace(
        **{field: np.asarray(name in kernels) for name, field in EXCHANGES.items()}
    )


def seconds(times: FloatArray) -> float:
    return float(np.asarray(times))


def test_low_latency_by_hand(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    across: PathArrays,
    hopper: Calibration,
) -> None:
    # 15 us and 2 us twice; 10 tokens, 2/4 copies of 500 B to each rank, at 200 ps/B and half of the
    # rate, 1 us, which is longer than NVLink. Back 12 us and 3 us twice; 1000 B at 0.8 of the rate,
    # 1.25 us. Twice as long in the engine.
    workers = only(dp_workers, "deepep_low_latency")
    found = crossing_exchange(machine, model, workers, TEN, across, hopper)
    assert seconds(found.dispatch) == pytest.approx(2 * 20e-6)
    assert seconds(found.combine) == pytest.approx(2 * 19.25e-6)
    # Of a token's 2 copies, of 1500 B both ways, 1 leaves the domain; 1/2 goes to the GPU beside.
    assert [seconds(found.nic_bytes), seconds(found.nvlink_bytes)] == [15000, 7500]


@pytest.mark.parametrize("kernel", ["deepep_low_latency", "deepep_normal"])
def test_a_slower_fabric_lengthens_the_kernels_on_it(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    across: PathArrays,
    hopper: Calibration,
    kernel: str,
) -> None:
    workers, slow = only(dp_workers, kernel), machine._replace(kernel_factor=np.asarray(1.5))
    quick = crossing_exchange(machine, model, workers, TEN, across, hopper)
    found = crossing_exchange(slow, model, workers, TEN, across, hopper)
    assert seconds(found.dispatch) == pytest.approx(1.5 * seconds(quick.dispatch))
    assert seconds(found.combine) == pytest.approx(1.5 * seconds(quick.combine))


def test_normal_by_hand(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    across: PathArrays,
    hopper: Calibration,
) -> None:
    # 30 us and 25 us; one copy of 500 B to the other domain for 3/4 of 10 tokens, at half of
    # 10 GB/s, 0.75 us, beside that and 4 x 7/16 copied at 200 GB/s. Back 50 us and 40 us, 2000 B
    # at 0.8 of 10 GB/s and 400 GB/s. Three times as long in the engine.
    workers = only(dp_workers, "deepep_normal")
    found = crossing_exchange(machine, model, workers, TEN, across, hopper)
    there = (0.75**4 + 0.0625**4) ** 0.25
    back = (1.875**4 + 0.125**4) ** 0.25
    assert seconds(found.dispatch) == pytest.approx(3 * (55 + there) * 1e-6)
    assert seconds(found.combine) == pytest.approx(3 * (90 + back) * 1e-6)
    assert [seconds(found.nic_bytes), seconds(found.nvlink_bytes)] == [18750, 21875]


def test_gather_by_hand(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    across: PathArrays,
    hopper: Calibration,
) -> None:
    # 20 us and 5 us twice; 10 tokens of 500 B to the other domain at a quarter of 10 GB/s, 2 us;
    # of 2000 B back, 8 us.
    workers = only(dp_workers, "all_gather")
    found = crossing_exchange(machine, model, workers, TEN, across, hopper)
    assert seconds(found.dispatch) == pytest.approx(32e-6)
    assert seconds(found.combine) == pytest.approx(38e-6)
    assert [seconds(found.nic_bytes), seconds(found.nvlink_bytes)] == [25000, 50000]


def test_deepep_starts_later_on_blackwell(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    across: PathArrays,
    blackwell: Calibration,
    hopper: Calibration,
) -> None:
    for kernel, later in (
        ("deepep_low_latency", 16e-6),
        ("deepep_normal", 24e-6),
        ("all_gather", 0),
    ):
        workers = only(dp_workers, kernel)
        new, old = (
            crossing_exchange(machine, model, workers, TEN, across, each)
            for each in (blackwell, hopper)
        )
        assert seconds(new.dispatch - old.dispatch) == pytest.approx(later)
        assert seconds(new.combine - old.combine) == pytest.approx(later)


def test_the_quickest_kernel_runs_whole(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    across: PathArrays,
    plain: Calibration,
) -> None:
    tokens = np.geomspace(1, 1e5, 60)
    alone = [
        crossing_exchange(machine, model, only(dp_workers, kernel), tokens, across, plain)
        for kernel in EXCHANGE_NAMES
    ]
    chosen = crossing_exchange(machine, model, dp_workers, tokens, across, plain)
    totals = np.array([each.dispatch + each.combine for each in alone])
    quickest = totals.argmin(axis=0)
    assert len(set(quickest.tolist())) > 1
    for name in chosen._fields:
        expected = np.array([getattr(each, name) for each in alone])[quickest, range(len(tokens))]
        np.testing.assert_allclose(getattr(chosen, name), expected)
    assert np.all(np.diff(chosen.dispatch + chosen.combine) >= 0)


def test_formats_are_those_of_the_engine(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    across: PathArrays,
    hopper: Calibration,
) -> None:
    # Input of 300 B when quantised, 500 B else; results of 1000 B in FP4, 2000 B in BF16.
    model = model._replace(expert_input_bytes=np.asarray(300.0))
    for kernel, narrow in (("deepep_low_latency", 1000), ("deepep_normal", 2000)):
        for fp8, sent in ((False, 500), (True, 300)):
            for fp4, back in ((False, 2000), (True, narrow)):
                workers = only(dp_workers, kernel)._replace(
                    fp8_dispatch=np.asarray(fp8), fp4_combine=np.asarray(fp4)
                )
                found = crossing_exchange(machine, model, workers, TEN, across, hopper)
                copies = 1 if kernel == "deepep_low_latency" else 3 / 4
                assert found.nic_bytes == pytest.approx(10 * copies * (sent + back))


def test_a_worker_without_kernels_never_ends(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    across: PathArrays,
    plain: Calibration,
) -> None:
    found = crossing_exchange(machine, model, only(dp_workers), TEN, across, plain)
    assert seconds(found.dispatch) == seconds(found.combine) == np.inf


@pytest.mark.parametrize("domains", [2, 3, 9])
def test_two_links_at_once_carry_what_both_carry(domains: int, plain: Calibration) -> None:
    """Where NICs are as quick as NVLink, domains of 8 exchange like one, or as both links do."""
    rate, ranks, eight = 1e11, np.asarray(8.0 * domains), np.asarray(8.0)
    kernel = plain.low_latency_dispatch._replace(latency=0.0, latency_per_doubling=0.0)
    seconds_per_pair_byte = (ranks - eight) / rate
    apart = PathArrays(
        seconds_per_pair_byte, np.zeros(()), ranks / eight, np.asarray(rate), np.asarray(rate)
    )
    one = apart._replace(domains=np.ones(()))
    found, whole = (
        low_latency_time(
            kernel,
            Group(TEN, ranks, ranks, eight, paths),
            np.asarray(1000.0),
            plain,
        )
        for paths in (apart, one)
    )
    assert kernel.link_efficiency <= kernel.nic_efficiency
    both = kernel.link_efficiency / (kernel.link_efficiency + kernel.nic_efficiency)
    assert seconds(whole) * both <= seconds(found) <= seconds(whole)


@pytest.mark.parametrize("engine", engine_names())
def test_a_named_kernel_is_the_only_one(engine: str) -> None:
    kernels = kernels_of(engine)
    for name in (None, *EXCHANGE_NAMES):
        fields = exchange_of(engine, name)
        allowed = [each for each, field in EXCHANGES.items() if fields[field]]
        assert allowed == [each for each in kernels if name in (None, each)]


def test_no_kernel_takes_more_of_a_nic_than_it_reaches(plain: Calibration) -> None:
    # 0.8 of the rate, twice as long in the engine; 0.8 three times; a quarter as it is.
    assert nic_share(plain) == pytest.approx(0.4)
