"""From a demand file and options to the problem of a fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from costmodel.results import Scenario
from moeplan.clusters import at_price
from moeplan.options import LARGEST_GPUS, Options, checked
from moeplan.question import calibration_file, scenario_of
from optimizer.fleet import FleetObjective, FleetProblem, Tier
from optimizer.value import request_tokens
from presets import (
    ClusterPools,
    ClusterSpec,
    InputError,
    default_cluster,
    hardware_names,
    read_cluster,
    unknown_name,
)
from presets.demand_file import Demand, MachineOffer, Rate, TierDemand
from presets.errors import shown
from presets.pools import SERVINGS

AS_MANY_AS_IT_TAKES = 16_384
"""GPUs of a machine of which nothing is said. [GPU]"""

OBJECTIVES: tuple[FleetObjective, ...] = get_args(FleetObjective)


def fleet_problem(
    demand: Demand, options: Options, offers: Sequence[MachineOffer] = ()
) -> FleetProblem:
    """Pose what a demand asks for.

    Parameters
    ----------
    demand : Demand
        Tiers, and machines where those are not given.
    options : Options
        With `cluster`, `prices`, `objective` and `calibration`.
    offers : sequence of MachineOffer
        Machines in place of those of the demand.

    Raises
    ------
    InputError
        Where something asked for is not valid.
    """
    objective = options.objective or "cost"
    if objective not in OBJECTIVES:
        raise InputError(
            f"objective {shown(objective)} is not valid for a fleet; give {', '.join(OBJECTIVES)}"
        )
    machines = _machines(demand, options, offers)
    tiers = [_tier(each, machines) for each in demand.tiers]
    return FleetProblem(
        tiers=tuple(tiers),
        machines=tuple(machines),
        calibration=calibration_file(options.calibration).calibration,
        objective=objective,
        spares=demand.spares,
        budget=demand.budget,
        max_power=demand.max_power,
        max_racks=demand.max_racks,
    )


def offer_of(text: str) -> MachineOffer:
    """Read a machine as it is typed, ``gb200`` or ``gb200=1440``.

    Raises
    ------
    InputError
        Where it has no name, or its number is none.

    Examples
    --------
    >>> offer_of("gb200=1440").gpus, offer_of("b200").gpus
    (1440, None)
    """
    from moeplan import numbers  # the checks come with pydantic, which --help does without

    name, equals, count = text.partition("=")
    gpus = numbers.whole_number("--sku", count, 1, LARGEST_GPUS, "GPUs") if equals else None
    return MachineOffer(sku=numbers.text("--sku", name), gpus=gpus)


def _machines(
    demand: Demand, options: Options, offers: Sequence[MachineOffer]
) -> list[ClusterSpec]:
    """Find the clusters of a question; options come before what the demand says."""
    if offers and options.cluster is not None:
        raise InputError("--sku and --cluster: both are given; give one")
    if not (offers or options.cluster or demand.machines):
        raise InputError(
            "machines: none is named; give --sku NAME, --cluster FILE, or machines in the demand"
        )
    if (cluster := options.cluster) is not None:
        given = (
            cluster if isinstance(cluster, ClusterSpec | ClusterPools) else read_cluster(cluster)
        )
        pools = [given] if isinstance(given, ClusterSpec) else list(given.pools.values())
        if len(set(pools)) < len(pools):
            raise InputError("--cluster: two pools are alike; make one of them")
        return [at_price(each, None, options.prices) for each in pools]
    named_once = {each.sku for each in offers}
    if len(named_once) < len(offers):
        raise InputError("--sku: a machine is named twice; name each once, as NAME=GPUS")
    return [_cluster(each, options) for each in (offers or demand.machines)]


def _cluster(offer: MachineOffer, options: Options) -> ClusterSpec:
    if offer.sku not in hardware_names():
        raise unknown_name("machine", offer.sku, hardware_names())
    cluster = default_cluster(offer.sku, offer.gpus or AS_MANY_AS_IT_TAKES)
    return at_price(cluster, offer.price, options.prices)


def _tier(demand: TierDemand, machines: Sequence[ClusterSpec]) -> Tier:
    """Say what a tier is on each machine; on one that cannot run it, why."""
    asked = Options(
        model=demand.model,
        precision=demand.precision,
        engine=demand.engine,
        isl=demand.isl,
        osl=demand.osl,
        cached_share=demand.cached_share,
    )
    try:
        options = checked(asked)
    except InputError as error:
        raise InputError(f"tier {demand.name!r}: {error}") from None
    scenarios: list[Scenario | str] = []
    for machine in machines:
        try:
            scenarios.append(scenario_of(options, machine))
        except InputError as error:
            scenarios.append(str(error))
    if (found := next((each for each in scenarios if isinstance(each, Scenario)), None)) is None:
        raise InputError(f"tier {demand.name!r}: {scenarios[0]}")
    rate = _requests(demand.rate, found)
    servings = tuple(each for each in SERVINGS if demand.serving in (each, "either"))
    return Tier(demand.name, tuple(scenarios), demand.target, rate, demand.max_ttft, servings)


def _requests(rate: Rate, scenario: Scenario) -> float:
    """Rate of requests [1/s]."""
    tokens = request_tokens(scenario) if rate.unit == "tokens/s" else 1.0
    return rate.amount / tokens
