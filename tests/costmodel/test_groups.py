"""Attention tp inside dp groups, and pipeline stages of prefill workers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel import predict
from costmodel.calibration_file import load_calibration
from costmodel.decode import decode_step
from costmodel.deployments import deployments_of, memory_limit, network_of, prefill_memory_limit
from costmodel.results import Case, Configuration, Scenario
from costmodel.traffic import traffic_of
from presets import InputError, default_cluster, load_model

CALIBRATION = load_calibration()
SCENARIO = Scenario(model=load_model("deepseek-r1-0528"), precision="fp4")
CLUSTER = default_cluster("gb200", 72)


def configuration(**changes: Any) -> Configuration:
    usual = {
        "prefill_workers": 2,
        "prefill_gpus_per_worker": 8,
        "decode_workers": 1,
        "decode_gpus_per_worker": 8,
        "decode_ep": 8,
        "decode_attention": "dp",
        "max_batch": 32,
        "mtp_depth": 2,
        "concurrency": 64,
    }
    return Configuration.model_validate(usual | changes)


def case(**changes: Any) -> Case:
    return Case(configuration(**changes), SCENARIO, CLUSTER)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([2, 4, 8]), st.floats(1.0, 200.0), st.integers(0, 4))
def test_a_group_does_the_same_work_together(group: int, requests: float, depth: int) -> None:
    """Same requests on the worker: experts and their exchange as they are, attention shared."""
    found = deployments_of(
        [case(mtp_depth=depth), case(mtp_depth=depth, decode_attention_tp=group)]
    )
    batch = np.array([requests, group * requests])
    step = decode_step(found.machine, found.model, found.workers, found.paths, batch, CALIBRATION)
    for part in ("dispatch", "combine"):
        alone, together = getattr(step, part).tolist()
        assert together == pytest.approx(alone, rel=0.05)  # exposed beside the experts
    experts, shared_experts = step.experts.tolist()
    assert shared_experts <= experts  # shared experts are read in parts
    alone, together = np.broadcast_to(step.all_reduce, 2).tolist()
    assert alone == 0.0 < together


def test_a_group_holds_more_requests_than_its_gpus_do_alone() -> None:
    alone, together = memory_limit(
        deployments_of([case(), case(decode_attention_tp=4)]), CALIBRATION
    ).tolist()
    # An MLA cache cannot be split, but 4 GPUs keep a fourth of the attention weights each.
    assert together > alone


@pytest.mark.parametrize("attention", ["dp", "tp"])
@pytest.mark.parametrize("stages", [2, 4])
def test_stages_are_as_many_workers_with_one_copy_of_the_model(attention: str, stages: int) -> None:
    whole = case(prefill_attention=attention, prefill_stages=stages)
    parts = case(
        prefill_attention=attention, prefill_workers=2 * stages, prefill_gpus_per_worker=8 // stages
    )
    found = deployments_of([whole, parts])
    network = network_of(found, CALIBRATION)
    total = network.fleet.prefill_workers * network.prefill.capacity
    assert total[0] == pytest.approx(total[1], rel=1e-9)
    latency = network.prefill.latency
    assert latency[1] < latency[0] < 1.01 * latency[1]
    limit = prefill_memory_limit(found, CALIBRATION)
    assert limit[0] > limit[1]


def test_groups_and_stages_are_predicted_and_extrapolated() -> None:
    chosen = configuration(decode_attention_tp=2, prefill_stages=2)
    (found,) = predict([chosen], SCENARIO, CLUSTER, CALIBRATION)
    assert found.prediction.origin == "extrapolated"
    assert "attention tp 2 inside dp" in found.prediction.extrapolated_in
    assert "2 pipeline stages of prefill" in found.prediction.extrapolated_in
    links = traffic_of(Case(chosen, SCENARIO, CLUSTER), CALIBRATION).decode
    assert all(0.0 <= links[name].utilisation <= 1.0 for name in ("nvlink", "nic"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decode_attention_tp": 3}, "decode_attention_tp 3 must divide .* give 1 or 2 or 4 or 8"),
        ({"decode_attention_tp": 2, "decode_attention": "tp"}, "is not valid under decode_attent"),
        ({"prefill_stages": 3}, "prefill_stages 3 must divide prefill_gpus_per_worker 8"),
        (
            {"prefill_stages": 64, "prefill_gpus_per_worker": 64, "prefill_workers": 1},
            "prefill_stages 64 are more than the 61 layers",
        ),
        ({"prefill_workers": 0, "prefill_stages": 2}, "of workers that only prefill; give 1"),
    ],
)
def test_what_cannot_be_parted_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict([configuration(**changes)], SCENARIO, CLUSTER, CALIBRATION)
