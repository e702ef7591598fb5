"""The search over one pool of workers that prefill what they decode."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Literal

import pytest

from costmodel.calibration import Calibration
from costmodel.predictions import predict
from costmodel.results import Configuration, Predicted, Scenario
from optimizer import Limits, Problem, Space
from optimizer.objective import Objective
from optimizer.robustness.retune import fleet_of, retuning_of, with_settings
from optimizer.search import best, curve
from presets import InputError, default_cluster

pytestmark = pytest.mark.many_cases

TARGETS = (30.0, 80.0, 125.0, 170.0, 230.0)
TINY = Space(
    decode_workers=(1, 2),
    decode_gpus=(4,),
    mtp_depths=(0, 2),
    largest_batch=8,
)


def one_pool(
    scenario: Scenario, calibration: Calibration, limits: Limits, space: Space, sku: str = "b200"
) -> Problem:
    cluster = default_cluster(sku, 72)
    return Problem(scenario, cluster, limits, calibration, space, serving="aggregated")


def every_deployment(
    scenario: Scenario, calibration: Calibration, sku: str = "b200"
) -> list[Predicted]:
    """Each deployment of the tiny space with each number of users up to those that fill it."""
    found: list[Predicted] = []
    for workers, ep, attention, depth, batch in product(
        TINY.decode_workers, (1, 4), TINY.attention, (0, 2), range(1, 9)
    ):
        slots = workers * batch * (4 if attention == "dp" else 1)
        configurations = [
            Configuration(
                serving="aggregated",
                prefill_workers=0,
                prefill_gpus_per_worker=0,
                decode_workers=workers,
                decode_gpus_per_worker=4,
                decode_ep=ep,
                decode_attention=attention,
                max_batch=batch,
                mtp_depth=depth,
                concurrency=users,
                frontends=1,
            )
            for users in range(1, 2 * slots + 5)
        ]
        line = predict(configurations, scenario, default_cluster(sku, 72), calibration)
        # The first that fills all slots is the last: more would only wait.
        filled = next(i for i, one in enumerate(line) if one.batch_in_flight >= batch * (1 - 1e-9))
        found += line[: filled + 1]
    return found


@pytest.mark.parametrize("isl", [1024, 8192])
def test_search_equals_enumeration(isl: int, scenario: Scenario, calibration: Calibration) -> None:
    scenario = scenario.model_copy(update={"isl": isl})
    every = every_deployment(scenario, calibration)
    for limits in (
        Limits(1.0, max_gpus=8),
        Limits(1.0, max_gpus=8, max_ttft=0.4),
        Limits(1.0, max_gpus=8, max_ttft=0.8, target_percentile=99, ttft_percentile=90),
    ):
        late = limits.target_percentile is not None
        answers = curve(one_pool(scenario, calibration, limits, TINY), TARGETS)
        for target, answer in zip(TARGETS, answers, strict=True):
            meeting = [
                one.prediction.total_tok_s_per_gpu
                for one in every
                if 1e3 / tpot_ms(one, late) >= target * (1 - 1e-9)
                and (limits.max_ttft is None or ttft_ms(one, late) <= 1e3 * limits.max_ttft)
            ]
            if not meeting:
                assert answer.winner is None
                continue
            assert answer.predicted is not None
            assert answer.prediction is not None
            assert 1e3 / tpot_ms(answer.predicted, late) >= target * (1 - 1e-6)
            assert answer.prediction.total_tok_s_per_gpu >= max(meeting) * (1 - 1e-6)
            assert answer.prediction.total_tok_s_per_gpu <= max(meeting) * (1 + 1e-3)


def tpot_ms(one: Predicted, late: bool) -> float:
    """The 99th percentile, or the median."""
    return one.percentiles_ms["tpot_p99"] if late else one.prediction.tpot_ms


def ttft_ms(one: Predicted, late: bool) -> float:
    """The 90th percentile, or the mean."""
    return one.percentiles_ms["ttft_p90"] if late else one.prediction.ttft_ms


def test_within_the_data_every_answer_is_modelled(
    scenario: Scenario, calibration: Calibration
) -> None:
    limits = Limits(100.0, within_data=True)
    answer = best(one_pool(scenario, calibration, limits, Space(batch_ratio=1.1)))
    assert answer.prediction is not None
    assert answer.prediction.origin == "modelled"
    with pytest.raises(InputError, match="machine gb200 in aggregated serving"):
        best(one_pool(scenario, calibration, limits, Space(), "gb200"))


def test_a_confidence_is_kept_by_the_interval_of_one_pool(
    scenario: Scenario, calibration: Calibration
) -> None:
    limits = Limits(100.0, min_confidence=0.95, within_data=True)
    answer = best(one_pool(scenario, calibration, limits, Space(batch_ratio=1.1)))
    assert answer.prediction is not None
    low, _ = answer.prediction.interval_90["tok_s_per_user"]
    assert low == pytest.approx(100.0, rel=0.02)


def test_what_cannot_be_reached_is_said(scenario: Scenario, calibration: Calibration) -> None:
    answer = best(one_pool(scenario, calibration, Limits(5000.0), TINY))
    assert answer.winner is None
    assert answer.infeasibility is not None
    assert 200.0 < (answer.infeasibility.highest_target or 0.0) < 1000.0


def test_a_pool_is_retuned_as_it_was_found(scenario: Scenario, calibration: Calibration) -> None:
    problem = one_pool(scenario, calibration, Limits(100.0), Space(batch_ratio=1.05))
    answer = best(problem)
    assert answer.configuration is not None
    fleet = fleet_of(answer.configuration)
    (again,) = with_settings([fleet], retuning_of([fleet], problem).under(calibration))
    assert again is not None
    assert again.max_batch == pytest.approx(answer.configuration.max_batch, abs=1)
    assert again.concurrency == pytest.approx(answer.configuration.concurrency, rel=0.01)


def test_one_pool_has_no_machine_of_its_own_for_prefill(
    scenario: Scenario, calibration: Calibration
) -> None:
    here, there = default_cluster("gb200", 72), default_cluster("b200", 8)
    with pytest.raises(InputError, match="prefill_sku b200 is not valid in aggregated serving"):
        Problem(
            scenario,
            here,
            Limits(50.0),
            calibration,
            prefill_cluster=there,
            serving="aggregated",
        )


@pytest.mark.parametrize("billing", ["gpu", "domain"])
def test_a_rate_is_served_by_copies_of_one_pool(
    billing: Literal["gpu", "domain"], scenario: Scenario, calibration: Calibration
) -> None:
    objective = Objective("gpus", billing, 20.0)
    limits, space = Limits(50.0), Space(batch_ratio=1.1)
    problem = replace(one_pool(scenario, calibration, limits, space, "gb200"), objective=objective)
    answer = best(problem)
    assert answer.winner is not None
    assert (answer.winner.value.served or 0.0) >= 20.0
    assert answer.winner.configuration.serving == "aggregated"
