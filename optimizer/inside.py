"""What lies inside the data of a calibration, where a question asks for nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from costmodel.intervals import Outside, drafts_outside, extrapolations
from costmodel.results import Case, Configuration
from optimizer.problem import Problem
from optimizer.space import Shape
from presets import InputError

ONE_GPU = Shape(1, 1, "dp", 0, 0)
"""A worker for the role that is not looked at."""


def case_of_workers(decode: Shape, batch: int, problem: Problem, prefill: Shape = ONE_GPU) -> Case:
    """Build a case of one worker of each role, or of one that does both."""
    two = 0 if problem.is_aggregated else 1
    return Case(
        Configuration(
            serving=problem.serving,
            prefill_workers=two,
            prefill_gpus_per_worker=two * prefill.gpus,
            prefill_attention=prefill.attention,
            decode_workers=1,
            decode_gpus_per_worker=decode.gpus,
            decode_ep=decode.ep,
            decode_attention=decode.attention,
            max_batch=batch,
            mtp_depth=decode.mtp_depth,
            draft=problem.scenario.drafting if decode.mtp_depth else "none",
            eplb_slots=decode.eplb_slots,
            concurrency=1,
        ),
        problem.scenario,
        *problem.resources,
    )


def decode_outside(
    workers: Sequence[tuple[Shape, int]], problem: Problem
) -> list[tuple[Outside, ...]]:
    """In what decode workers with a batch lie outside the data of the calibration.

    Drafts inside the data count only where attention dp crosses NVLink domains, as far fewer tokens
    are then sent than gathered; so other workers that differ in such a depth alone are looked up
    once.
    """
    domain = problem.cluster.hardware().gpus_per_domain.value
    coverage = problem.calibration.coverage
    known: dict[tuple[Shape, int], tuple[Outside, ...]] = {}
    depths = {shape.mtp_depth for shape, _ in workers}
    scenario, draft = problem.scenario, problem.scenario.drafting
    alike = {
        depth: depth if any(drafts_outside(scenario, draft, depth, problem.coverage)) else 0
        for depth in depths
    }

    def found(shape: Shape, batch: int) -> tuple[Outside, ...]:
        if shape.attention != "dp" or shape.gpus <= domain:
            shape = shape._replace(mtp_depth=alike[shape.mtp_depth])
        if (shape, batch) not in known:
            case = case_of_workers(shape, batch, problem)
            every = extrapolations(case, coverage)
            known[shape, batch] = tuple(one for one in every if one.decode)
        return known[shape, batch]

    return [found(*worker) for worker in workers]


def prefill_outside(shapes: Sequence[Shape], problem: Problem) -> list[tuple[Outside, ...]]:
    """In what prefill workers lie outside the data of the calibration, of which decode is free."""
    found = []
    for shape in shapes:
        case = case_of_workers(ONE_GPU, 1, problem, shape)
        every = extrapolations(case, problem.calibration.coverage)
        found.append(tuple(one for one in every if not one.decode))
    return found


def inside_batches(shapes: Sequence[Shape], problem: Problem) -> list[tuple[int, int]]:
    """Smallest and largest batch of each decode worker inside the data; (1, 0) where none is [1].

    Raises
    ------
    InputError
        If no decode worker is, saying in what the question lies outside.
    """
    coverage = problem.coverage
    spans = [
        coverage.max_batch_dp if shape.attention == "dp" else coverage.max_batch_tp
        for shape in shapes
    ]
    smallest = [max(least, 1) for least, _ in spans]
    outside = decode_outside(list(zip(shapes, smallest, strict=True)), problem)
    found = [(1, 0) if some else span for some, span in zip(outside, spans, strict=True)]
    if all(most < least for least, most in found):
        reasons = [{one.reason for one in some} for some in outside]
        common = set.intersection(*reasons) or min(reasons, key=len)
        worker = "no worker" if problem.is_aggregated else "no decode worker"
        raise _nothing_inside(worker, common)
    return found


def inside_prefill(shapes: Sequence[Shape], problem: Problem) -> list[Shape]:
    """Prefill workers inside the data.

    Raises
    ------
    InputError
        If none is, saying in what they lie outside.
    """
    outside = prefill_outside(shapes, problem)
    inside = [shape for shape, some in zip(shapes, outside, strict=True) if not some]
    if not inside:
        raise _nothing_inside("no prefill worker", {one.reason for one in min(outside, key=len)})
    return inside


def _nothing_inside(what: str, reasons: set[str]) -> InputError:
    return InputError(
        f"within_data: {what} is inside the data of the calibration; what lies outside it: "
        f"{', '.join(sorted(reasons))}; leave within_data out"
    )
