"""Small questions of a fleet."""

from __future__ import annotations

from costmodel.calibration_file import load_calibration
from costmodel.results import Scenario
from optimizer import Space
from optimizer.fleet import FleetProblem, Tier
from optimizer.fleet_search import FleetAnswer, plan_fleet
from presets import default_cluster, load_model
from presets.pools import Serving

SCENARIO = Scenario(model=load_model("deepseek-r1-0528"))


LONG = SCENARIO.model_copy(update={"isl": 8192})


CALIBRATION = load_calibration()


SMALL = Space(prefill_gpus=(4,), prefill_attention=("dp",), decode_gpus=(8, 16), mtp_depths=(1,))


def tier(
    target: float,
    rate: float,
    max_ttft: float | None = None,
    scenario: Scenario = SCENARIO,
    servings: tuple[Serving, ...] = ("disaggregated",),
) -> Tier:
    return Tier(f"{target:g}", (scenario,), target, rate, max_ttft, servings)


def problem_of(*tiers: Tier, gpus: int = 144, spares: int = 0, sku: str = "gb200") -> FleetProblem:
    machines = (default_cluster(sku, gpus),)
    return FleetProblem(tiers, machines, CALIBRATION, "gpus", SMALL, spares)


def planned(problem: FleetProblem) -> FleetAnswer:
    answer = plan_fleet(problem)
    assert answer.status == "OPTIMAL"
    assert answer.gap == 0.0
    return answer


def weight(problem: FleetProblem) -> int:
    plan = planned(problem).plan
    assert plan is not None
    return plan.weight
