"""What lies inside the data of a calibration, where a question asks for nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from costmodel.intervals import extrapolations, largest_batch_sent
from costmodel.results import Case, Configuration, Scenario
from optimizer.problem import Problem
from optimizer.resources import Resources
from optimizer.space import Shape
from presets import InputError

ONE_GPU = Shape(1, 1, "dp", 0, 0)
"""A worker for the role that is not looked at."""


def case_of_workers(
    decode: Shape, batch: int, scenario: Scenario, resources: Resources, prefill: Shape = ONE_GPU
) -> Case:
    """Build a case of one worker of each role."""
    return Case(
        Configuration(
            prefill_workers=1,
            prefill_gpus_per_worker=prefill.gpus,
            prefill_attention=prefill.attention,
            decode_workers=1,
            decode_gpus_per_worker=decode.gpus,
            decode_ep=decode.ep,
            decode_attention=decode.attention,
            max_batch=batch,
            mtp_depth=decode.mtp_depth,
            eplb_slots=decode.eplb_slots,
            concurrency=1,
        ),
        scenario,
        *resources,
    )


def inside_batches(shapes: Sequence[Shape], problem: Problem) -> list[tuple[int, int]]:
    """Smallest and largest batch of each decode worker inside the data; (1, 0) where none is [1].

    Raises
    ------
    InputError
        If no decode worker is, saying in what the question lies outside.
    """
    scenario, coverage = problem.scenario, problem.calibration.coverage
    domain = problem.cluster.hardware().gpus_per_domain.value
    found, outside = [], []
    for shape in shapes:
        least, most = coverage.max_batch_dp if shape.attention == "dp" else coverage.max_batch_tp
        if shape.attention == "dp" and shape.gpus > domain:
            most = min(most, math.floor(largest_batch_sent(scenario, shape.mtp_depth)))
        case = case_of_workers(shape, max(least, 1), scenario, problem.resources)
        reasons = {one.reason for one in extrapolations(case, coverage) if one.decode}
        found.append((1, 0) if reasons else (least, most))
        outside.append(reasons)
    if all(most < least for least, most in found):
        common = set.intersection(*outside) or min(outside, key=lambda reasons: len(reasons))
        raise _nothing_inside("no decode worker", common)
    return found


def inside_prefill(shapes: Sequence[Shape], problem: Problem) -> list[Shape]:
    """Prefill workers inside the data.

    Raises
    ------
    InputError
        If none is, saying in what they lie outside.
    """
    outside = {
        shape: {
            one.reason
            for one in extrapolations(
                case_of_workers(ONE_GPU, 1, problem.scenario, problem.resources, shape),
                problem.calibration.coverage,
            )
            if not one.decode
        }
        for shape in shapes
    }
    inside = [shape for shape in shapes if not outside[shape]]
    if not inside:
        fewest = min(outside.values(), key=lambda reasons: len(reasons))
        raise _nothing_inside("no prefill worker", fewest)
    return inside


def _nothing_inside(what: str, reasons: set[str]) -> InputError:
    return InputError(
        f"within_data: {what} is inside the data of the calibration; what lies outside it: "
        f"{', '.join(sorted(reasons))}; leave it out"
    )
