"""What is best were an assumed fact otherwise."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.calibration_file import shipped_calibration
from costmodel.draws import draw_constants, single
from costmodel.results import Scenario
from optimizer import Answer, Limits, Problem, Space, curve
from optimizer import assumed as module
from optimizer.assumed import AssumedFact, assumed_facts, supposing, suppositions
from optimizer.robustness.draws import draw
from optimizer.robustness.holdings import holdings
from optimizer.robustness.next_rows import NextMeasurement, SettledFact, chosen, next_rows
from optimizer.robustness.trials import try_draws
from presets import ClusterSpec, default_cluster, load_hardware
from tests.samples import nics_assumed

pytestmark = pytest.mark.many_cases

TARGETS = [40.0, 90.0, 125.0]
SPACE = Space(
    prefill_workers=(1, 2, 3),
    prefill_gpus=(4,),
    decode_workers=(1, 2, 4, 8),
    decode_gpus=(8, 32),
    mtp_depths=(0, 2),
)
B200 = default_cluster("b200", 72)


@pytest.fixture
def problem(
    scenario: Scenario, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> Problem:
    """On machines whose NICs are taken to be of 50 GB/s, and of 25 or 100 by other sources."""
    marked = {"b200": nics_assumed(load_hardware("b200")), "gb200": load_hardware("gb200")}
    monkeypatch.setattr("presets.cluster.load_hardware", marked.__getitem__)
    return Problem(scenario, B200, Limits(125.0), calibration, SPACE)


def throughput(answer: Answer) -> float:
    return answer.prediction.total_tok_s_per_gpu if answer.prediction else 0.0


def test_facts_are_those_that_the_cost_model_reads(problem: Problem) -> None:
    (fact,) = assumed_facts(problem)
    assert (fact.sku, fact.fact, fact.unit) == ("b200", "scale_out_rate", "B/s")
    assert fact.values == (50e9, 25e9, 100e9)
    # The latency of NICs is assumed, and read nowhere.
    one_domain = replace(problem, cluster=default_cluster("gb200", 72))
    assert "scale_out_latency" in one_domain.cluster.assumed()
    assert assumed_facts(one_domain) == ()
    # A machine of prefill whose workers do cross.
    wide = replace(SPACE, prefill_gpus=(16,))
    elsewhere = replace(one_domain, prefill_cluster=B200, space=wide)
    assert [found.sku for found in assumed_facts(elsewhere)] == ["b200"]


def test_what_a_cluster_says_is_not_assumed(problem: Problem) -> None:
    stated = ClusterSpec(sku="b200", gpus=72, nic_gb_s=60.0)
    assert "scale_out_rate" not in stated.assumed()
    assert assumed_facts(replace(problem, cluster=stated)) == ()


def test_any_assumed_fact_takes_part(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset that marks its memory rate as assumed has it drawn, with no code for that."""
    rate = load_hardware("b200").hbm_rate
    assert rate.alternatives
    machine = nics_assumed(load_hardware("b200")).model_copy(
        update={"hbm_rate": rate.model_copy(update={"kind": "assumed"})}
    )
    monkeypatch.setattr("presets.cluster.load_hardware", lambda name: machine)
    other = replace(problem, cluster=ClusterSpec(sku="b200", gpus=64))
    assert [fact.fact for fact in assumed_facts(other)] == ["scale_out_rate", "hbm_rate"]


def test_suppositions_are_what_a_search_of_all_targets_finds(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = curve(problem, TARGETS)
    found = [
        (answer.configuration, answer.prediction)
        for answer in answers
        if answer.configuration and answer.prediction
    ]
    assert len(found) == len(TARGETS)
    searched: list[float] = []

    def counted(other: Problem, targets: list[float], *, explained: bool) -> list[Answer]:
        searched.extend(targets)
        return curve(other, targets, explained=explained)

    monkeypatch.setattr(module, "curve", counted)
    supposed = list(suppositions(problem, TARGETS, found))
    assert [each.value for each in supposed] == [25e9, 100e9]
    for each in supposed:
        whole = curve(supposing(problem, {each.fact: each.value}), TARGETS)
        assert each.predictions == tuple(answer.prediction for answer in whole)
    assert searched == TARGETS * 2  # caches go over NICs at each
    assert supposed[1].predictions[-1] != found[-1][1]


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rates=st.lists(st.floats(5e9, 4e11), min_size=2, max_size=3, unique=True),
    target=st.floats(20.0, 200.0),
)
def test_a_quicker_nic_never_makes_the_best_worse(
    problem: Problem, rates: list[float], target: float
) -> None:
    (fact,) = assumed_facts(problem)
    found = [
        throughput(curve(supposing(problem, {fact: value}), [target], explained=False)[0])
        for value in sorted(rates)
    ]
    assert all(slower <= quicker * (1 + 1e-4) for slower, quicker in pairwise(found))


def test_values_of_a_fact_are_dealt_out_evenly_beside_the_constants(problem: Problem) -> None:
    file = shipped_calibration()
    drawn = draw(problem, file, 30, 0)
    ((fact, values),) = drawn.facts.items()
    for start in range(0, 30, 3):  # every few draws have all
        assert sorted(values[start : start + 3]) == sorted(fact.values)
    assert len({tuple(values[start : start + 3]) for start in range(0, 30, 3)}) > 2
    alone = draw_constants(file, 30, 0)
    assert all((drawn.constants[name] == each).all() for name, each in alone.items())
    assert sorted(np.concatenate([draws for _, draws in drawn.machines])) == [*range(30)]
    for there, draws in drawn.machines:
        assert set(values[draws]) == {there.cluster.hardware().scale_out_rate.value}
    under = drawn.problem_of(7)
    assert under.cluster.hardware().scale_out_rate.value == values[7]
    assert under.calibration == single(file, alone, 7)


def test_robustness_counts_an_assumed_fact_and_a_run_across_domains_settles_it(
    problem: Problem,
) -> None:
    file, winner = shipped_calibration(), curve(problem, [125.0])[0].configuration
    assert winner is not None
    assert winner.decode_gpus_per_worker == 32
    trials = try_draws(winner, problem, file, draws=60)
    found = holdings(trials)
    (by_value,) = found.assumed
    assert (by_value.sku, by_value.fact) == ("b200", "scale_out_rate")
    assert [(taken.value, taken.draws) for taken in by_value.taken_as] == [
        (value, 20) for value in (50e9, 25e9, 100e9)
    ]
    as_assumed, slower, quicker = (taken.stays_best for taken in by_value.taken_as)
    assert slower != as_assumed
    assert found.retuned.stays_best == pytest.approx((slower + as_assumed + quicker) / 3)
    rows = next_rows(trials, problem, file, ())
    name = SettledFact(sku="b200", fact="scale_out_rate")
    settling = [row.config for row in rows if name in row.settles]
    assert settling
    assert all(each.decode_gpus_per_worker > 8 for each in settling)
    # Where the rate is known there is nothing of the kind.
    stated = ClusterSpec(sku="b200", gpus=72, nic_gb_s=50.0)
    known = try_draws(winner, replace(problem, cluster=stated), file, draws=60)
    assert holdings(known).assumed == ()
    assert holdings(known).retuned.stays_best > found.retuned.stays_best


def test_a_fact_that_decides_is_settled_by_a_row(problem: Problem) -> None:
    """A run that settles it takes the place of the last that does not, were all others better."""
    config = curve(problem, [125.0])[0].configuration
    assert config is not None
    others = [
        NextMeasurement(
            config=config.model_copy(update={"mtp_depth": depth}),
            expected_gain=0.1,
            changes_choice=0.5,
        )
        for depth in range(4)
    ]
    wide = config.model_copy(update={"decode_gpus_per_worker": 32, "decode_ep": 32})
    name = SettledFact(sku="b200", fact="scale_out_rate")
    last = NextMeasurement(config=wide, expected_gain=0.0, changes_choice=0.1, settles=(name,))
    assert chosen(others) == tuple(others[:3])
    assert chosen([*others, last]) == (*others[:2], last)
    assert chosen([last, *others]) == (last, *others[:2])


def test_a_supposed_fact_leaves_the_rest_alone() -> None:
    supposed = B200.supposing({"scale_out_latency": 1.5e-6})
    now, then = B200.hardware(), supposed.hardware()
    assert then.scale_out_latency.value == 1.5e-6
    back = then.scale_out_latency.model_copy(update={"value": now.scale_out_latency.value})
    assert then.model_copy(update={"scale_out_latency": back}) == now
    fact = AssumedFact(
        sku="h200", fact="scale_out_latency", unit="s", value=5e-6, alternatives=(1e-6,)
    )
    assert B200.supposing({}).hardware() == now
    assert fact.values == (5e-6, 1e-6)
