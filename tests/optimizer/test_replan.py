"""Plans after a loss: the fewest moves as by trying all, and nothing on what is lost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer import Shape
from optimizer.audit import audit
from optimizer.fleet import FleetProblem, Tier
from optimizer.fleet_placement import pools_of
from optimizer.fleet_points import FleetPoints, Need, PrefillKind
from optimizer.fleet_rounds import Plan
from optimizer.fleet_search import plan_fleet, plan_only
from optimizer.replan import replan
from optimizer.replan_model import Running, replan_model
from optimizer.space import shape_of
from presets.cluster import ClusterSpec
from tests.optimizer.fleets import problem_of, tier
from tests.optimizer.test_integer_model import points_of
from topology import Placement

SMALL, LARGE, DOMAIN, PREFILL = 4, 12, 16, PrefillKind(4, "dp")


def made_up(rate: float, fewest: int, domains: int, lost: frozenset[int]) -> FleetPoints:
    """One tier on domains of four servers of four GPUs; workers of 12 GPUs yield 2.5 times 4."""
    pools: list[tuple[int | None, int, dict[int, Need]]]
    pools = [(None, PREFILL.gpus, {0: Need(fewest - 0.5, 1, 1.0)})]
    points = points_of([rate], {SMALL: 1.0, LARGE: 2.5}, pools, gpus=16)
    machine = ClusterSpec(sku="gb200", gpus=DOMAIN * domains, gpus_per_domain=DOMAIN)
    problem = replace(points.problem, machines=(machine,), lost=(lost,))
    of = {key: replace(each, problem=problem.problem(0, 0)) for key, each in points.of.items()}
    return replace(points, problem=problem, of=of)


def running_of(stands: Sequence[tuple[int, int, bool]], lost: frozenset[int]) -> list[Running]:
    """Workers of some sizes, each in a domain side by side, without those that lost a GPU.

    Each is (GPUs, domain, whether it prefills).
    """
    next_gpu: dict[int, int] = {}
    found: dict[tuple[int, bool], list[Placement]] = {}
    for size, domain, prefills in stands:
        gpus = SMALL if prefills else size
        first = next_gpu.get(domain, 0)
        if first + gpus <= DOMAIN:
            next_gpu[domain] = first + gpus
            numbers = tuple(range(DOMAIN * domain + first, DOMAIN * domain + first + gpus))
            if lost.isdisjoint(numbers):
                found.setdefault((gpus, prefills), []).append(Placement(numbers, (domain,)))
    return [
        Running(
            0,
            0,
            PREFILL if prefills else Shape(gpus, gpus, "dp", 0, 0),
            0 if prefills else 1,
            tuple(places),
        )
        for (gpus, prefills), places in found.items()
    ]


def fits(free: tuple[int, ...], sizes: Sequence[int]) -> bool:
    """Whether workers find room in domains, by trying every place."""
    if not sizes:
        return True
    return any(
        fits((*free[:place], gpus - sizes[0], *free[place + 1 :]), sizes[1:])
        for place, gpus in enumerate(free)
        if gpus >= sizes[0]
    )


def subsets(running: Sequence[Running], counts: Sequence[int]) -> Iterator[list[list[Placement]]]:
    """List which workers of each kind may stay, no more than there are in a plan."""
    choices = [
        [
            list(some)
            for number in range(min(len(each.placements), most) + 1)
            for some in combinations(each.placements, number)
        ]
        for each, most in zip(running, counts, strict=True)
    ]
    for chosen in product(*choices):
        yield list(chosen)


def fewest_started(points: FleetPoints, running: Sequence[Running], domains: int) -> float:
    """Fewest workers that any plan starts, by trying all plans and all that may stay."""
    best, rate = math.inf, points.steady_rate(0, 0)
    fewest, lost = math.ceil(points.pools[0].needs[0].load), points.problem.lost_of(0)
    free = [
        sum(gpu not in lost for gpu in range(DOMAIN * number, DOMAIN * (number + 1)))
        for number in range(domains)
    ]
    for small, large, prefill in product(range(7), range(4), range(fewest, fewest + 2)):
        if small + 2.5 * large < rate * (1.0 - 1e-9):
            continue
        wanted = {(SMALL, False): small, (LARGE, False): large, (PREFILL.gpus, True): prefill}
        most = [wanted[each.gpus, isinstance(each.kind, PrefillKind)] for each in running]
        for stays in subsets(running, most):
            kept = sum(map(len, stays))
            left = list(free)
            sizes = [size for (size, _), count in wanted.items() for _ in range(count)]
            for each in (each for some in stays for each in some):
                left[each.domains[0]] -= len(each.gpus)
                sizes.remove(len(each.gpus))
            started = sum(wanted.values()) - kept
            if started < best and fits(tuple(left), sorted(sizes, reverse=True)):
                best = started
    return best


@pytest.mark.many_cases
@settings(max_examples=120, deadline=None)
@given(
    rate=st.floats(0.5, 6.0),
    fewest=st.integers(1, 2),
    domains=st.integers(1, 3),
    stands=st.lists(
        st.tuples(st.sampled_from((SMALL, LARGE)), st.integers(0, 2), st.booleans()), max_size=6
    ),
    lost=st.lists(st.integers(0, 11), max_size=3),
)
def test_program_starts_as_few_as_trying_all(
    rate: float,
    fewest: int,
    domains: int,
    stands: list[tuple[int, int, bool]],
    lost: list[int],
) -> None:
    servers = [server for server in lost if server < 4 * domains]
    gone = frozenset(gpu for server in servers for gpu in range(4 * server, 4 * server + 4))
    stands = [each for each in stands if each[1] < domains]
    points, running = made_up(rate, fewest, domains, gone), running_of(stands, gone)
    model = replan_model(points, running)
    model.program.minimise(model.started)
    choice = model.solve()
    best = fewest_started(points, running, domains)
    if math.isinf(best):
        assert choice.counts is None
        return
    assert choice.bound == best
    assert choice.counts is not None
    where = model.place(choice.counts)
    if where is not None:  # else a cut follows
        assert len(where.workers) - where.kept >= best
        stood = {each.gpus for one in running for each in one.placements}
        assert {each.placement.gpus for each in where.workers[: where.kept]} <= stood
        used = [gpu for each in where.workers for gpu in each.placement.gpus]
        assert len(set(used)) == len(used)
        assert gone.isdisjoint(used)


def runs(problem: FleetProblem, plan: Plan) -> list[Running]:
    """What runs of a plan on the first machine, of what is not lost."""
    found: dict[object, Running] = {}
    for each in plan.workers:
        if problem.lost_of(0).isdisjoint(each.placement.gpus):
            if each.role == "prefill":
                pool = pools_of(plan.counts)[each.replica - 1]
                one = Running(0, pool.tiers[0], pool.kind, 0, ())
            else:
                config = next(
                    served.configuration
                    for served in plan.served[each.replica - 1]
                    if served.configuration.decode_gpus_per_worker == len(each.placement.gpus)
                )
                one = Running(0, each.replica - 1, shape_of(config), config.max_batch, ())
            key = one.kind if each.role == "prefill" else one
            before = found.get(key, one)
            found[key] = before._replace(placements=(*before.placements, each.placement))
    return list(found.values())


def planned(*tiers: Tier, spares: int = 0) -> tuple[FleetProblem, Plan]:
    problem = problem_of(*tiers, spares=spares)
    plan = plan_fleet(problem).plan
    assert plan is not None
    return problem, plan


def without(problem: FleetProblem, gpus: Sequence[int]) -> FleetProblem:
    return replace(problem, lost=(frozenset(gpus),), spares=0)


TWO = tier(60.0, 50.0, 1.0), tier(110.0, 15.0, 1.0)


def test_one_worker_lost_is_one_started() -> None:
    problem, plan = planned(*TWO)
    for worker in plan.workers:
        left = without(problem, worker.placement.gpus[:1])
        found = replan(left, runs(left, plan))
        after = found.answer.plan
        assert after is not None
        assert found.answer.status == "OPTIMAL"
        assert after.started == found.least_started == 1
        assert audit(left, after) == []
        assert all(left.lost[0].isdisjoint(each.placement.gpus) for each in after.workers)
        stood = {(each.role, each.placement.gpus) for each in plan.workers}
        kept = {(each.role, each.placement.gpus) for each in after.workers[: after.kept]}
        assert kept <= stood


def test_what_nobody_stood_on_starts_nothing() -> None:
    problem, plan = planned(*TWO)
    used = {gpu for each in plan.workers for gpu in each.placement.gpus}
    left = without(problem, [gpu for gpu in range(144) if gpu not in used][:4])
    after = replan(left, runs(left, plan)).answer.plan
    assert after is not None
    assert (after.started, after.weight) == (0, plan.weight)


def test_a_spare_worker_saves_a_start() -> None:
    problem, plan = planned(*TWO, spares=1)
    for worker in (plan.workers[0], plan.workers[-1]):
        left = without(problem, worker.placement.gpus)
        after = replan(left, runs(left, plan)).answer.plan
        assert after is not None
        assert after.started == 0


def test_second_opinion_finds_workers_on_what_is_lost() -> None:
    problem, plan = planned(*TWO)
    lost = without(problem, plan.workers[0].placement.gpus[:1])
    assert any("which gb200 has not, or not in use" in fault for fault in audit(lost, plan))


def test_demand_that_cannot_be_served_is_as_small_as_may_be() -> None:
    problem, plan = planned(*TWO)
    left = without(problem, range(20, 144))
    found = replan(left, runs(left, plan))
    assert found.answer.plan is None
    assert found.answer.status == "INFEASIBLE"
    assert found.unserved
    for each in found.unserved:
        for share, is_served in ((each.share, True), (each.share + 0.01, False)):
            tiers = tuple(
                replace(one, rate=one.rate * share) if number in each.tiers else one
                for number, one in enumerate(left.tiers)
                if share or number not in each.tiers
            )
            answer = plan_only(replace(left, tiers=tiers), 20.0)
            assert (answer.plan is not None) == is_served
