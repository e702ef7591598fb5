"""Deployments as they are promised, evaluated and predicted: one after the other, no less."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from costmodel.calibration import Calibration
from costmodel.results import Scenario
from costmodel.serving import MOST_LOAD
from optimizer import Limits, Problem, Space
from optimizer.candidates import candidates_of
from optimizer.spans import points_at
from presets import InputError, default_cluster
from tests.optimizer.evaluated import everything
from topology import group_table

ASKED: list[dict[str, Any]] = [
    {},
    {"max_ttft": 1.0},
    {"max_ttft": 2.0, "ttft_percentile": 95.0},
    {"concurrency": 200},
    {"concurrency": 200, "max_ttft": 3.0},
    {"min_confidence": 0.9},
    {"target_percentile": 99.0},
]


@pytest.mark.parametrize("serving", ["disaggregated", "aggregated"])
@pytest.mark.parametrize("sku", ["gb200", "b200"])
@pytest.mark.parametrize("asked", ASKED)
def test_what_is_promised_is_no_less_than_what_is_predicted(
    sku: str, serving: Any, asked: dict[str, Any], scenario: Scenario, calibration: Calibration
) -> None:
    limits = Limits(60.0, **asked)
    problem = Problem(scenario, default_cluster(sku, 72), limits, calibration, serving=serving)
    found = everything(problem, 2 if serving == "aggregated" else 61)
    given = found.evaluated.throughput
    merit = found.candidates.merit(found.evaluated.fleet, given)
    assert np.all(found.promised.merit.first >= merit.first)
    good = found.evaluated.take(given > 0.0)
    assert len(good) > 20
    predicted = found.predicted()
    throughput = [
        each.prediction.total_tok_s_per_gpu * each.configuration.gpus for each in predicted
    ]
    assert throughput == pytest.approx(good.throughput.tolist(), rel=1e-6)
    assert max(each.prefill_load for each in predicted) <= MOST_LOAD * (1 + 1e-6)
    if "min_confidence" not in asked and "target_percentile" not in asked:
        speed = [each.prediction.tok_s_per_user for each in predicted]
        assert speed == pytest.approx(good.speed.tolist(), rel=1e-6)
        assert min(speed) >= 60.0 * (1 - 1e-7)
    if "max_ttft" in asked and "ttft_percentile" not in asked:
        assert max(each.prediction.ttft_ms for each in predicted) <= 1e3 * asked["max_ttft"]


@pytest.mark.parametrize("sku", ["gb200", "b200"])
def test_no_other_batch_of_a_worker_yields_more(
    sku: str, scenario: Scenario, calibration: Calibration
) -> None:
    """Of all slots at the target the operating point has the most, and with those the rate."""
    problem = Problem(scenario, default_cluster(sku, 72), Limits(1.0), calibration)
    spans = candidates_of(problem).spans
    for points in points_at(spans, np.array([25.0, 100.0, 250.0])):
        full, some = points.full, np.flatnonzero(points.full)
        speed = spans.speed(points.row[some], full[some].astype(np.float64))
        assert np.all(speed >= points.target)
        more = np.flatnonzero(points.more)
        slots = points.more[more].astype(np.float64)
        assert np.all(spans.speed(points.row[more], slots) < points.target)
        for share in (0.3, 0.7, 0.999):
            rate = spans.rate(points.row, share * points.requests).request_rate
            assert np.all(rate <= points.rate)


def test_every_wide_b200_worker_is_there_and_crosses_the_nic(
    scenario: Scenario, calibration: Calibration
) -> None:
    cluster = default_cluster("b200", 72)
    found = candidates_of(Problem(scenario, cluster, Limits(1.0), calibration))
    (points,) = points_at(found.spans, np.array([1.0]))
    kinds = {(shape.gpus, shape.attention) for shape in found.spans.shapes}
    assert {(gpus, mode) for gpus in (16, 32, 64) for mode in ("tp", "dp")} <= kinds
    sizes = found.spans.known.workers.gpus[found.spans.place[points.row]]
    for gpus, path in group_table(cluster, (16, 32, 64)).items():
        assert path.bottleneck == "nic"
        assert path.domains == gpus // 8
        assert found.parts[gpus].stop > found.parts[gpus].start
        assert np.any(sizes == gpus)


def test_a_ttft_limit_leaves_fewer(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    cluster = default_cluster("gb200", 72)
    problem = Problem(scenario, cluster, Limits(1.0, max_ttft=1e6), calibration, small_space)
    free, tight = everything(problem), everything(problem.within(Limits(1.0, max_ttft=0.2)))
    assert 0 < len(tight.configurations) < len(free.configurations)
    assert max(each.prediction.ttft_ms for each in tight.predicted()) <= 200.0 * (1 + 1e-6)


def test_a_budget_too_small_for_any_deployment(
    scenario: Scenario, calibration: Calibration
) -> None:
    cluster = default_cluster("gb200", 72)
    with pytest.raises(InputError, match=r"max_gpus 7 is too few .* takes 8"):
        candidates_of(Problem(scenario, cluster, Limits(1.0, 7), calibration))
    few = default_cluster("gb200", 4)
    with pytest.raises(InputError, match=r"^gpus 4 is too few on gb200; .* takes 8"):
        candidates_of(Problem(scenario, few, Limits(1.0), calibration))


def test_72_gpus_decode_only_beside_a_second_rack(
    scenario: Scenario, calibration: Calibration
) -> None:
    space = Space(decode_gpus=(72,), batch_ratio=1.5)
    racks = default_cluster("gb200", 144)
    problem = Problem(scenario, racks, Limits(1.0, 144), calibration, space)
    assert len(everything(problem).configurations) > 0
    assert {shape.eplb_slots for shape in candidates_of(problem).spans.shapes} == {288}
    with pytest.raises(InputError, match="max_gpus 72"):
        candidates_of(replace(problem, limits=Limits(1.0)))
