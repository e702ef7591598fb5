"""The public functions of fleets: a plan, a plan anew after a loss, and how long one serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from moeplan.answers.fleet_build import fleet_plan
from moeplan.arguments import checked_arguments
from moeplan.fleet_availability import availability_of, stated
from moeplan.fleet_question import fleet_problem, offer_of
from moeplan.fleet_replan import replanned
from moeplan.numbers import positive_number, whole_number
from moeplan.options import DEFAULTS, Options, checked
from moeplan.question import SHIPPED
from optimizer.fleet_search import MOST_SECONDS, plan_fleet
from presets.demand_file import DEMAND_UNITS, MOST_RACKS, Demand, read_demand
from presets.failures import load_failures

if TYPE_CHECKING:
    from moeplan.answers.availability import Availability
    from moeplan.answers.fleet import FleetPlan


NO_RATES: Mapping[str, float] = MappingProxyType({})


@checked_arguments
def fleet(
    demand: Path | str | Demand,
    options: Options = DEFAULTS,
    machines: Sequence[str] = (),
    *,
    budget: float | None = None,
    max_power: float | None = None,
    max_racks: int | None = None,
    seconds: float | None = None,
    progress: Callable[[], None] | None = None,
) -> FleetPlan:
    """Plan all workers that serve several tiers of demand.

    Parameters
    ----------
    demand : Path, str or Demand
        Demand file, or what `read_demand` gave.
    options : Options
        With `cluster`, `prices`, `objective` (cost, gpus or power) and `calibration`; what is
        served stands in the demand.
    machines : sequence of str
        Machines in place of those of the demand, such as ``gb200`` or ``gb200=1440``.
    budget, max_power : float, optional
        Most that the GPUs that serve may cost [USD/h] and draw [W], in place of what the demand
        says.
    max_racks : int, optional
        Most NVLink domains that they may stand in, in place of what the demand says.
    seconds : float, optional
        Time after which the best plan so far is given, with its gap. [s]
    progress : callable, optional
        Called once for each integer program that is solved.

    Raises
    ------
    InputError
        Where something asked for is not valid.

    Returns
    -------
    FleetPlan
        With status "infeasible" and a reason where nothing serves all tiers.
    """
    wanted = read_demand(demand) if isinstance(demand, Path | str) else demand
    options = checked(options)
    limits = {"budget": budget, "max_power": max_power}
    wanted = wanted.model_copy(
        update={
            name: positive_number(name, value, DEMAND_UNITS[name])
            for name, value in limits.items()
            if value is not None
        }
    )
    if max_racks is not None:
        most = whole_number("max_racks", max_racks, 1, MOST_RACKS, "racks")
        wanted = wanted.model_copy(update={"max_racks": most})
    problem = fleet_problem(wanted, options, [offer_of(each) for each in machines])
    limit = MOST_SECONDS if seconds is None else positive_number("seconds", seconds, "seconds")
    return fleet_plan(plan_fleet(problem, limit, progress), str(options.calibration or SHIPPED))


@checked_arguments
def replan(
    plan: Path | str,
    lost: Sequence[str],
    *,
    spares: int = 0,
    seconds: float | None = None,
    progress: Callable[[], None] | None = None,
) -> FleetPlan:
    """Plan anew on what a loss leaves: the fewest workers started or moved, of those the best.

    Parameters
    ----------
    plan : Path or str
        What ``moeplan fleet --json`` printed.
    lost : sequence of str
        What is lost, as `failed` of a cluster file has it: ``domain 3`` or ``gb200/server 5-7``,
        numbered from 0.
    spares : int
        Workers of each pool that may fail afterwards. [1]
    seconds : float, optional
        Time after which the best plan so far is given. [s]
    progress : callable, optional
        Called once for each integer program that is solved.

    Raises
    ------
    InputError
        Where the file is no plan, or what is lost is not there.

    Returns
    -------
    FleetPlan
        With `replan`, and status "infeasible" where what is left does not serve all tiers.
    """
    limit = MOST_SECONDS if seconds is None else positive_number("seconds", seconds, "seconds")
    return replanned(Path(plan), lost, spares=spares, seconds=limit, progress=progress)


@checked_arguments
def availability(
    plan: Path | str,
    *,
    years: int = 20,
    seed: int = 0,
    spare_domains: int = 1,
    rates: Mapping[str, float] = NO_RATES,
    repairs: Mapping[str, float] = NO_RATES,
    progress: Callable[[], None] | None = None,
) -> Availability:
    """Draw years of failures and count how long a plan serves each of its tiers.

    Parameters
    ----------
    plan : Path or str
        What ``moeplan fleet --json`` printed.
    years : int
        That are drawn, 1 to 1,000. [1]
    seed : int
        The same gives the same failures.
    spare_domains : int
        NVLink domains of each machine that stand by in the last case. [1]
    rates, repairs : mapping, optional
        Failures of one part [1/year], and the mean time that it is away [s], by kind of part: gpu,
        server, switch, rack. Those not named are as shipped.
    progress : callable, optional
        Called for each failure and each state that is looked at.

    Raises
    ------
    InputError
        Where the file is no plan, or a number is not valid.
    """
    failures = stated(load_failures(), rates, repairs)
    return availability_of(
        Path(plan),
        failures,
        years=whole_number("years", years, 1, 1000, "years"),
        seed=whole_number("seed", seed, 0, 2**63 - 1, ""),
        spare_domains=whole_number("spare_domains", spare_domains, 0, 1000, "domains"),
        progress=progress,
    )
