import numpy as np
import pytest

from costmodel.calibration import Calibration
from costmodel.calibration_file import load_calibration
from costmodel.deployments import case_of, deployments_of, run
from costmodel.observations import (
    ACCEPTANCE_SPREAD,
    MEAN_SPREAD,
    SAME_STRUCTURE,
    TIME_SPREAD,
    clustered_observations,
    compared,
    configuration_key,
    observations_of,
    step_residuals,
    structure_key,
    wait_residuals,
)
from presets import ServingRow, published_rows, serving_rows

BLANK = {
    "tpot_ms": None,
    "tpot_median_ms": None,
    "ttft_ms": None,
    "ttft_median_ms": None,
    "iteration_ms": None,
    "total_tok_s_per_gpu": None,
    "tok_s_per_user": None,
}


DEEP = next(i for i, row in enumerate(serving_rows()) if row.mtp_depth == 3)


def row(number: int = 0, **measured: float) -> ServingRow:
    """One shipped configuration with made-up measurements."""
    return serving_rows()[number].model_copy(update=BLANK | measured)


def test_a_mean_and_a_median_are_both_kept() -> None:
    seen = observations_of([row(tpot_ms=9.0, tpot_median_ms=10.0, ttft_ms=500.0)])
    assert (seen.tpot_mean[0], seen.tpot_median[0]) == pytest.approx((9e-3, 10e-3))
    assert seen.ttft_mean[0] == 0.5
    assert np.isnan(seen.ttft_median[0])


def test_a_mean_that_equals_the_median_is_a_median() -> None:
    seen = observations_of(
        [row(tpot_ms=10.0, tpot_median_ms=10.0, ttft_ms=500.0, ttft_median_ms=500.0)]
    )
    assert np.isnan(seen.tpot_mean[0])
    assert np.isnan(seen.ttft_mean[0])
    assert (seen.tpot_median[0], seen.ttft_median[0]) == pytest.approx((10e-3, 0.5))


def test_a_lone_tpot_is_a_mean() -> None:
    seen = observations_of([row(tpot_ms=9.0)])
    assert seen.tpot_mean[0] == pytest.approx(9e-3)
    assert np.isnan(seen.tpot_median[0])


def test_tok_s_per_user_is_the_inverse_of_a_median() -> None:
    # As in published tables: 100 token/s/user, and the same as 10 ms.
    seen = observations_of([row(tpot_ms=10.0, tok_s_per_user=100.0), row(tok_s_per_user=50.0)])
    assert np.isnan(seen.tpot_mean).all()
    assert seen.tpot_median == pytest.approx([10e-3, 20e-3])


def test_unknown_results_are_nan() -> None:
    seen = observations_of([row()])
    names = ("tpot_mean", "tpot_median", "iteration", "ttft_mean", "ttft_median", "tok_s_per_gpu")
    assert all(np.isnan(getattr(seen, name)).all() for name in names)


def test_rows_of_one_configuration_share_one_weight() -> None:
    rows = [row(0, tpot_ms=9.0), row(1), row(0, tpot_ms=11.0), row(0)]
    assert configuration_key(rows[0]) == configuration_key(rows[2]) != configuration_key(rows[1])
    assert observations_of(rows).weight == pytest.approx([1 / 3, 1, 1 / 3, 1 / 3])


def test_shared_prefill_is_another_configuration() -> None:
    shared = row(0).model_copy(update={"prefill_attention": "tp"})
    assert configuration_key(shared) != configuration_key(row(0))


def test_what_was_measured_does_not_make_another_configuration() -> None:
    key = configuration_key(row(0))
    assert configuration_key(row(0, tpot_ms=1.0, total_tok_s_per_gpu=5.0)) == key
    other = row(0).model_copy(update={"concurrency": row(0).concurrency + 1})
    assert configuration_key(other) != key


def test_published_rows_have_twins_among_the_serving_rows() -> None:
    published = {configuration_key(ServingRow.model_construct(**dict(r))) for r in published_rows()}
    assert published & {configuration_key(r) for r in serving_rows()}


def test_residuals_of_rows_as_predicted_are_zero(plain: Calibration) -> None:
    deployments = deployments_of([case_of(row())])
    made = run(deployments, plain)
    exact = row(
        tpot_ms=1e3 * float(made.tpot_mean[0]),
        ttft_ms=1e3 * float(made.ttft_mean[0]),
        total_tok_s_per_gpu=float(made.total_tok_s_per_gpu[0]),
    )
    seen = observations_of([exact])
    assert step_residuals(deployments, seen, plain) == pytest.approx(np.zeros(5), abs=1e-9)
    assert wait_residuals(deployments, seen, plain) == pytest.approx(np.zeros(3), abs=1e-9)


def test_step_residuals_by_hand(plain: Calibration) -> None:
    # Every clock runs e^0.1 slow: three of them share the weight of one. The ratio of mean to
    # median is as predicted; the acceptance that iteration and median imply is too.
    deployments = deployments_of([case_of(row(DEEP))])
    made = run(deployments, plain)
    slow = np.exp(0.1) * 1e3
    step = float(made.steady.decode.step.total[0])
    late = row(
        DEEP,
        tpot_ms=slow * float(made.tpot_mean[0]),
        tpot_median_ms=slow * float(made.tpot_median[0]),
        iteration_ms=slow * step,
    )
    found = step_residuals(deployments, observations_of([late]), plain)
    each = -0.1 / TIME_SPREAD / np.sqrt(3)
    assert found == pytest.approx([each, each, each, 0, 0], abs=1e-9)


def test_acceptance_and_mean_have_residuals_of_their_own(plain: Calibration) -> None:
    deployments = deployments_of([case_of(row(DEEP))])
    made = run(deployments, plain)
    median, step = float(made.tpot_median[0]), float(made.steady.decode.step.total[0])
    # Accepted lengths 3 % above and means 2 % below what is predicted.
    odd = row(
        DEEP,
        tpot_ms=1e3 * float(made.tpot_mean[0]) * np.exp(-0.02),
        tpot_median_ms=1e3 * median,
        iteration_ms=1e3 * step * np.exp(0.03),
    )
    found = step_residuals(deployments, observations_of([odd]), plain)
    assert found[3] == pytest.approx(-0.03 / ACCEPTANCE_SPREAD)
    assert found[4] == pytest.approx(0.02 / MEAN_SPREAD)


def test_unknown_results_leave_no_residual(plain: Calibration) -> None:
    deployments = deployments_of([case_of(row())])
    seen = observations_of([row()])
    assert not step_residuals(deployments, seen, plain).any()
    assert not wait_residuals(deployments, seen, plain).any()


def test_twins_pull_no_harder_than_one_row() -> None:
    calibration = load_calibration()
    sums = []
    for copies in (1, 4):
        rows = [row(tpot_ms=5.0, ttft_ms=300.0)] * copies
        deployments, seen = deployments_of([case_of(r) for r in rows]), observations_of(rows)
        sums.append(
            [
                float(np.sum(residuals(deployments, seen, calibration) ** 2))
                for residuals in (step_residuals, wait_residuals)
            ]
        )
    assert sums[0] == pytest.approx(sums[1])


def test_means_are_compared_with_means_and_medians_with_medians(plain: Calibration) -> None:
    rows = [
        row(DEEP, tpot_ms=9.0, tpot_median_ms=10.0, ttft_ms=300.0, ttft_median_ms=200.0),
        row(DEEP, tok_s_per_user=100.0, ttft_median_ms=200.0),
    ]
    deployments, seen = deployments_of([case_of(r) for r in rows]), observations_of(rows)
    made = run(deployments, plain)
    pairs = compared(made, seen)
    assert pairs["tpot"][0].tolist() == [made.tpot_mean[0], made.tpot_median[1]]
    assert pairs["tpot"][1] == pytest.approx([9e-3, 10e-3])
    assert pairs["ttft"][0].tolist() == [made.ttft_mean[0], made.ttft_median[1]]
    assert pairs["ttft"][1] == pytest.approx([0.3, 0.2])
    assert pairs["throughput"][0].tolist() == made.total_tok_s_per_gpu.tolist()
    assert np.isnan(pairs["iteration"][1]).all()


def test_loads_of_one_structure_weigh_less_by_hand() -> None:
    alone = row(0, tpot_ms=9.0)
    first = row(DEEP, tpot_ms=9.0)
    loads = [first.model_copy(update={"concurrency": users}) for users in (11, 12, 13)]
    loads[2] = loads[2].model_copy(update={"max_batch": 7})
    rows = [alone, *loads, loads[0]]  # the last measures one of them again
    assert len({structure_key(each) for each in rows}) == 2
    assert SAME_STRUCTURE == 0.5
    # Three configurations: each a half, 1 / (1 + 2 * 0.5); measured twice, each a quarter.
    weights = clustered_observations(rows).weight
    assert weights == pytest.approx([1.0, 0.25, 0.5, 0.5, 0.25])
    assert observations_of(rows).weight == pytest.approx([1.0, 0.5, 1.0, 1.0, 0.5])


@pytest.mark.parametrize(
    "column", ["sku", "isl", "mtp_depth", "prefill_workers", "decode_ep", "decode_attention"]
)
def test_a_structure_is_more_than_its_load(column: str) -> None:
    other = "tp" if serving_rows()[DEEP].decode_attention == "dp" else "dp"
    changed = {"sku": "h100", "decode_attention": other}.get(column, 5)
    assert structure_key(row(DEEP)) != structure_key(row(DEEP).model_copy(update={column: changed}))
