"""What must hold whatever the constants are."""

from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.percentiles import percentile_name
from costmodel.predictions import predict
from costmodel.results import Case, Scenario
from costmodel.traffic import traffic_of
from optimizer import Answer, Limits, Objective, Problem, Shape, Space, curve
from optimizer.objective import ObjectiveName
from optimizer.spans import spans_of
from presets import ClusterSpec, default_cluster, load_model

pytestmark = pytest.mark.many_cases

WHOLE_USERS = 1e-4
"""Users are whole: rounding their number up moves a throughput by some 1e-6 of it."""

WIDER = 1e-6
"""A batch in flight is solved for to two parts in a hundred million."""

few = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
targets = st.floats(15.0, 250.0)
factors = st.floats(1.01, 8.0)

SPACE = Space(
    prefill_workers=(1, 2, 3, 4, 6),
    prefill_gpus=(4, 8),
    decode_workers=(1, 2, 4),
    decode_gpus=(8, 16, 32),
    mtp_depths=(0, 2),
    batch_ratio=1.1,
)


def throughput(answer: Answer) -> float:
    """Throughput per GPU of an answer; 0 where there is none [token/s]."""
    return answer.prediction.total_tok_s_per_gpu if answer.prediction else 0.0


@pytest.mark.parametrize("sku", ["gb200", "b200"])
def test_raising_the_target_never_raises_throughput(
    sku: str, scenario: Scenario, calibration: Calibration
) -> None:
    rising, free = np.linspace(10.0, 400.0, 60).tolist(), Limits(1.0)
    cluster = default_cluster(sku, 72)
    found = [
        throughput(each)
        for each in curve(Problem(scenario, cluster, free, calibration), rising, explained=False)
    ]
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(found))
    assert found[0] > found[-1] == 0.0


@few
@given(target=targets, rate=st.floats(25.0, 200.0), factor=factors, wider=st.booleans())
def test_more_bandwidth_never_lowers_throughput(
    scenario: Scenario,
    calibration: Calibration,
    target: float,
    rate: float,
    factor: float,
    wider: bool,
) -> None:
    slow = ClusterSpec(sku="b200", gpus=72, nic_gb_s=rate)
    change = {"nic_gb_s": rate * factor} if wider else {"nvlink_gb_s": 900.0 * factor}
    hold_law(scenario, calibration, target, slow, slow.model_copy(update=change))


@few
@given(target=targets, domain=st.sampled_from([16, 24, 32, 72]))
def test_a_larger_nvlink_domain_never_lowers_throughput(
    scenario: Scenario, calibration: Calibration, target: float, domain: int
) -> None:
    narrow = default_cluster("b200", 72)
    wide = narrow.model_copy(update={"gpus_per_domain": domain})
    hold_law(scenario, calibration, target, narrow, wide)


def hold_law(
    scenario: Scenario,
    calibration: Calibration,
    target: float,
    slow: ClusterSpec,
    fast: ClusterSpec,
) -> None:
    """Better links lower neither what the old winner does on them nor the best answer.

    A quicker prefill keeps more requests in decode, where slots are free: with as many users each
    may get less than the target, so fewer, whose throughput is no less, do as well.
    """
    winner = found_by(Problem(scenario, slow, Limits(target), calibration, SPACE))
    if winner.predicted is None:
        return
    before, was = throughput(winner), winner.predicted.configuration
    users = range(was.concurrency, was.concurrency // 2, -1)
    after = chain.from_iterable(
        predict(
            [was.model_copy(update={"concurrency": number}) for number in some],
            scenario,
            fast,
            calibration,
        )
        for some in (users[place : place + 32] for place in range(0, len(users), 32))
    )
    first = next(after).prediction
    assert first.total_tok_s_per_gpu >= before * (1 - 1e-3)
    kept = next(
        each
        for each in chain([first], (one.prediction for one in after))
        if each.tok_s_per_user >= target * (1 - 1e-9)
    )
    assert kept.total_tok_s_per_gpu >= before * (1 - 1e-3)
    found = found_by(Problem(scenario, fast, Limits(target), calibration, SPACE))
    assert throughput(found) >= before * (1 - WHOLE_USERS)


def found_by(problem: Problem) -> Answer:
    """Search without asking why nothing is found, which takes searches of its own."""
    (answer,) = curve(problem, [problem.limits.target], explained=False)
    return answer


@pytest.mark.parametrize("change", [{"nvlink_gb_s": 1000.0}, {"nvlink_gb_s": 1350.0}])
def test_a_full_prefill_wastes_no_bandwidth(
    change: dict[str, float], scenario: Scenario, calibration: Calibration
) -> None:
    """In the whole space, where faster links fill the prefill of many a winner."""
    slow, free = default_cluster("b200", 72), Limits(1.0)
    rising = np.geomspace(12.0, 330.0, 40).tolist()
    before, after = (
        curve(Problem(scenario, cluster, free, calibration), rising, explained=False)
        for cluster in (slow, slow.model_copy(update=change))
    )
    for first, fast in zip(before, after, strict=True):
        assert throughput(fast) >= throughput(first) * (1 - rounding(first, fast))


def rounding(first: Answer, fast: Answer) -> float:
    """Share that may be lost by rounding: one user, where the same workers have one less."""
    was, found = (each.winner and each.winner.configuration for each in (first, fast))
    if was is None or found is None or found.concurrency != was.concurrency - 1:
        return WHOLE_USERS
    same = found == was.model_copy(update={"concurrency": found.concurrency})
    return 1.0 / was.concurrency if same else WHOLE_USERS


@pytest.mark.parametrize(
    "change",
    [
        {"nic_gb_s": 100.0},
        {"nvlink_gb_s": 1800.0},
        {"gpus_per_domain": 16},
        {"gpus_per_domain": 72},
    ],
)
def test_better_links_slow_down_no_decode_worker(
    change: dict[str, float], scenario: Scenario, calibration: Calibration
) -> None:
    before = default_cluster("b200", 72)
    after = before.model_copy(update=change)
    slow, fast = (
        speeds(scenario, cluster, calibration, Space(batch_ratio=1.3))
        for cluster in (before, after)
    )
    assert slow.keys() <= fast.keys()
    # A wider domain lets more workers split their experts, and changes no other.
    domain = after.hardware().gpus_per_domain.value
    added = {shape for shape, _ in fast.keys() - slow.keys()}
    assert all(shape.ep == 1 and 8 < shape.gpus <= domain for shape in added)
    assert bool(added) == (domain > 8)
    assert all(fast[key] >= slow[key] * (1 - 1e-12) for key in slow)


def speeds(
    scenario: Scenario, cluster: ClusterSpec, calibration: Calibration, space: Space
) -> dict[tuple[Shape, int], float]:
    """Interactivity of every decode worker with each number of slots full [token/s]."""
    spans = spans_of(Problem(scenario, cluster, Limits(1.0), calibration, space))
    found: dict[tuple[Shape, int], float] = {}
    for row, most in enumerate(spans.most.tolist()):
        slots = np.append(spans.grid[spans.grid < most], most)
        speed = spans.speed(np.full(len(slots), row), slots.astype(np.float64))
        shape = spans.shapes[spans.place[row]]
        found |= {(shape, n): one for n, one in zip(slots.tolist(), speed.tolist(), strict=True)}
    return found


@few
@given(target=targets, price=st.floats(0.5, 5.0), factor=factors)
def test_a_higher_price_never_lowers_the_cost(
    scenario: Scenario, calibration: Calibration, target: float, price: float, factor: float
) -> None:
    cheap, dear = (
        found_by(
            Problem(
                scenario,
                ClusterSpec(sku="b200", gpus=72, price_usd_per_hour=value),
                Limits(target),
                calibration,
                SPACE,
            )
        ).prediction
        for value in (price, price * factor)
    )
    assert (cheap is None) == (dear is None)
    if cheap and dear:
        assert dear.usd_per_m_total_tokens >= cheap.usd_per_m_total_tokens
        assert dear.total_tok_s_per_gpu == pytest.approx(cheap.total_tok_s_per_gpu, rel=1e-6)


WORKLOADS = ((1024, 1024), (8192, 256), (1024, 4096))

SMALL = Space(
    prefill_workers=(1, 2, 3, 5),
    prefill_gpus=(4, 8),
    decode_workers=(1, 2),
    decode_gpus=(4, 8, 16),
    mtp_depths=(2, 3),
    batch_ratio=1.1,
)


@st.composite
def widenings(draw: st.DrawFn) -> tuple[Limits, Limits]:
    """Limits, and the same with one of them wider or gone."""
    limits = Limits(
        draw(st.floats(2.0, 200.0)),
        max_gpus=draw(st.sampled_from((16, 24, 32, 40, 72))),
        max_ttft=draw(st.none() | st.floats(0.15, 4.0)),
        min_confidence=draw(st.none() | st.floats(0.5, 0.99)),
        target_percentile=draw(st.none() | st.floats(50.0, 99.9)),
        ttft_percentile=draw(st.none() | st.floats(75.0, 99.9)),
    )
    wider: list[dict[str, Any]] = [
        {"target": limits.target / draw(factors)},
        {"max_gpus": limits.max_gpus + draw(st.integers(1, 40))},
    ]
    if limits.max_ttft is not None:
        wider += [{"max_ttft": limits.max_ttft * draw(factors)}, {"max_ttft": None}]
    if limits.min_confidence is not None:
        less = draw(st.floats(0.5, limits.min_confidence))
        wider += [{"min_confidence": less}, {"min_confidence": None}]
    if limits.target_percentile is not None:
        fewer = draw(st.floats(50.0, limits.target_percentile))
        wider += [{"target_percentile": fewer}, {"target_percentile": None}]
    if limits.ttft_percentile is not None:
        wider += [{"ttft_percentile": draw(st.floats(75.0, limits.ttft_percentile))}]
    return limits, replace(limits, **draw(st.sampled_from(wider)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sku=st.sampled_from(("gb200", "b200", "h200")),
    workload=st.sampled_from(WORKLOADS),
    objective=st.sampled_from(("cost", "throughput", "power")),
    asked=widenings(),
)
def test_no_wider_limit_makes_an_answer_worse(
    scenario: Scenario,
    calibration: Calibration,
    sku: str,
    workload: tuple[int, int],
    objective: ObjectiveName,
    asked: tuple[Limits, Limits],
) -> None:
    """Users and slots are whole, so that TTFT does not rise evenly with the batch."""
    precision = "fp8" if sku == "h200" else "fp4"
    served = scenario.model_copy(
        update={"isl": workload[0], "osl": workload[1], "precision": precision}
    )
    cluster, goal = default_cluster(sku, 72), Objective(objective)
    narrow, wide = (
        found_by(Problem(served, cluster, limits, calibration, SMALL, goal)) for limits in asked
    )
    if narrow.winner is None:
        return
    assert wide.winner is not None
    worse = wide.winner.amount / narrow.winner.amount
    worse = 1 / worse if narrow.winner.value.more_is_better else worse
    assert worse <= 1 + WIDER
    for answer, limits in zip((narrow, wide), asked, strict=True):
        # What the search holds for within a limit, a prediction finds within it as well.
        tpot_ms, ttft_ms = judged_ms(answer, limits)
        if limits.max_ttft is not None:
            assert ttft_ms <= 1e3 * limits.max_ttft * (1 + WIDER)
        if limits.min_confidence is None:
            assert 1e3 / tpot_ms >= limits.target * (1 - WIDER)


def judged_ms(answer: Answer, limits: Limits) -> tuple[float, float]:
    """TPOT and TTFT that the limits are asked of, as a prediction of the answer says [ms]."""
    assert answer.configuration is not None
    problem = answer.problem
    again = predict(
        [answer.configuration],
        problem.scenario,
        problem.cluster,
        problem.calibration,
        judged=limits.judged,
    )[0]
    late_tpot, late_ttft = limits.target_percentile, limits.ttft_percentile
    late, usual = again.percentiles_ms, again.prediction
    return (
        usual.tpot_ms if late_tpot is None else late[percentile_name("tpot", late_tpot)],
        usual.ttft_ms if late_ttft is None else late[percentile_name("ttft", late_ttft)],
    )


def test_nics_as_good_as_nvlink_cost_wide_ep_nothing(
    scenario: Scenario, calibration: Calibration
) -> None:
    """The same GPUs as islands of 8 behind such NICs, and as one NVLink domain.

    Rounds between domains, and that DeepEP starts later on Blackwell, are no matter of NICs.
    """
    machine = default_cluster("b200", 72).hardware()
    islands = ClusterSpec(sku="b200", gpus=72, nic_gb_s=machine.scale_up_rate.value / 1e9)
    rack = ClusterSpec(sku="b200", gpus=72, gpus_per_domain=72)
    prompt = calibration._replace(
        low_latency_dispatch=calibration.low_latency_dispatch._replace(latency_per_doubling=0.0),
        low_latency_combine=calibration.low_latency_combine._replace(latency_per_doubling=0.0),
        deviations=tuple(
            each for each in calibration.deviations if each.constant != "deepep_latency"
        ),
    )
    # Islands do not split experts over their NICs.
    space = Space(decode_gpus=(16, 32), narrow_ep=(), attention=("dp",), batch_ratio=1.3)
    apart, together = (speeds(scenario, cluster, prompt, space) for cluster in (islands, rack))
    today = speeds(scenario, default_cluster("b200", 72), prompt, space)
    assert apart.keys() == together.keys() == today.keys()
    # Never behind, and ahead by no more than two links at once carry and kernels that copy less.
    assert all(0.99 <= apart[key] / together[key] <= 1.3 for key in apart)
    assert all(apart[key] > today[key] for key in apart)


@few
@given(
    model=st.sampled_from(["glm-4.5", "qwen3-235b-a22b", "deepseek-r1-0528"]),
    lengths=st.tuples(st.sampled_from([512, 8192, 32_768]), st.sampled_from([4, 32, 128, 1024])),
    rate=st.floats(1.0, 50.0),
    target=st.floats(5.0, 100.0),
)
@example(model="glm-4.5", lengths=(512, 4), rate=1.0, target=5.0)  # wide EP asks more than there is
@example(model="glm-4.5", lengths=(512, 4), rate=6.0, target=5.0)
def test_no_nic_of_an_answer_carries_more_than_its_rate(
    calibration: Calibration, model: str, lengths: tuple[int, int], rate: float, target: float
) -> None:
    scenario = Scenario(model=load_model(model), isl=lengths[0], osl=lengths[1])
    cluster = ClusterSpec(sku="b200", gpus=72, nic_gb_s=rate)
    answer = found_by(Problem(scenario, cluster, Limits(target), calibration, SPACE))
    if answer.configuration is None or answer.prediction is None:
        return
    found = traffic_of(Case(answer.configuration, scenario, cluster), calibration)
    assert found.decode["nic"].utilisation <= 1.0
    assert found.prefill["nic"].utilisation <= 1.0
    again = predict([answer.configuration], scenario, cluster, calibration)[0].prediction
    assert again.total_tok_s_per_gpu == pytest.approx(answer.prediction.total_tok_s_per_gpu)
