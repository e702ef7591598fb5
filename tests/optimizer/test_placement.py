import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.results import Scenario
from optimizer.placement import packs
from optimizer.prefill import prefill_options
from optimizer.problem import Limits, Problem
from optimizer.space import Space
from optimizer.spans import spans_of
from optimizer.worker_counts import worker_counts
from presets import InputError, default_cluster
from topology import pack_workers


@pytest.mark.parametrize(
    ("gpus", "decode", "prefill", "fits"),
    [
        (72, (32, 2), (8, 1), True),
        (72, (32, 2), (8, 2), False),  # 80 GPUs
        (144, (16, 8), (8, 2), True),
        (144, (16, 9), (4, 0), False),  # a domain of 72 holds four of 16, and 8 GPUs are left
    ],
)
def test_workers_need_room_in_the_domains(
    gpus: int, decode: tuple[int, int], prefill: tuple[int, int], fits: bool
) -> None:
    assert packs(default_cluster("gb200", gpus), decode, prefill) is fits


def test_fleets_that_find_no_room_are_not_counted(
    scenario: Scenario, calibration: Calibration
) -> None:
    space = Space(decode_gpus=(16,), batch_ratio=2.0)
    problem = Problem(scenario, default_cluster("gb200", 144), Limits(1.0, 144), calibration, space)
    spans, options = spans_of(problem), prefill_options(problem)
    pairs = worker_counts(problem, spans, options)[16]
    assert pairs.decode_workers.max() == 8
    assert pairs.gpus.max() <= 144
    assert (pairs.weight[1:] >= pairs.weight[:-1]).all()


@settings(max_examples=150, deadline=None)
@given(
    sku=st.sampled_from(["gb200", "b200", "h100"]),
    gpus=st.integers(1, 160),
    decode=st.tuples(st.sampled_from([1, 2, 4, 8, 16, 32, 64, 72]), st.integers(1, 16)),
    prefill=st.tuples(st.sampled_from([1, 2, 3, 4, 8, 12]), st.integers(1, 16)),
)
def test_the_short_way_agrees_with_packing(
    sku: str, gpus: int, decode: tuple[int, int], prefill: tuple[int, int]
) -> None:
    cluster = default_cluster(sku, gpus)
    sizes = [decode[0]] * decode[1] + [prefill[0]] * prefill[1]
    try:
        pack_workers(cluster, sizes)
    except InputError:
        assert not packs(cluster, decode, prefill)
    else:
        assert packs(cluster, decode, prefill)
