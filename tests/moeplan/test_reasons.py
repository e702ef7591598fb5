import pytest

from costmodel.calibration import Calibration
from costmodel.calibration_file import load_calibration
from costmodel.predictions import predict
from costmodel.results import Configuration, Scenario
from moeplan.answers.reasons import gpu_time, lost_by
from optimizer import Limits, Problem, Ranked
from optimizer.value import value_of
from presets import default_cluster, load_model

BASE = Configuration(
    prefill_workers=1,
    prefill_gpus_per_worker=4,
    decode_workers=1,
    decode_gpus_per_worker=16,
    decode_ep=16,
    decode_attention="dp",
    max_batch=32,
    mtp_depth=1,
    concurrency=560,
)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario(model=load_model("deepseek-r1-0528"))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return load_calibration()


def explained(
    scenario: Scenario, calibration: Calibration, sku: str = "b200", **changes: object
) -> str:
    cluster = default_cluster(sku, 72)
    other = BASE.model_copy(update=changes)
    winner, loser = predict([BASE, other], scenario, cluster, calibration)
    problem = Problem(scenario, cluster, Limits(1.0), calibration)
    first, second = (Ranked(each, value_of(problem, each, None)) for each in (winner, loser))
    return lost_by(first, second, scenario)


def test_gpu_time_adds_up(scenario: Scenario, calibration: Calibration) -> None:
    cluster = default_cluster("b200", 72)
    (predicted,) = predict([BASE], scenario, cluster, calibration)
    problem = Problem(scenario, cluster, Limits(1.0), calibration)
    times = gpu_time(Ranked(predicted, value_of(problem, predicted, None)), scenario)
    assert sum(times.values()) == pytest.approx(1 / predicted.prediction.total_tok_s_per_gpu)
    assert times["prefill"] == pytest.approx(sum(times.values()) * 4 / 20)
    not_here = ("all-reduce", "prefill of other requests", "idle")
    parts = [time for name, time in times.items() if name not in not_here]
    assert min(parts) > 0
    assert times["all-reduce"] == 0  # attention dp


def test_needless_prefill_is_named(scenario: Scenario, calibration: Calibration) -> None:
    text = explained(scenario, calibration, prefill_workers=4)
    assert text.endswith("prefill takes 16 of 32 GPUs, against 4 of 20 GPUs")


def test_fewer_tokens_of_a_step_are_named(scenario: Scenario, calibration: Calibration) -> None:
    text = explained(scenario, calibration, concurrency=16)
    assert " ms of a step that gives each GPU 1." in text
    assert " tokens, against " in text


def test_empty_slots_are_named(scenario: Scenario, calibration: Calibration) -> None:
    text = explained(scenario, calibration, concurrency=540)
    assert " % dearer: share of GPU time lost to ramp-up, drain and empty slots: " in text
    assert text.count(" %") == 3


def test_what_reads_alike_is_no_reason(scenario: Scenario, calibration: Calibration) -> None:
    assert explained(scenario, calibration, mtp_depth=1) == "equal"


def test_a_part_of_the_step_is_named(scenario: Scenario, calibration: Calibration) -> None:
    text = explained(
        scenario,
        calibration,
        decode_gpus_per_worker=32,
        decode_ep=32,
        prefill_workers=2,
        concurrency=1120,
    )
    assert "dispatch and combine: " in text
    assert " ms of a step" in text


def test_prefill_that_feeds_no_more_is_named(scenario: Scenario, calibration: Calibration) -> None:
    """One prefill worker before 32 decode GPUs of many slots: no shorter step would help."""
    wide = {"decode_gpus_per_worker": 32, "decode_ep": 32, "max_batch": 256, "concurrency": 2000}
    text = explained(scenario, calibration, "gb200", **wide)
    assert text.endswith("busy, is 4 of 36 GPUs, against 4 of 20")
    assert " % dearer: prefill, 9" in text
