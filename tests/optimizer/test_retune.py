from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.calibration_file import load_calibration, shipped_calibration
from costmodel.draws import draw_constants, drawn, single
from costmodel.predictions import predict
from costmodel.results import Configuration, Scenario
from optimizer import Limits, Problem, Space, best
from optimizer.robustness.retune import fleet_of, retuning_of, with_settings
from presets import default_cluster

pytestmark = pytest.mark.many_cases

GB200 = default_cluster("gb200", 72)
SHAPES: list[tuple[int, int, int, int, Literal["tp", "dp"], int, int]] = [
    (2, 1, 32, 32, "dp", 2, 0),
    (1, 4, 8, 8, "tp", 3, 0),
    (1, 3, 16, 16, "dp", 0, 0),
    (3, 2, 8, 8, "dp", 1, 0),
    (2, 1, 32, 32, "dp", 2, 288),
    (1, 2, 8, 1, "tp", 2, 0),
    (1, 1, 16, 1, "dp", 1, 0),
]
FLEETS = [
    Configuration(
        prefill_workers=prefill,
        prefill_gpus_per_worker=4,
        decode_workers=decode,
        decode_gpus_per_worker=gpus,
        decode_ep=ep,
        decode_attention=attention,
        max_batch=1,
        mtp_depth=depth,
        eplb_slots=slots,
        concurrency=1,
        frontends=1,
    )
    for prefill, decode, gpus, ep, attention, depth, slots in SHAPES
]


def alone(fleet: Configuration) -> Space:
    """Every batch of one fleet; the search also tries EP of all GPUs, and copies of experts."""
    return Space(
        prefill_workers=(fleet.prefill_workers,),
        prefill_gpus=(fleet.prefill_gpus_per_worker,),
        decode_workers=(fleet.decode_workers,),
        decode_gpus=(fleet.decode_gpus_per_worker,),
        narrow_ep=(fleet.decode_ep,),
        attention=(fleet.decode_attention,),
        prefill_attention=(fleet.prefill_attention,),
        mtp_depths=(fleet.mtp_depth,),
        batch_ratio=1.0005,
    )


@pytest.mark.parametrize(
    "limits",
    [
        Limits(40),
        Limits(90),
        Limits(90, max_ttft=0.5),
        Limits(180),
        Limits(90, concurrency=700),
        Limits(40, concurrency=6000, max_ttft=4.0),
        Limits(150, concurrency=20),
        Limits(90, min_confidence=0.95),
        Limits(90, concurrency=700, min_confidence=0.8),
    ],
)
def test_retuned_fleets_are_what_a_search_of_their_batches_finds(
    limits: Limits, scenario: Scenario, calibration: Calibration
) -> None:
    retuned = retuning_of(FLEETS, Problem(scenario, GB200, limits, calibration)).under(calibration)
    answers = with_settings(FLEETS, retuned)
    for place, fleet in enumerate(FLEETS):
        found = best(Problem(scenario, GB200, limits, calibration, alone(fleet)))
        retuned_to = float(retuned.total_tok_s_per_gpu[place])
        if found.configuration is None:
            assert answers[place] is None
            continue
        assert found.prediction is not None
        searched = found.prediction.total_tok_s_per_gpu
        if fleet_of(found.configuration) == fleet:
            assert retuned_to == pytest.approx(searched, rel=2e-3)
        else:  # another EP, or with copies of experts or without
            assert retuned_to <= searched * (1 + 2e-3)


@given(
    st.floats(10.0, 250.0),
    st.sampled_from([None, 0.3, 1.0]),
    st.sampled_from([None, 10, 400, 5000]),
    st.sampled_from([None, 0.9]),
)
@settings(max_examples=40, deadline=None)
def test_settings_meet_the_limits_and_give_what_is_said(
    target: float, ttft: float | None, users: int | None, confidence: float | None
) -> None:
    from presets import load_model

    scenario, calibration = Scenario(model=load_model("deepseek-r1-0528")), load_calibration()
    limits = Limits(target, max_ttft=ttft, concurrency=users, min_confidence=confidence)
    retuned = retuning_of(FLEETS, Problem(scenario, GB200, limits, calibration)).under(calibration)
    for place, answer in enumerate(with_settings(FLEETS, retuned)):
        if answer is None:
            assert retuned.total_tok_s_per_gpu[place] == 0.0
            continue
        assert fleet_of(answer) == FLEETS[place]
        prediction = predict([answer], scenario, GB200, calibration)[0].prediction
        low = prediction.interval_90["tok_s_per_user"][0]
        assert prediction.tok_s_per_user >= target * (1 - 1e-6)
        if confidence is not None:  # the low end is 1.645 deviations away, 0.9 asks for 1.2816
            promised = prediction.tok_s_per_user * (low / prediction.tok_s_per_user) ** 0.7791
            assert promised >= target * (1 - 1e-5)
        assert users is None or answer.concurrency == users
        assert ttft is None or prediction.ttft_ms <= 1e3 * ttft * (1 + 1e-6)
        assert prediction.total_tok_s_per_gpu == pytest.approx(
            retuned.total_tok_s_per_gpu[place], rel=1e-6
        )


def test_a_lower_target_never_gives_less(scenario: Scenario, calibration: Calibration) -> None:
    values = [
        retuning_of(FLEETS, Problem(scenario, GB200, Limits(target), calibration))
        .under(calibration)
        .total_tok_s_per_gpu
        for target in (200.0, 150.0, 100.0, 60.0)
    ]
    assert np.all(np.diff(values, axis=0) >= -1e-3 * np.array(values[1:]))


def test_many_draws_at_once_are_each_alone(scenario: Scenario) -> None:
    file = shipped_calibration()
    constants = draw_constants(file, 3, 0)
    retuning = retuning_of(FLEETS, Problem(scenario, GB200, Limits(100.0), file.calibration))
    every = retuning.under(drawn(file, constants)).total_tok_s_per_gpu
    assert every.shape == (3, len(FLEETS))
    for draw in range(3):
        one = retuning.under(single(file, constants, draw)).total_tok_s_per_gpu
        np.testing.assert_allclose(every[draw], one, rtol=1e-9)
