import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.counts import machine_arrays, model_arrays
from costmodel.hand_over import descriptors, hand_over_busy, hand_over_bytes
from costmodel.inputs import MachineArrays
from costmodel.workload import Workload
from presets import default_cluster, load_hardware, load_model

R1 = model_arrays(load_model("deepseek-r1-0528"), "fp8")
RATE = np.asarray(50e9)


def workload(tokens: float, page: float) -> Workload:
    return Workload(np.asarray(tokens / 0.9), np.asarray(1024.0), hand_over_page=np.asarray(page))


def of(sku: str) -> MachineArrays:
    return machine_arrays(load_hardware(sku), load_model("deepseek-r1-0528"), "fp8")


def milliseconds(sku: str, tokens: float, page: float) -> float:
    machine = of(sku)
    busy = hand_over_busy(machine, R1, workload(tokens, page), RATE)
    return float(1e3 * (machine.hand_over_start + busy))


@pytest.mark.parametrize(
    ("tokens", "page", "expected"),
    [(7373, 16, 40), (7373, 32, 21), (7373, 64, 12), (7373, math.inf, 6.4), (921, math.inf, 1.15)],
)
def test_hand_over_of_r1_over_connectx_7(tokens: float, page: float, expected: float) -> None:
    """As the formula gives them by hand with 35,136 B a token, 61 layers and 43.4 GB/s."""
    assert milliseconds("h200", tokens, page) == pytest.approx(expected, rel=0.03)


def test_pages_of_a_layer_are_whole_and_a_packed_layer_is_one() -> None:
    assert descriptors(R1, workload(900, 64)) == 61 * 15
    assert descriptors(R1, workload(900, math.inf)) == 61
    assert descriptors(R1, workload(1, 64)) == 61


def test_thor_2_as_it_was_measured() -> None:
    """31 us, 48.9 GB/s and 0.044 us a piece: 18 rows of MORI-IO on MI300X."""
    machine = machine_arrays(
        default_cluster("mi300x", 8).model_copy(update={"nic": "thor2"}).hardware(),
        load_model("deepseek-r1-0528"),
        "fp8",
    )
    size = float(hand_over_bytes(R1, workload(7373, 64)))
    busy = hand_over_busy(machine, R1, workload(7373, 64), RATE)
    assert busy == pytest.approx(size / 48.9e9, rel=0.01)
    assert machine.hand_over_start == 31e-6


@given(
    tokens=st.floats(1, 1e6),
    page=st.sampled_from([1.0, 16.0, 64.0, math.inf]),
    more=st.floats(1, 10),
)
def test_larger_caches_smaller_pages_and_slower_nics_take_longer(
    tokens: float, page: float, more: float
) -> None:
    machine = of("b200")
    base = hand_over_busy(machine, R1, workload(tokens, page), RATE)
    assert hand_over_busy(machine, R1, workload(tokens * more, page), RATE) >= base
    assert hand_over_busy(machine, R1, workload(tokens, page), RATE / more) >= base
    coarser = hand_over_busy(machine, R1, workload(tokens, page * 2), RATE)
    assert coarser <= base
    slower = machine._replace(descriptor_time=machine.descriptor_time * more)
    assert hand_over_busy(slower, R1, workload(tokens, page), RATE) >= base
