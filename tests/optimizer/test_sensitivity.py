from collections.abc import Callable

import pytest

from costmodel.calibration import Calibration
from costmodel.results import Scenario
from optimizer import Answer, Limits, Problem, Space, best, curve
from optimizer.sensitivity import Sensitivity, sensitivities, wider_problems
from presets import ClusterSpec, default_cluster

B200 = default_cluster("b200", 72)


def found(answer: Answer, progress: Callable[[], None] | None = None) -> dict[str, Sensitivity]:
    assert answer.winner is not None
    winner = answer.winner
    every = sensitivities(
        wider_problems(answer.problem),
        winner.configuration,
        winner.prediction,
        winner.amount,
        progress,
    )
    return {each.limit: each for each in every}


def test_prices_are_new_answers(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    limits = Limits(80.0, max_gpus=44, max_ttft=0.6)
    answer = best(Problem(scenario, B200, limits, calibration, small_space))
    prices = found(answer)
    assert list(prices) == [
        "nic_bandwidth",
        "nic_latency",
        "nvlink_bandwidth",
        "nvlink_latency",
        "hbm_capacity",
        "max_gpus",
        "target",
        "max_ttft",
    ]
    lower = curve(Problem(scenario, B200, limits, calibration, small_space), [75.0])[0]
    assert prices["target"].config == lower.configuration
    assert prices["target"].prediction == lower.prediction
    more = best(Problem(scenario, B200, Limits(80.0, 48, 0.6), calibration, small_space))
    assert prices["max_gpus"].prediction == more.prediction
    assert answer.prediction is not None
    for price in prices.values():
        ratio = price.prediction.total_tok_s_per_gpu / answer.prediction.total_tok_s_per_gpu
        assert price.throughput_change == pytest.approx(ratio - 1.0)
        assert price.cost_change == pytest.approx(1.0 / ratio - 1.0)
        assert price.config_changes == (price.config != answer.configuration)
        # Nothing that a wider limit allows is taken away.
        assert price.throughput_change >= -2e-5


def test_links_of_the_new_question_are_a_tenth_faster(
    scenario: Scenario, calibration: Calibration
) -> None:
    cluster = ClusterSpec(sku="b200", gpus=64, nic_gb_s=100.0)
    problem = Problem(scenario, cluster, Limits(50.0), calibration)
    questions = {each.limit: each for each in wider_problems(problem)}
    nic, nvlink = (
        questions[name].problem.cluster for name in ("nic_bandwidth", "nvlink_bandwidth")
    )
    assert (questions["nic_bandwidth"].before, questions["nic_bandwidth"].after) == (100.0, 110.0)
    assert nic.hardware().scale_out_rate.value == pytest.approx(110e9)
    assert questions[
        "nvlink_bandwidth"
    ].problem.cluster.hardware().scale_up_rate.value == pytest.approx(990e9)
    assert nvlink.nic_gb_s == 100.0
    latency = questions["nic_latency"]
    assert (latency.before, latency.after) == pytest.approx((5.0, 5.0 / 1.1))
    hardware = latency.problem.cluster.hardware()
    assert hardware.scale_out_latency.value == pytest.approx(5e-6 / 1.1)
    assert hardware.scale_out_rate.value == pytest.approx(100e9)
    quick = questions["nvlink_latency"].problem.cluster.hardware()
    assert quick.scale_up_latency.value == pytest.approx(1e-6 / 1.1)
    # The cluster, not the budget, is what is scarce.
    assert (questions["max_gpus"].before, questions["max_gpus"].after) == (64, 68)
    assert questions["max_gpus"].problem.cluster.gpus == 68
    assert questions["max_gpus"].problem.limits.max_gpus == 68
    assert "max_ttft" not in questions


def test_what_cannot_be_wider_is_left_out(scenario: Scenario, calibration: Calibration) -> None:
    problem = Problem(scenario, default_cluster("b200", 131_072), Limits(5.0), calibration)
    largest = [each.limit for each in wider_problems(problem)]
    assert "target" not in largest
    assert "max_gpus" in largest
    whole = problem.within(Limits(5.0, max_gpus=131_072))
    largest = [each.limit for each in wider_problems(whole)]
    assert "max_gpus" not in largest


def test_progress_is_called_for_each(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    answer = best(Problem(scenario, B200, Limits(40.0), calibration, small_space))
    seen: list[int] = []
    found(answer, lambda: seen.append(1))
    assert len(seen) == len(list(wider_problems(answer.problem)))


def test_the_budget_counts_the_gpus_of_both_clusters(
    scenario: Scenario, calibration: Calibration
) -> None:
    rack, servers = default_cluster("gb200", 32), default_cluster("b200", 72)
    problem = Problem(scenario, rack, Limits(60.0), calibration, prefill_cluster=servers)
    (more,) = (each for each in wider_problems(problem) if each.limit == "max_gpus")
    assert (more.before, more.after, more.problem.cluster.gpus) == (72, 76, 32)
    every = problem.within(Limits(60.0, max_gpus=104))
    (more,) = (each for each in wider_problems(every) if each.limit == "max_gpus")
    assert (more.before, more.after, more.problem.cluster.gpus) == (104, 108, 36)
