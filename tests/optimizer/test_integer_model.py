"""The integer program of a fleet: equal to brute force, and as its documents have it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.calibration_file import load_calibration
from costmodel.results import Scenario
from optimizer import Shape
from optimizer.decode_points import DecodePoints
from optimizer.fleet import FleetProblem, Tier
from optimizer.fleet_counts import Counts
from optimizer.fleet_points import (
    OWN,
    FleetPoints,
    Need,
    Pool,
    PoolOption,
    PrefillKind,
    TierPoints,
)
from optimizer.integer_model import IntegerModel, integer_model
from optimizer.program_rules import RULES, documented
from optimizer.replan_model import ReplanModel, Running, replan_model
from presets import default_cluster, load_model
from presets.pools import SERVINGS
from topology import Placement

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "fleet_program.txt"

SCENARIO = Scenario(model=load_model("deepseek-r1-0528"))
CALIBRATION: Calibration = load_calibration()


def points_of(
    rates: Sequence[float],
    yields: dict[int, float],
    pools: Sequence[tuple[int | None, int, dict[int, Need]]],
    *,
    sku: str = "b200",
    gpus: int = 16,
    spares: int = 0,
    own: dict[int, float] | None = None,
) -> FleetPoints:
    """Points of a made-up fleet.

    Parameters
    ----------
    rates
        Demand of each tier, between start and end of a run. [1/s]
    yields
        From GPUs of a decode worker to its rate, for every tier. [1/s]
    pools
        Tier that leads, GPUs of a worker, and what each tier needs.
    own
        As `yields`, of workers that prefill what they decode; none where no tier may have them.
    """
    servings = SERVINGS if own else SERVINGS[:1]
    share = 1.0 - 1.0 / (2.0 * CALIBRATION.rounds)
    problem = FleetProblem(
        tiers=tuple(
            Tier(f"tier {number}", (SCENARIO,), 50.0, rate * share, servings=servings)
            for number, rate in enumerate(rates)
        ),
        machines=(default_cluster(sku, gpus),),
        calibration=CALIBRATION,
        objective="gpus",
        spares=spares,
    )
    of = {
        (tier, way): TierPoints(problem.problem(tier, way), decode_of(rate_of), {}, None)
        for tier in range(len(rates))
        for way, rate_of in enumerate((yields, own))
        if rate_of
    }
    made = [PoolOption(0, PrefillKind(size, "dp"), leader, needs) for leader, size, needs in pools]
    nothing = Need(0.0, 0, 0.0)
    made += [PoolOption(1, OWN, tier, {tier: nothing}) for tier in range(len(rates)) if own]
    return FleetPoints(problem, of, {}, tuple(made))


def decode_of(yields: dict[int, float]) -> DecodePoints:
    """Operating points of workers of some sizes, which yield some rates."""
    return DecodePoints(
        shapes=tuple(Shape(size, size, "dp", 0, 0) for size in yields),
        requests=np.ones(len(yields)),
        most_slots=np.ones(len(yields), dtype=np.int64),
        request_rate=np.array(list(yields.values())),
        arrival_wait=np.zeros(len(yields)),
    )


def fits(free: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    """Whether workers find room in domains, by trying every place."""
    if not sizes:
        return True
    first, *rest = sizes
    return any(
        fits((*free[:place], gpus - first, *free[place + 1 :]), tuple(rest))
        for place, gpus in enumerate(free)
        if gpus >= first
    )


def fewest_of(needs: Sequence[Need]) -> int:
    """Fewest workers that some tiers need together."""
    load = sum(need.load for need in needs)
    return max(math.ceil(load * (1.0 - 1e-9)), *(need.fewest for need in needs))


def partitions(
    tiers: frozenset[int], points: FleetPoints
) -> Iterator[list[tuple[PoolOption, tuple[int, ...]]]]:
    """List the choices of pools that feed each tier once."""
    if not tiers:
        yield []
        return
    first = min(tiers)
    for option in points.pools:
        for size in range(1, len(tiers) + 1):
            for chosen in combinations(sorted(tiers), size):
                is_led = option.leader is None or option.leader in chosen
                if is_led and first in chosen and option.needs.keys() >= set(chosen):
                    for others in partitions(tiers - set(chosen), points):
                        yield [(option, chosen), *others]


def least_gpus(points: FleetPoints, domains: tuple[int, ...]) -> float:
    """Fewest GPUs of any plan, by trying all."""
    spares, best, budget = points.problem.spares, math.inf, sum(domains)

    def serves(tier: int, way: int, counts: tuple[int, ...]) -> bool:
        rate, sizes = points.steady_rate(tier, way), points.of[tier, way].sizes
        lost = [spares * y for y, n in zip(sizes.values(), counts, strict=True) if n]
        total = sum(n * y for y, n in zip(sizes.values(), counts, strict=True))
        if any(0 < n <= spares for n in counts):
            return False
        return bool(total > 0) and total - max(lost) >= rate * (1.0 - 1e-9)

    options = [
        [
            (way, counts)
            for way in range(len(points.problem.ways))
            for counts in product(
                *(range(budget // size + 1) for size in points.of[tier, way].sizes)
            )
            if serves(tier, way, counts)
        ]
        for tier in range(len(points.problem.tiers))
    ]
    points = replace(points, pools=tuple(pool for pool in points.pools if not pool.is_own))
    for chosen in product(*options):
        decode = [
            size
            for tier, (way, counts) in enumerate(chosen)
            for size, n in zip(points.of[tier, way].sizes, counts, strict=True)
            for _ in range(n)
        ]
        if sum(decode) >= min(best, budget + 1):
            continue
        fed = frozenset(tier for tier, (way, _) in enumerate(chosen) if way == 0)
        for feeding in partitions(fed, points):
            workers = [
                option.kind.gpus
                for option, members in feeding
                for _ in range(fewest_of([option.needs[tier] for tier in members]) + spares)
            ]
            total = sum(decode) + sum(workers)
            if total < best and fits(domains, tuple(sorted(decode + workers, reverse=True))):
                best = total
    return best


rates = st.floats(0.5, 9.0)

needs = st.builds(Need, st.floats(0.1, 3.0), st.integers(1, 3), st.just(1.0))


@pytest.mark.many_cases
@settings(max_examples=150, deadline=None)
@given(
    demand=st.lists(rates, min_size=1, max_size=2),
    small=st.floats(0.5, 3.0),
    large=st.floats(0.5, 9.0),
    asked=st.tuples(needs, needs),
    is_limited=st.tuples(st.booleans(), st.booleans()),
    domains=st.integers(1, 3),
    spares=st.integers(0, 1),
    own=st.none() | st.fixed_dictionaries({4: st.floats(0.3, 3.0), 8: st.floats(0.3, 9.0)}),
)
def test_program_equals_brute_force(
    demand: list[float],
    small: float,
    large: float,
    asked: tuple[Need, Need],
    is_limited: tuple[bool, bool],
    domains: int,
    spares: int,
    own: dict[int, float] | None,
) -> None:
    pools: list[tuple[int | None, int, dict[int, Need]]] = []
    for size, part in ((2, 1.0), (4, 0.4)):
        every = {t: asked[t]._replace(load=part * asked[t].load) for t in range(len(demand))}
        led = [tier for tier in every if is_limited[tier]]
        others = {tier: need for tier, need in every.items() if tier not in led}
        pools += [(t, size, {u: every[u] for u in every if u >= t or u in others}) for t in led]
        pools += [(None, size, others)] if others else []
    points = points_of(
        demand, {4: small, 8: large}, pools, gpus=8 * domains, spares=spares, own=own
    )
    best = least_gpus(points, (8,) * domains)
    choice = integer_model(points).solve()
    if math.isinf(best):
        assert choice.counts is None
        assert choice.bound is None
    else:
        assert choice.counts is not None
        assert choice.is_optimal
        assert integer_model(points).weight_of(choice.counts) == best == choice.bound


def small_model(*, spares: int = 0) -> IntegerModel:
    """Two tiers, the first with a limit on TTFT, and what may feed both or the second, on racks."""
    first, second = Need(1.5, 2, 0.2), Need(0.75, 1, 0.1)
    pools: list[tuple[int | None, int, dict[int, Need]]] = [
        (0, 4, {0: first, 1: second}),
        (None, 4, {1: second}),
    ]
    points = points_of([3.0, 1.5], {4: 1.0, 40: 12.0}, pools, sku="gb200", gpus=144, spares=spares)
    return integer_model(points)


def model_with_running() -> ReplanModel:
    """The same two tiers, where a worker of each size and one that prefills run in one rack."""
    points = small_model().points
    running = (
        Running(0, 0, Shape(40, 40, "dp", 0, 0), 1, (Placement(tuple(range(40)), (0,)),)),
        Running(0, 1, Shape(4, 4, "dp", 0, 0), 1, (Placement((40, 41, 42, 43), (0,)),)),
        Running(0, 0, PrefillKind(4, "dp"), 0, (Placement((44, 45, 46, 47), (0,)),)),
    )
    return replan_model(points, running)


def golden_sections() -> dict[str, str]:
    sections = GOLDEN.read_text(encoding="utf-8").split("\n\n")
    return {text.split(":", 1)[0]: text.strip() for text in sections}


def rows_of(rule: str) -> str:
    """Rows of one rule in the smallest programs that have it."""
    model = small_model(spares=int(rule in ("spare", "left", "used")))
    if rule in ("budget", "power", "racks"):
        limited = replace(model.points.problem, budget=100.0, max_power=50e3, max_racks=1)
        return integer_model(replace(model.points, problem=limited)).program.text(rule)
    if rule in ("kept", "stays", "fewest"):
        running = model_with_running()
        running.settle(2, {})
        return running.program.text(rule)
    if rule in ("cut", "most"):
        model.cut({(0, 0, 4): 3, (0, 0, 40): 0}, Pool(0, (0,), PrefillKind(4, "dp")), 2)
    if rule == "together":
        model.enlarge(Pool(0, (0, 1), PrefillKind(4, "dp")), 4)
    if rule in ("no room", "fewer"):
        model.cut_room(Counts({(0, 0, 40): 2}, {Pool(0, (0, 1), PrefillKind(4, "dp")): 3}))
    return model.program.text(rule)


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_rows_of_each_rule_are_as_written_down(rule: str) -> None:
    assert rows_of(rule) == golden_sections()[rule]


def test_every_row_is_of_a_rule_that_is_documented() -> None:
    points = small_model(spares=1).points
    limited = replace(points.problem, budget=100.0, max_power=50e3, max_racks=1)
    model = integer_model(replace(points, problem=limited))
    pool = Pool(0, (0,), PrefillKind(4, "dp"))
    model.cut({(0, 0, 4): 3}, pool, 2)
    model.enlarge(pool, 3)
    model.cut_room(Counts({(0, 0, 40): 2}, {pool: 3}))
    running = model_with_running()
    running.settle(2, {})
    rows = [*model.program.rows, *running.program.rows]
    assert {row.rule for row in rows} == {rule.name for rule in RULES}


def test_document_has_the_tables_of_the_program() -> None:
    assert documented() in (ROOT / "docs" / "search.md").read_text(encoding="utf-8")


def test_a_cut_asks_for_more_of_something_or_another_pool() -> None:
    model = small_model()
    first = model.solve()
    assert first.counts is not None
    decode = {key: first.counts.decode.get(key, 0) for key in model.decode if key[0] == 0}
    pool = first.counts.feeding[0]
    model.cut(decode, pool, first.counts.prefill[pool])
    second = model.solve()
    assert second.counts is not None
    more = any(second.counts.decode.get(key, 0) > n for key, n in decode.items())
    other = second.counts.prefill.get(pool, 0) != first.counts.prefill[pool]
    assert more or other
    assert second.bound is not None
    assert first.bound is not None
    assert second.bound >= first.bound


@settings(max_examples=30, deadline=None)
@given(
    demand=rates,
    rate=st.floats(0.5, 9.0),
    own=st.floats(0.5, 9.0),
    fewest=st.integers(1, 3),
)
def test_what_the_other_mode_takes_is_that_of_a_program_without_the_first(
    demand: float, rate: float, own: float, fewest: int
) -> None:
    needed = {0: Need(fewest - 0.5, 1, 1.0)}
    pools: list[tuple[int | None, int, dict[int, Need]]] = [(None, 2, needed)]
    model = integer_model(points_of([demand], {8: rate}, pools, gpus=32, own={8: own}))
    alone = integer_model(points_of([demand], {8: rate}, pools, gpus=32))
    assert model.least_without(0, "aggregated", 9.0) == alone.solve().bound
    workers = math.ceil(demand / own * (1.0 - 1e-9))
    least = model.least_without(0, "disaggregated", 9.0)
    assert least == (8 * workers if workers <= 4 else None)


def test_sums_that_could_overflow_are_refused() -> None:
    model = small_model()
    place = model.decode[0, 0, 4]
    with pytest.raises(OverflowError, match="a sum may reach"):
        model.program.row("demand", {place: 2**50}, least=1)
