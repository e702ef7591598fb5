"""Exact evaluation of what the integer program chose: users, waiting, start and end of a run.

Each tier is the closed network of `costmodel.serving`, with just the users that ask for its rate.
A pool of prefill workers is seen by each tier that it feeds with the load of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from costmodel.deployments import deployments_of, network_of
from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.intervals import width_traits, with_own_widths
from costmodel.network import Benchmark, Network, Steady
from costmodel.predictions import Ttft, prediction_of
from costmodel.results import Case, Configuration, Prediction
from costmodel.root import last_below
from costmodel.serving import benchmark_of, fullest, serve, steady_state
from optimizer.evaluation import MOST_USERS
from optimizer.fleet_points import FleetPoints, Pool, TierPoints
from optimizer.space import Shape, decode_fields
from optimizer.value import request_tokens
from presets import InputError

TOLERANCE = 1e-6
"""By how much less than a limit or a rate meets it, as roots are found so closely. [1]"""

LEAST_LOG, MOST_LOG = math.log(1e6), math.log(1e4)
"""How far below the largest batch one is looked for, and how far above its users, as logs. [1]"""


class Served(NamedTuple):
    """Decode workers of one shape that serve a tier, as evaluated.

    Attributes
    ----------
    configuration : Configuration
        With all prefill workers of the pool, and the users that ask for `rate`.
    prediction : Prediction
        Of the run; per GPU of these and of their share of the pool.
    rate : float
        Share of the demand that they are given. [1/s]
    most_rate : float
        What their largest batch yields, whatever waits. [1/s]
    batch_in_flight : float
        Per rank (dp) or worker (tp). [1]
    prefill_load, prefill_share : float
        Share of the pool's capacity in use by all that it feeds, and share of that which is
        theirs. [1]
    """

    configuration: Configuration
    prediction: Prediction
    rate: float
    most_rate: float
    batch_in_flight: float
    prefill_load: float
    prefill_share: float


def serve_tier(
    points: FleetPoints,
    tier: int,
    pool: Pool,
    workers: int,
    decode: Mapping[int, int],
    *,
    is_timed: bool = True,
) -> tuple[Served, ...] | None:
    """Serve a tier with some decode workers of each size; None where they cannot.

    The demand is split over the sizes in proportion to what they yield; those of one size are of
    the shape of the highest rate if it serves its share, else of the one of the shortest TTFT.

    Parameters
    ----------
    points : FleetPoints
        Operating points.
    tier : int
        Place of the tier.
    pool : Pool
        That feeds it.
    workers : int
        Of the pool. [1]
    decode : mapping
        From GPUs of a worker to how many. [1]
    is_timed : bool
        Whether the limit on TTFT is to be met.
    """
    each = points.of[tier, pool.way]
    yields = {gpus: count * each.sizes[gpus] for gpus, count in decode.items() if count}
    total, demand = sum(yields.values()), points.problem.tiers[tier].rate
    if total * each.run_share < demand * (1.0 - TOLERANCE):
        return None
    found = []
    for gpus, capacity in yields.items():
        rate = demand * capacity / total
        part = _Part(points, tier, pool, workers, (gpus, decode[gpus]), rate, is_timed)
        if (served := _serve_part(part)) is None:
            return None
        found.append(served)
    return tuple(found)


def serve_with_spares(
    points: FleetPoints,
    tier: int,
    pool: Pool,
    workers: int,
    decode: Mapping[int, int],
    *,
    is_timed: bool = True,
) -> tuple[Served, ...] | None:
    """Serve a tier, also while spare workers of any one kind are away; see `serve_tier`.

    Gives the service with all workers there.
    """
    spares, here = points.problem.spares, {gpus: n for gpus, n in decode.items() if n}
    if spares:
        away = [here | {gpus: count - spares} for gpus, count in here.items()]
        pools = [] if pool.is_own else [workers - spares]
        if any(left < 1 for left in (*pools, *(min(each.values()) for each in away))):
            return None
        cases = [*((left, here) for left in pools), *((workers, left) for left in away)]
        if not all(serve_tier(points, tier, pool, *case, is_timed=is_timed) for case in cases):
            return None
    return serve_tier(points, tier, pool, workers, here, is_timed=is_timed)


class _Part(NamedTuple):
    """Decode workers of one size and what they are to serve."""

    points: FleetPoints
    tier: int
    pool: Pool
    workers: int  # of the pool
    group: tuple[int, int]  # GPUs of a decode worker, and how many
    rate: float  # [1/s]
    is_timed: bool

    @property
    def of(self) -> TierPoints:
        """Operating points of the tier in the way of the pool."""
        return self.points.of[self.tier, self.pool.way]


def _serve_part(part: _Part) -> Served | None:
    """Serve a rate with decode workers of one size: of whatever shape and slots do it best."""
    decode, (gpus, count) = part.of.decode, part.group
    most = decode.request_rate * count * part.of.run_share
    tried = [
        (place, slots)
        for place in decode.of_size(gpus).tolist()
        if most[place] >= part.rate * (1.0 - TOLERANCE)
        for slots in part.of.slots_of(place)
    ]
    best = tried[:1] and [each for each in tried if each[0] == tried[0][0]]
    others = tried[len(best) :]
    return _first_that_serves(part, best) or _first_that_serves(part, others)


def _first_that_serves(part: _Part, tried: list[tuple[int, int]]) -> Served | None:
    """Serve with one of some points and slots: the one of the shortest TTFT that meets limits."""
    decode, count = part.of.decode, part.group[1]
    if not tried:
        return None
    configurations = [_configuration(part, decode.shapes[place], slots) for place, slots in tried]
    try:
        network = _network(part, configurations)
    except InputError:  # they find no room side by side
        return None
    result, users = _run(network, configurations, part.rate)
    good = _meets(part, result) & (users <= MOST_USERS)
    if not good.any():
        return None
    first = int(np.argmin(np.where(good, result.ttft_mean, np.inf)))
    configuration = configurations[first].model_copy(update={"concurrency": int(users[first])})
    most = float(decode.request_rate[tried[first][0]]) * count * part.of.run_share
    return Served(
        configuration=configuration,
        prediction=_prediction(part, configuration, result, first),
        rate=part.rate,
        most_rate=most,
        batch_in_flight=float(result.steady.decode.requests[first]),
        prefill_load=float(result.steady.prefill_load[first]),
        prefill_share=_share(part),
    )


def _prediction(
    part: _Part, configuration: Configuration, result: Benchmark, place: int
) -> Prediction:
    """Put one run into named units, with its intervals."""
    problem = part.of.problem
    ttft = (result.ttft_mean, result.ttft_median, result.ttft_other_median)
    gpus = configuration.decode_gpus + configuration.prefill_gpus * _share(part)
    tokens = part.rate * request_tokens(problem.scenario)
    case = Case(configuration, problem.scenario, problem.cluster)
    return prediction_of(
        case,
        with_own_widths(problem.calibration, width_traits(case)),
        float(result.tpot_median[place]),
        Ttft(*(float(values[place]) for values in ttft)),
        tokens / gpus,
        problem.cluster.hardware().price_usd_per_hour.value,
    )


def _share(part: _Part) -> float:
    """Share of the pool's work that these workers ask for [1]."""
    if part.pool.is_own:
        return 1.0
    feed, column = part.points.feed(part.pool), part.pool.tiers.index(part.tier)
    of_tier = feed.rate[0, column] / feed.prefill.capacity[0, column] / feed.busy[0]
    return float(of_tier) * part.rate / part.points.problem.tiers[part.tier].rate


def _configuration(part: _Part, shape: Shape, slots: int) -> Configuration:
    scenario, kind = part.of.problem.scenario, part.pool.kind
    return Configuration(
        serving=part.of.problem.serving,
        prefill_workers=0 if part.pool.is_own else part.workers,
        prefill_gpus_per_worker=kind.gpus,
        prefill_attention=kind.attention,
        decode_workers=part.group[1],
        **decode_fields(shape, scenario.drafting),
        max_batch=slots,
        concurrency=1,
        frontends=scenario.frontends,
    )


def _network(part: _Part, configurations: list[Configuration]) -> Network:
    """Build closed networks whose prefill workers feed others too.

    Others take the rest of the capacity, and their requests the time that they take.
    """
    problem, pool = part.of.problem, part.pool
    cases = [Case(one, problem.scenario, problem.cluster) for one in configurations]
    network = network_of(deployments_of(cases, problem.calibration.anchors), problem.calibration)
    if pool.is_own:
        return network
    feed, column = part.points.feed(pool), pool.tiers.index(part.tier)
    own = feed.input_tokens[column] * feed.prefill.seconds_per_token[0, column]
    return network._replace(
        prefill=network.prefill._replace(
            capacity=network.prefill.capacity * _share(part),
            seconds_per_token=network.prefill.seconds_per_token * (feed.service[0] / own),
        )
    )


def _run(
    network: Network, configurations: list[Configuration], rate: float
) -> tuple[Benchmark, IntArray]:
    """Run each with the fewest users that ask for a rate, or as many as are looked at.

    Users are looked for along the batch in flight: up to the largest just as many as keep it there,
    then more that wait. That takes one solution of the network for each step; the run is then that
    of whole users, as a prediction has it.
    """
    slots = np.array([float(one.max_batch) for one in configurations])
    top = np.log(fullest(network, slots, np.full_like(slots, np.inf), slots).decode.requests)

    def at(log_batch: FloatArray) -> tuple[Steady, FloatArray]:
        steady = steady_state(network, np.exp(np.minimum(log_batch, top)), slots)
        return steady, steady.users * np.exp(np.maximum(log_batch - top, 0.0))

    def excess(log_batch: FloatArray) -> FloatArray:
        steady, users = at(log_batch)
        result = benchmark_of(network, steady, slots, users)
        return np.asarray(np.log(result.request_rate / rate))

    found = last_below(excess, top - LEAST_LOG, top + MOST_LOG)
    users = np.ceil(np.minimum(at(found)[1], float(MOST_USERS)))
    result = serve(network, slots, users)
    short = result.request_rate < rate * (1.0 - TOLERANCE)
    if short.any():  # the root lies just below a whole number
        users = users + short
        result = serve(network, slots, users)
    return result, users.astype(np.int64)


def _meets(part: _Part, result: Benchmark) -> BoolArray:
    limits = part.of.problem.limits
    met = result.request_rate >= part.rate * (1.0 - TOLERANCE)
    met = met & (result.tpot_median * limits.target <= 1.0 + TOLERANCE)
    if limits.max_ttft is not None and part.is_timed:
        met = met & (result.ttft_mean <= limits.max_ttft * (1.0 + TOLERANCE))
    return np.asarray(met)
