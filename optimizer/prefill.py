"""Prefill workers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import BoolArray, FloatArray, IntArray, take
from costmodel.memory import prefill_limit
from costmodel.prefill import Prefill, prefill_worker
from costmodel.results import Scenario
from optimizer.confidence import prefill_widening
from optimizer.decode_workers import Facts, facts_of, paths_of
from optimizer.inside import inside_prefill
from optimizer.links import apart_by_links, links_of, wider_sizes
from optimizer.problem import Problem
from optimizer.space import Shape, Space, prefill_shapes
from optimizer.spans import Spans, fleet_key
from presets import ClusterSpec, InputError


class PrefillOptions(NamedTuple):
    """Prefill workers, the smallest first and dp before tp; one entry each.

    Attributes
    ----------
    gpus : array of int
        [GPU]
    attention_dp : array of bool
        Whether each rank takes requests of its own.
    prefill : Prefill
        What one worker does.
    widening : array of float
        Factor by which it widens the interval of TTFT, outside the data. [1]
    links : array of int
        Which of the links that workers of its size have in fleets.
    """

    gpus: IntArray
    attention_dp: BoolArray
    prefill: Prefill
    widening: FloatArray
    links: IntArray


def options_of(spans: Spans, problem: Problem) -> PrefillOptions:
    """Rate what prefills: workers of their own, or those that decode in one pool."""
    return pool_options(spans, problem) if problem.is_aggregated else prefill_options(problem)


def prefill_options(problem: Problem) -> PrefillOptions:
    """Leave out of what `every_prefill_option` rates what another mode of its size makes needless.

    Exceptions are those of `every_prefill_option`.
    """
    every = every_prefill_option(problem)
    kept = ~_needless(*every)
    return PrefillOptions(
        gpus=every.gpus[kept],
        attention_dp=every.attention_dp[kept],
        prefill=take(every.prefill, kept),
        widening=every.widening[kept],
        links=every.links[kept],
    )


def every_prefill_option(problem: Problem) -> PrefillOptions:
    """Rate every prefill worker whose memory holds the weights and the cache of one request.

    Within the data those are left out that lie outside the data of the calibration.

    Raises
    ------
    InputError
        If no prefill worker of the space does.
    """
    space, scenario, calibration = problem.space, problem.scenario, problem.prefill_constants
    cluster = problem.resources.prefill_on
    facts = facts_of(scenario, cluster)
    shapes = fitting_shapes(space, space.prefill_gpus, facts, scenario, cluster, calibration)
    if not shapes:
        # Weights too large for every size of the space: the next size that holds them.
        wider = wider_sizes(space)
        shapes = fitting_shapes(space, wider, facts, scenario, cluster, calibration)
        shapes = [shape for shape in shapes if shape.gpus == shapes[0].gpus]
    if not shapes:
        raise InputError(
            f"prefill_gpus {space.prefill_gpus}: no prefill worker of the space has memory for "
            f"{scenario.model.name} at {scenario.precision} and one request of {scenario.isl} "
            f"tokens on {cluster.sku}; give larger ones, a precision of fewer bits, a shorter isl "
            "or a machine of more memory"
        )
    if problem.limits.within_data:
        shapes = inside_prefill(shapes, problem)
    links = links_of(problem)
    known = None if links is None else links.prefill
    shapes = apart_by_links(shapes, known)
    gpus = np.array([shape.gpus for shape in shapes], dtype=np.int64)
    attention_dp = np.array([shape.attention == "dp" for shape in shapes])
    prefill = prefill_worker(
        facts.machine,
        facts.model,
        gpus.astype(np.float64),
        paths_of(cluster, shapes, known),
        scenario.workload,
        calibration,
        np.asarray(problem.cluster.hardware().scale_out_rate.value),
        attention_dp,
    )
    widening = prefill_widening(shapes, problem)
    place = np.array([shape.links for shape in shapes])
    return PrefillOptions(gpus, attention_dp, prefill, widening, place)


def pool_shapes(shapes: Sequence[Shape]) -> list[Shape]:
    """Give one worker of each size and attention, in the order of `pool_options`."""
    found = {fleet_key(shape, is_aggregated=True): shape for shape in shapes}
    return [found[key] for key in sorted(found)]


def pool_options(spans: Spans, problem: Problem) -> PrefillOptions:
    """Rate the workers of one pool as what prefills, one entry for each size and attention.

    They have no GPUs besides those that decode. EP and drafts make no difference to prefill.
    """
    calibration, links = problem.constants, links_of(problem)
    shapes = pool_shapes(spans.shapes)
    gpus = np.array([shape.gpus for shape in shapes])
    attention_dp = np.array([shape.attention == "dp" for shape in shapes])
    prefill = prefill_worker(
        spans.known.facts.machine,
        spans.known.facts.model,
        gpus.astype(np.float64),
        paths_of(problem.cluster, shapes, None if links is None else links.decode),
        problem.scenario.workload,
        calibration,
        attention_dp=attention_dp,
        hands_over=False,
    )
    place = np.array([shape.links for shape in shapes])
    return PrefillOptions(np.zeros_like(gpus), attention_dp, prefill, np.ones(len(gpus)), place)


def fitting_shapes(
    space: Space,
    sizes: Sequence[int],
    facts: Facts,
    scenario: Scenario,
    cluster: ClusterSpec,
    calibration: Calibration,
) -> list[Shape]:
    """Prefill workers of some sizes that an engine runs and that hold weights and one request."""
    shapes = prefill_shapes(space, sizes, scenario, cluster)
    limits = prefill_limit(
        facts.machine,
        facts.model,
        np.array([float(shape.gpus) for shape in shapes]),
        scenario.workload,
        calibration,
        np.array([shape.attention == "dp" for shape in shapes], dtype=np.bool_),
    ).tolist()
    return [shape for shape, limit in zip(shapes, limits, strict=True) if limit >= 1.0]


def _needless(
    gpus: IntArray,
    attention_dp: BoolArray,
    prefill: Prefill,
    widening: FloatArray,
    links: IntArray,
) -> BoolArray:
    """Tell tp workers that dp ones of their size and links match in all that counts.

    A dp worker that takes at least as many requests, and no longer for one, lets none wait longer;
    its TTFT is to be known as well.
    """
    other = attention_dp[:, None] & (gpus[:, None] == gpus) & (links[:, None] == links)
    other = other & (prefill.capacity[:, None] >= prefill.capacity)
    other = other & (prefill.latency[:, None] <= prefill.latency)
    other = other & (widening[:, None] <= widening)
    return np.asarray(~attention_dp & other.any(axis=0))
