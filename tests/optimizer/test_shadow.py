import pytest

from costmodel.calibration import Calibration
from costmodel.results import Scenario
from optimizer import Answer, Limits, Space, best, curve
from optimizer.shadow import ShadowPrice, shadow_prices, wider_questions
from presets import ClusterSpec, default_cluster

B200 = default_cluster("b200", 72)


def priced(
    answer: Answer,
    scenario: Scenario,
    cluster: ClusterSpec,
    calibration: Calibration,
    space: Space,
) -> dict[str, ShadowPrice]:
    assert answer.configuration is not None
    assert answer.prediction is not None
    found = shadow_prices(
        answer.configuration,
        answer.prediction,
        scenario,
        cluster,
        answer.limits,
        calibration,
        space,
    )
    return {price.limit: price for price in found}


def test_prices_are_new_answers(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    limits = Limits(80.0, max_gpus=44, max_ttft=0.6)
    answer = best(scenario, B200, limits, calibration, small_space)
    prices = priced(answer, scenario, B200, calibration, small_space)
    assert list(prices) == [
        "nic_bandwidth",
        "nvlink_bandwidth",
        "hbm_capacity",
        "max_gpus",
        "target",
        "max_ttft",
    ]
    lower = curve(scenario, B200, [75.0], limits, calibration, small_space)[0]
    assert prices["target"].configuration == lower.configuration
    assert prices["target"].prediction == lower.prediction
    more = best(scenario, B200, Limits(80.0, 48, 0.6), calibration, small_space)
    assert prices["max_gpus"].prediction == more.prediction
    assert answer.prediction is not None
    for price in prices.values():
        ratio = price.prediction.total_tok_s_per_gpu / answer.prediction.total_tok_s_per_gpu
        assert price.throughput_change == pytest.approx(ratio - 1.0)
        assert price.cost_change == pytest.approx(1.0 / ratio - 1.0)
        assert price.same == (price.configuration == answer.configuration)
        # Nothing that a wider limit allows is taken away.
        assert price.throughput_change >= -2e-5


def test_links_of_the_new_question_are_a_tenth_faster() -> None:
    cluster = ClusterSpec(sku="b200", gpus=64, nic_gb_s=100.0)
    questions = {each.limit: each for each in wider_questions(cluster, Limits(50.0))}
    assert (questions["nic_bandwidth"].before, questions["nic_bandwidth"].after) == (100.0, 110.0)
    assert questions["nic_bandwidth"].cluster.hardware().nic_rate.value == pytest.approx(110e9)
    assert questions["nvlink_bandwidth"].cluster.hardware().nvlink_rate.value == pytest.approx(
        990e9
    )
    assert questions["nvlink_bandwidth"].cluster.nic_gb_s == 100.0
    # The cluster, not the budget, is what is scarce.
    assert (questions["max_gpus"].before, questions["max_gpus"].after) == (64, 68)
    assert questions["max_gpus"].cluster.gpus == 68
    assert questions["max_gpus"].limits.max_gpus == 68
    assert "max_ttft" not in questions


def test_what_cannot_be_wider_is_left_out() -> None:
    largest = [each.limit for each in wider_questions(default_cluster("b200", 65_536), Limits(5.0))]
    assert "target" not in largest
    assert "max_gpus" in largest
    budget = Limits(5.0, max_gpus=65_536)
    largest = [each.limit for each in wider_questions(default_cluster("b200", 65_536), budget)]
    assert "max_gpus" not in largest


def test_progress_is_called_for_each(
    scenario: Scenario, calibration: Calibration, small_space: Space
) -> None:
    answer = best(scenario, B200, Limits(40.0), calibration, small_space)
    assert answer.configuration is not None
    assert answer.prediction is not None
    seen: list[int] = []
    shadow_prices(
        answer.configuration,
        answer.prediction,
        scenario,
        B200,
        answer.limits,
        calibration,
        small_space,
        lambda: seen.append(1),
    )
    assert len(seen) == len(list(wider_questions(B200, answer.limits)))


def test_the_budget_counts_the_gpus_of_both_clusters() -> None:
    rack, servers = default_cluster("gb200", 32), default_cluster("b200", 72)
    (more,) = (
        each for each in wider_questions(rack, Limits(60.0), servers) if each.limit == "max_gpus"
    )
    assert (more.before, more.after, more.cluster.gpus) == (72, 76, 32)
    (more,) = (
        each
        for each in wider_questions(rack, Limits(60.0, max_gpus=104), servers)
        if each.limit == "max_gpus"
    )
    assert (more.before, more.after, more.cluster.gpus) == (104, 108, 36)
