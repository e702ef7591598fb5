"""What the recipes behind the measured rows say, and that the model follows it."""

from __future__ import annotations

import pytest

from costmodel.calibration_file import load_calibration
from costmodel.deployments import case_of, deployments_of, run
from costmodel.runs import MEASURED_LENGTHS, expert_kernel, measured_frontends
from presets import hardware_names, published_rows, run_settings, serving_rows


def test_every_measured_row_has_settings() -> None:
    for row in (*serving_rows(), *published_rows()):
        asked = (row.sku, row.precision, row.isl, row.decode_attention, row.mtp_depth)
        assert run_settings(*asked) is not None, asked


def test_frontends_are_the_same_in_all_runs_of_a_machine_and_precision() -> None:
    for row in serving_rows():
        settings = run_settings(
            row.sku, row.precision, row.isl, row.decode_attention, row.mtp_depth
        )
        assert settings is not None
        assert settings.frontends == measured_frontends(row.sku, row.precision)


@pytest.mark.parametrize("sku", hardware_names())
def test_other_precisions_are_known_of_no_run(sku: str) -> None:
    assert measured_frontends(sku, "bf16") == 1
    assert expert_kernel(sku, "bf16", 1024, "tp", 0) == ""


def test_the_nearest_measured_length_counts() -> None:
    assert {row.isl for row in serving_rows()} == set(MEASURED_LENGTHS)
    kernels = [expert_kernel("b200", "fp8", isl, "dp", 0) for isl in (100, 2048, 4096, 32768)]
    assert kernels == ["deepgemm", "deepgemm", "trtllm", "trtllm"]


def test_deployments_carry_what_their_runs_had() -> None:
    rows = [row for row in serving_rows() if row.precision == "fp8" and row.sku != "h100"]
    arrays = deployments_of([case_of(row) for row in rows])
    kinds = arrays.kinds
    assert kinds.which is not None
    traits = [kinds.kinds[which] for which in kinds.which]
    for row, frontends, trait in zip(rows, arrays.fleet.frontends, traits, strict=True):
        assert frontends == (10 if row.sku == "gb200" else 1)
        tp_on_blackwell = row.decode_attention == "tp" and row.sku != "h200"
        dp = row.decode_attention == "dp"
        assert (trait.kernel == "trtllm") == (
            tp_on_blackwell or (dp and (row.sku == "b300" or (row.sku, row.isl) == ("b200", 8192)))
        )


def test_a_row_may_say_its_frontends() -> None:
    row = next(row for row in serving_rows() if (row.sku, row.max_batch) == ("gb200", 1))
    rows = [row, row.model_copy(update={"frontends": 1})]
    ten, one = (case_of(each) for each in rows)
    assert deployments_of([ten, one]).fleet.frontends.tolist() == [10, 1]
    calibration = load_calibration()
    both = run(deployments_of([ten, one]), calibration).total_tok_s_per_gpu
    assert both[1] > 1.15 * both[0]
