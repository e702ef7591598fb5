"""What is searched: sizes, modes and grids, and the rules that cut shapes no engine could run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np

from costmodel.checks import experts_problem, heads_problem
from costmodel.engine_rules import broken_rules
from costmodel.results import Configuration, Scenario
from optimizer.checks import LARGEST_COUNT
from presets import ClusterSpec, InputError
from presets.drafts import DEEPEST, Draft

Attention = Literal["tp", "dp"]

EPLB_COPIES = 9 / 8
"""Slots over experts where experts are copied: 288 for 256, as measured recipes have it. [1]"""

EPLB_FROM_EP = 16
"""Narrowest EP that is balanced with copies; no measured recipe does so below. [GPU]"""

USUAL_DEPTH = 3
"""Depth up to which drafts are tried, or up to the one that their acceptance is known of. [1]"""


@dataclass(frozen=True)
class Space:
    """What is searched, all at once.

    Attributes
    ----------
    prefill_workers, decode_workers : tuple of int
        How many workers. [1]
    prefill_gpus, decode_gpus : tuple of int
        Sizes of one worker. [GPU]
    narrow_ep : tuple of int
        EP of decode workers that is tried besides that of all their GPUs. [GPU]
    attention, prefill_attention : tuple of {"tp", "dp"}
        Attention of decode workers, and of prefill workers.
    mtp_depths : tuple of int or None
        Draft tokens verified per step; None takes all up to `USUAL_DEPTH`, or up to the depth that
        acceptance is known of. [1]
    largest_batch : int
        Per rank under dp, per worker under tp; beyond it no recipe goes. [1]
    batch_ratio : float
        Largest ratio of neighbouring batches, where integers allow it. [1]
    """

    prefill_workers: tuple[int, ...] = tuple(range(1, 17))
    prefill_gpus: tuple[int, ...] = (1, 2, 4, 8)
    decode_workers: tuple[int, ...] = tuple(range(1, 17))
    decode_gpus: tuple[int, ...] = (1, 2, 4, 8, 12, 16, 24, 32, 36, 40, 48, 56, 64, 72)
    narrow_ep: tuple[int, ...] = (1,)
    attention: tuple[Attention, ...] = ("tp", "dp")
    prefill_attention: tuple[Attention, ...] = ("tp", "dp")
    mtp_depths: tuple[int, ...] | None = None
    largest_batch: int = 1024
    batch_ratio: float = 1.01

    def __post_init__(self) -> None:
        """Refuse grids that are empty, repeat a value or leave what was measured."""
        for name, value in list(vars(self).items()):
            if isinstance(value, list):  # a space is hashed
                object.__setattr__(self, name, tuple(value))
        for name in ("prefill_workers", "prefill_gpus", "decode_workers", "decode_gpus"):
            _check_grid(name, getattr(self, name), 1, LARGEST_COUNT)
        if self.narrow_ep:
            _check_grid("narrow_ep", self.narrow_ep, 1, LARGEST_COUNT)
        if self.mtp_depths is not None:
            _check_grid("mtp_depths", self.mtp_depths, 0, DEEPEST)
        for name in ("attention", "prefill_attention"):
            modes = getattr(self, name)
            if not modes or not set(modes) <= {"tp", "dp"}:
                raise InputError(f"{name} {modes!r} is not valid; give 'tp', 'dp' or both")
        if self.largest_batch < 1:
            raise InputError(f"largest_batch {self.largest_batch} is not valid; give 1 or more")
        if not 1.0 < self.batch_ratio < math.inf:
            raise InputError(f"batch_ratio {self.batch_ratio} is not valid; give more than 1")


def depths_of(space: Space, scenario: Scenario) -> tuple[int, ...]:
    """Draft depths that are tried [1]."""
    if space.mtp_depths is not None:
        return space.mtp_depths
    if scenario.drafting == "none":
        return (0,)
    given, known = scenario.acceptance, scenario.acceptance_of(scenario.drafting).deepest
    return tuple(range(max(USUAL_DEPTH, known if given is None else len(given)) + 1))


class Shape(NamedTuple):
    """One worker without its batch; prefill workers have neither drafts nor EPLB.

    Attributes
    ----------
    gpus : int
        GPUs of the worker. [GPU]
    ep : int
        GPUs that share one copy of the experts; each expert is split ``gpus / ep`` ways. [GPU]
    attention : {"tp", "dp"}
        Attention over heads, or over requests.
    mtp_depth : int
        [1]
    eplb_slots : int
        Expert slots of a layer; 0 for the plain placement. [1]
    links : int
        Which of the links that workers of its size have in fleets; see `optimizer.links`.
    """

    gpus: int
    ep: int
    attention: Attention
    mtp_depth: int
    eplb_slots: int
    links: int = 0

    @property
    def structure(self) -> tuple[object, ...]:
        """What tells runners-up apart: size and EP of a worker, attention, draft depth.

        Prefill workers of another size hardly change an answer: they would fill the list.
        """
        return self.gpus, self.ep, self.attention, self.mtp_depth


def shape_of(configuration: Configuration) -> Shape:
    """Shape of the decode workers of a configuration."""
    return Shape(
        configuration.decode_gpus_per_worker,
        configuration.decode_ep,
        configuration.decode_attention,
        configuration.mtp_depth,
        configuration.eplb_slots,
    )


def decode_fields(shape: Shape, draft: Draft) -> dict[str, Any]:
    """Write a decode worker into the fields of a configuration; `draft` is what drafts, if any."""
    return {
        "decode_gpus_per_worker": shape.gpus,
        "decode_ep": shape.ep,
        "decode_attention": shape.attention,
        "mtp_depth": shape.mtp_depth,
        "draft": draft if shape.mtp_depth else "none",
        "eplb_slots": shape.eplb_slots,
    }


def prefill_shape_of(configuration: Configuration) -> Shape:
    """Shape of the prefill workers of a configuration."""
    gpus = configuration.prefill_gpus_per_worker
    return Shape(gpus, gpus, configuration.prefill_attention, 0, 0)


class Rule(NamedTuple):
    """One engine rule: what it demands, and whether a shape meets it."""

    name: str
    reason: str
    holds: Callable[[Shape, Scenario, ClusterSpec], bool]


def fits_cluster(shape: Shape, scenario: Scenario, cluster: ClusterSpec) -> bool:
    """Whether the cluster has as many GPUs as the worker."""
    return shape.gpus <= cluster.gpus


def servers_whole(shape: Shape, scenario: Scenario, cluster: ClusterSpec) -> bool:
    """Whether a worker larger than a server takes whole ones."""
    server = int(cluster.hardware().gpus_per_node.value)
    return shape.gpus <= server or shape.gpus % server == 0


def experts_divide(shape: Shape, scenario: Scenario, cluster: ClusterSpec) -> bool:
    """Whether every rank holds as many slots, and parts of experts, as every other."""
    return experts_problem(scenario.model, shape.gpus, shape.ep, shape.eplb_slots) is None


def engine_starts(shape: Shape, scenario: Scenario, cluster: ClusterSpec) -> bool:
    """Whether the engine's own rules on shapes hold, such as whole blocks of a split expert."""
    width = scenario.model.moe.intermediate
    return not broken_rules(scenario.engine, scenario.precision, width, shape.gpus, shape.ep)


def split_inside(shape: Shape, scenario: Scenario, cluster: ClusterSpec) -> bool:
    """Whether experts are split over GPUs of one NVLink domain only."""
    return shape.gpus == shape.ep or shape.gpus <= cluster.hardware().gpus_per_domain.value


def heads_divide(shape: Shape, scenario: Scenario, cluster: ClusterSpec) -> bool:
    """Whether attention tp gives every rank as many heads as every other."""
    return heads_problem(scenario.model, "decode", shape.gpus, shape.attention) is None


def drafts_exist(shape: Shape, scenario: Scenario, cluster: ClusterSpec) -> bool:
    """Whether something drafts."""
    return shape.mtp_depth == 0 or scenario.drafting != "none"


def copies_pay(shape: Shape, scenario: Scenario, cluster: ClusterSpec) -> bool:
    """Whether copies of experts go with attention dp and wide EP only."""
    return shape.eplb_slots == 0 or (shape.attention == "dp" and shape.ep >= EPLB_FROM_EP)


RULES: tuple[Rule, ...] = (
    Rule("cluster", "a worker cannot be larger than the cluster", fits_cluster),
    Rule("servers", "a worker larger than a server takes whole servers", servers_whole),
    Rule(
        "engine",
        "the engine must take the shape: whole blocks of weights with one scale of a split "
        "expert, and EP as it can be set",
        engine_starts,
    ),
    Rule(
        "experts",
        "EP must divide the GPUs, the experts or the EPLB slots, and split experts evenly",
        experts_divide,
    ),
    Rule("split", "experts are split inside one NVLink domain only", split_inside),
    Rule("heads", "attention tp must divide the attention heads", heads_divide),
    Rule("drafts", "a draft depth above 0 needs what drafts", drafts_exist),
    Rule(
        "copies",
        f"EPLB copies experts under attention dp and EP {EPLB_FROM_EP} or wider only",
        copies_pay,
    ),
)
"""What an engine refuses. Attention tp across NVLink domains is allowed: its all-reduce is priced
as a hierarchy over the NICs. Memory is checked with the batch."""


def eplb_slots(experts: int, ep: int) -> int:
    """Slots of a layer under EPLB: the smallest multiple of EP with enough copies.

    Examples
    --------
    >>> [eplb_slots(256, ep) for ep in (16, 32, 64, 72)]
    [288, 288, 320, 288]
    """
    return math.ceil(experts * EPLB_COPIES / ep) * ep


def all_shapes(space: Space, scenario: Scenario) -> list[Shape]:
    """Every decode worker of the space, with and without EPLB, before any rule; sorted."""
    experts = scenario.model.experts
    return sorted(
        Shape(gpus, ep, attention, depth, slots)
        for gpus, attention, depth in product(
            space.decode_gpus, space.attention, depths_of(space, scenario)
        )
        for ep in sorted({gpus, *(narrow for narrow in space.narrow_ep if narrow < gpus)})
        for slots in (0, eplb_slots(experts, ep))
    )


def broken_rule(shape: Shape, scenario: Scenario, cluster: ClusterSpec) -> Rule | None:
    """Give the first rule that a shape breaks, if any."""
    return next((rule for rule in RULES if not rule.holds(shape, scenario, cluster)), None)


def allowed_shapes(space: Space, scenario: Scenario, cluster: ClusterSpec) -> list[Shape]:
    """Decode workers that break no rule, sorted."""
    return list(_allowed(space, scenario, cluster))


@lru_cache(maxsize=16)
def _allowed(space: Space, scenario: Scenario, cluster: ClusterSpec) -> tuple[Shape, ...]:
    """Kept, as one question takes several searches, of what is safe and of why nothing is met."""
    return tuple(
        shape
        for shape in all_shapes(space, scenario)
        if broken_rule(shape, scenario, cluster) is None
    )


def prefill_shapes(
    space: Space, sizes: Sequence[int], scenario: Scenario, cluster: ClusterSpec
) -> list[Shape]:
    """Prefill workers of some sizes that break no rule, the smallest first, dp before tp.

    One GPU has nobody to share a request with: tp would be dp.
    """
    return [
        shape
        for gpus, attention in product(sorted(sizes), sorted(set(space.prefill_attention)))
        if gpus > 1 or attention == "dp"
        for shape in [Shape(gpus, gpus, attention, 0, 0)]
        if broken_rule(shape, scenario, cluster) is None
    ]


def batch_grid(space: Space) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Batches that are tried: integers, then rising by at most `batch_ratio`, up to the largest.

    Examples
    --------
    >>> batch_grid(Space(largest_batch=50, batch_ratio=1.1))
    array([ 1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,
           18, 19, 20, 22, 24, 26, 28, 30, 33, 36, 39, 42, 46, 50])
    """
    batches = [1]
    while batches[-1] < space.largest_batch:
        step = max(batches[-1] + 1, math.floor(batches[-1] * space.batch_ratio))
        batches.append(min(step, space.largest_batch))
    return np.array(batches, dtype=np.int64)


def _check_grid(name: str, values: tuple[int, ...], low: int, high: int) -> None:
    """Refuse a grid that is empty, repeats a value or leaves its range."""
    if not values or len(set(values)) < len(values):
        raise InputError(f"{name} {values!r} is not valid; give distinct values, at least one")
    if any(isinstance(value, bool) or not isinstance(value, int) for value in values) or not (
        low <= min(values) <= max(values) <= high
    ):
        raise InputError(f"{name} {values!r} is not valid; give whole numbers from {low} to {high}")
