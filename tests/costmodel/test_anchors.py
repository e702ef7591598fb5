"""What measured rows tell of the step of what is like them."""

from __future__ import annotations

import numpy as np
import pytest

from costmodel.anchors import (
    LIKENESS,
    NO_ANCHOR,
    NOISE,
    Subject,
    anchor_of,
    fit_anchors,
    level_of,
)
from costmodel.deployments import case_of
from costmodel.inputs import FloatArray
from costmodel.results import Case, Configuration, Scenario
from presets import corpus_rows, default_cluster, load_model, serving_rows

ONE = Subject("b200", "m", "fp8", "vllm", "v1", 0, 8, 8, "dp", 1024, 1024, "aggregated")
SUBJECTS = [
    ONE,
    ONE,
    ONE._replace(isl=8192),
    ONE._replace(sku="h200"),
    ONE._replace(engine="sglang", release="v2"),
    ONE._replace(model="other", gpus=4, ep=4),
]
ERRORS = np.array([-0.10, -0.12, -0.05, 0.02, 0.08, -0.01])
WORKER = Configuration(
    serving="aggregated", prefill_workers=0, prefill_gpus_per_worker=0, decode_workers=1,
    decode_gpus_per_worker=8, decode_ep=1, decode_attention="tp", max_batch=64, mtp_depth=0,
    concurrency=64,
)  # fmt: skip


def asked(model: str, engine: str, **changes: object) -> Case:
    scenario = Scenario(model=load_model(model), precision="fp8", engine=engine, isl=1024, osl=1024)
    return Case(WORKER, scenario.model_copy(update=changes), default_cluster("h200", 8))


def covariance(subjects: list[Subject]) -> FloatArray:
    """Of the errors of rows, term by term."""
    found = np.zeros((len(subjects), len(subjects)))
    for i, one in enumerate(subjects):
        for j, other in enumerate(subjects):
            for fields, spread in LIKENESS.items():
                found[i, j] += spread**2 * (one.key(fields) == other.key(fields))
            found[i, j] += NOISE**2 * (i == j)
    return found


def predicted(target: Subject, subjects: list[Subject], errors: FloatArray) -> float:
    """Mean of the target's level, given the rows: of a joint normal."""
    softened = -0.35 * np.tanh(errors / 0.35)
    cross = covariance([target, *subjects])[0, 1:]
    return float(cross @ np.linalg.solve(covariance(subjects), softened))


@pytest.mark.parametrize(
    "target", [ONE, ONE._replace(isl=4096), ONE._replace(sku="b300"), ONE._replace(release="v9")]
)
def test_a_level_is_the_mean_of_a_joint_normal_given_the_rows(target: Subject) -> None:
    found = level_of(target, fit_anchors(SUBJECTS, ERRORS))
    assert np.log(found) == pytest.approx(predicted(target, SUBJECTS, ERRORS), abs=1e-12)


def test_a_row_is_told_what_the_rows_of_other_deployments_tell() -> None:
    anchors = fit_anchors(SUBJECTS, ERRORS)
    (apart,) = (
        each.level
        for key, each in anchors.items()
        if key.startswith("without")
        and key.endswith(ONE.key(("isl", "osl", "serving")))
        and "sku=b200 model=m" in key
        and "engine=vllm" in key
    )
    assert apart == pytest.approx(predicted(ONE, SUBJECTS[2:], ERRORS[2:]), abs=1e-12)


def test_what_no_row_is_like_has_no_level() -> None:
    other = Subject("x", "y", "fp4", "z", "r", 1, 2, 2, "tp", 5, 5, "disaggregated")
    assert level_of(other, fit_anchors(SUBJECTS, ERRORS)) == 1.0


def test_rows_that_run_slower_than_predicted_lengthen_the_step_by_less_than_they_differ() -> None:
    level = level_of(ONE, fit_anchors(SUBJECTS[:2], ERRORS[:2]))
    assert 1.0 < level < np.exp(0.11)


def test_rows_of_the_shared_constants_have_their_level_already() -> None:
    assert all(anchor_of(case_of(row)) is NO_ANCHOR for row in serving_rows())
    assert anchor_of(asked("deepseek-r1-0528", "trtllm")) is NO_ANCHOR


def test_a_question_is_anchored_unless_it_asks_for_physics_alone() -> None:
    found = anchor_of(asked("minimax-m2.5", "vllm"))
    assert found.rows > 0
    assert found.level != 1.0
    assert anchor_of(asked("minimax-m2.5", "vllm", anchors=False)) is NO_ANCHOR


def test_the_prediction_of_a_measured_row_does_not_know_the_row() -> None:
    """Its level is that without its deployment: some corpus rows, measured against as questions."""
    rows = [row for row in corpus_rows() if row.framework == "vllm" and not row.suspect][:200:20]
    for row in rows:
        case = case_of(row)
        assert anchor_of(case).rows == 0
        assert anchor_of(case).level != anchor_of(case._replace(of_a_row=False)).level
