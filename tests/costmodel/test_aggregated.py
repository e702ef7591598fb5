"""Workers that prefill what they decode: what measured rows say of them, and laws."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel import predict
from costmodel.calibration import Calibration
from costmodel.calibration_file import load_calibration, shipped_calibration
from costmodel.deployments import network_of
from costmodel.inputs import FloatArray
from costmodel.network import Steady, ranks
from costmodel.observations import TIME_SPREAD, decode_residuals
from costmodel.results import Configuration, Predicted, Scenario
from costmodel.runs import is_early
from costmodel.serving import steady_state
from costmodel.stages import (
    MIXED,
    MIXED_WAIT,
    _decode_of,
    _tells_of_split_experts,
    fit_mixed,
    fit_split,
    fitted_names,
)
from costmodel.validation import validate
from presets import InputError, ServingRow, aggregated_rows, default_cluster, load_model
from presets.files import validated

ROWS = aggregated_rows()
SPLIT = [row for row in ROWS if _tells_of_split_experts(row)]
CALIBRATION = load_calibration()


def errors(rows: Sequence[ServingRow], calibration: Calibration) -> FloatArray:
    """Relative errors of predicted TPOT where the requests in decode are given [1]."""
    deployments, requests, seen = _decode_of(rows)
    residuals = decode_residuals(deployments, requests, seen, calibration)
    return np.asarray(np.expm1(residuals * TIME_SPREAD))


def test_every_row_is_of_one_worker_that_does_both() -> None:
    assert {(row.serving, row.prefill_workers, row.decode_workers) for row in ROWS} == {
        ("aggregated", 0, 1)
    }


def test_measured_rows_are_predicted() -> None:
    found = validate(ROWS, CALIBRATION).statistics()
    tpot, throughput, ttft = found["tpot"], found["throughput"], found["ttft"]
    assert (tpot["known"], throughput["known"], ttft["known"]) == (177, 157, 163)
    assert tpot["median_ape"] == pytest.approx(0.044, abs=0.003)
    assert tpot["mape"] == pytest.approx(0.066, abs=0.003)
    assert throughput["median_ape"] == pytest.approx(0.057, abs=0.004)
    assert ttft["median_ape"] == pytest.approx(0.24, abs=0.02)
    assert 0.87 <= (tpot["coverage_90"] or 0.0) <= 0.96


def without_deviations(constant: str, calibration: Calibration = CALIBRATION) -> Calibration:
    kept = (each for each in calibration.deviations if each.constant != constant)
    return calibration._replace(deviations=tuple(kept))


def test_each_constant_of_mixed_steps_earns_its_place() -> None:
    shipped = np.abs(errors(ROWS, CALIBRATION)).mean()
    for without in (
        CALIBRATION._replace(mixed_prefill=1e-9),
        without_deviations("mixed_expert_ranks"),
        without_deviations("early_release"),
    ):
        assert np.abs(errors(ROWS, without)).mean() > shipped + 0.01


def test_the_shipped_constants_are_what_the_rows_set() -> None:
    shipped = shipped_calibration()
    fit = fit_mixed(shipped, ROWS)
    names = fitted_names(shipped, (*MIXED, *MIXED_WAIT))
    for name in names:
        constant = shipped.constants[name]
        assert fit.file.constants[name].value == pytest.approx(constant.value, rel=0.02), name
    assert fit.informed["mixed_prefill"] > 0.9
    others = {name for name, one in fit.file.constants.items() if one != shipped.constants[name]}
    assert others <= set(names)


def test_split_fp4_experts_cost_more_than_their_share() -> None:
    assert len(SPLIT) == 12
    prefill_alone = CALIBRATION._replace(mixed_prefill=1.0, mixed_fixed_share=0.0)
    without = errors(SPLIT, without_deviations("split_tile_time", prefill_alone))
    assert np.all(without < 0)
    assert without.mean() == pytest.approx(-0.09, abs=0.01)
    found = errors(SPLIT, prefill_alone)
    assert np.abs(found).mean() < 0.04
    assert abs(found.mean()) < 0.01


def test_the_same_shape_in_fp8_tells_that_the_all_reduce_is_not_too_cheap() -> None:
    rows = [
        row
        for row in ROWS
        if row.precision == "fp8"
        and row.isl == 1024
        and row.sku == "b200"
        and row.decode_ep == 1
        and row.concurrency <= 64
        and not is_early("trtllm", row.framework_version, row.date)
    ]
    assert len(rows) == 18
    found = errors(rows, CALIBRATION._replace(mixed_prefill=1.0, mixed_fixed_share=0.0))
    assert np.abs(found).mean() < 0.05
    assert abs(found.mean()) < 0.02


def test_the_shipped_split_constant_is_what_the_rows_set() -> None:
    shipped = shipped_calibration()
    fit = fit_split(shipped)
    (name,) = fitted_names(shipped, ("split_tile_time",))
    fitted, constant = (file.constants[name] for file in (fit.file, shipped))
    assert fitted.value == pytest.approx(constant.value, rel=0.01)
    assert fitted.standard_error == pytest.approx(constant.standard_error, rel=0.05)
    assert fit.informed[name] > 0.9
    others = {each for each, one in fit.file.constants.items() if one != shipped.constants[each]}
    assert others <= {name}


def test_a_mean_and_a_median_are_compared_with_their_own() -> None:
    row = next(row for row in ROWS if row.mtp_depth == 3 and row.tpot_median_ms)
    as_mean = row.model_copy(update={"tpot_ms": row.tpot_median_ms, "tpot_median_ms": None})
    median, mean = errors([row, as_mean], CALIBRATION)
    assert (1 + mean) / (1 + median) == pytest.approx(1 - 3 * CALIBRATION.mean_to_median)


def pool(**changes: object) -> Configuration:
    values: dict[str, object] = {
        "serving": "aggregated",
        "decode_workers": 1,
        "decode_gpus_per_worker": 8,
        "decode_ep": 8,
        "decode_attention": "dp",
        "max_batch": 64,
        "mtp_depth": 0,
        "concurrency": 64,
    }
    return validated(Configuration, values | changes)


def predicted(configuration: Configuration, isl: int = 1024, osl: int = 1024) -> Predicted:
    scenario = Scenario(model=load_model("deepseek-r1-0528"), isl=isl, osl=osl)
    (one,) = predict([configuration], scenario, default_cluster("b200", 64), CALIBRATION)
    return one


def test_no_prefill_workers_are_one_pool() -> None:
    said = pool()
    unsaid = said.model_dump(exclude={"serving"}) | {"prefill_gpus_per_worker": 4}
    assert Configuration.model_validate(unsaid) == said
    assert (said.prefill_workers, said.prefill_gpus, said.gpus) == (0, 0, 8)
    assert said.label == "1x8PD dp batch 64 mtp 0"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prefill_workers": 2}, "prefill_workers is 2; it must be 0 where serving is aggregated"),
        (
            {"serving": "disaggregated", "prefill_workers": 0, "prefill_gpus_per_worker": 4},
            "prefill_workers is 0; it must be at least 1 in disaggregated serving",
        ),
        (
            {"serving": "disaggregated", "prefill_workers": 1, "prefill_gpus_per_worker": 0},
            "prefill_gpus_per_worker is 0; it must be at least 1 in disaggregated serving",
        ),
        ({"serving": "both"}, "serving"),
    ],
)
def test_pools_that_do_not_fit_are_refused(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        pool(**changes)


def test_a_step_is_as_long_as_its_parts_and_holds_the_prefill() -> None:
    one = predicted(pool())
    step = sum(ms for name, ms in one.breakdown_ms.items() if name != "exposed_communication")
    assert step == pytest.approx(one.prediction.tpot_ms)  # without drafts a step is a token
    assert 0.0 < one.breakdown_ms["interleaved_prefill"] < 0.2 * step
    longer = predicted(pool(), isl=8192)
    assert (
        longer.breakdown_ms["interleaved_prefill"] > 4.0 * one.breakdown_ms["interleaved_prefill"]
    )


def test_ranks_wait_for_the_prefill_of_others_where_an_engine_gathers_none() -> None:
    deployments, requests, _ = _decode_of(ROWS)
    stalled = CALIBRATION._replace(mixed_rank_stall=0.5)
    one, other = (
        errors(ROWS, each._replace(mixed_fixed_share=0.0)) for each in (CALIBRATION, stalled)
    )
    dp = deployments.workers.attention_dp & (deployments.workers.gpus > 1)
    assert np.all(other[dp & (requests > 1)] > one[dp & (requests > 1)])
    assert np.array_equal(other[~dp], one[~dp])


def test_a_request_waits_for_steps_of_its_worker_and_a_time_of_their_own() -> None:
    deployments, requests, _ = _decode_of(ROWS)
    dp = deployments.workers.attention_dp & (deployments.workers.gpus > 1)

    def waiting(calibration: Calibration) -> Steady:
        network = network_of(deployments, calibration)
        return steady_state(network, requests / ranks(network.workers), deployments.max_batch)

    shipped = waiting(CALIBRATION)
    for constant, steps in (("mixed_steps", ~dp), ("mixed_rank_steps", dp)):
        more = waiting(CALIBRATION._replace(**{constant: getattr(CALIBRATION, constant) + 2.0}))
        longer = more.prefill_seconds - shipped.prefill_seconds
        assert longer == pytest.approx(2.0 * steps * shipped.decode.step.total)
    fixed = CALIBRATION.mixed_first_token_time + 0.25
    later = waiting(CALIBRATION._replace(mixed_first_token_time=fixed, first_token_time=9.0))
    assert later.prefill_seconds - shipped.prefill_seconds == pytest.approx(0.25)


def test_one_pool_hands_no_cache_over() -> None:
    assert predicted(pool()).decode_nic_load == 0.0


def test_users_beyond_the_slots_wait() -> None:
    full, over = predicted(pool(concurrency=512)), predicted(pool(concurrency=2048))
    assert over.batch_in_flight <= 64
    assert over.prediction.tpot_ms == pytest.approx(full.prediction.tpot_ms, rel=0.05)
    assert over.prediction.ttft_ms > 5.0 * full.prediction.ttft_ms


def test_what_lies_outside_the_aggregated_rows_is_said() -> None:
    assert predicted(pool()).prediction.origin == "modelled"
    wide = predicted(pool(decode_gpus_per_worker=32, decode_ep=32))
    assert "32 GPUs per decode worker in aggregated serving" in wide.prediction.extrapolated_in
    bare = CALIBRATION._replace(
        coverage=CALIBRATION.coverage.model_copy(update={"aggregated": None})
    )
    scenario = Scenario(model=load_model("deepseek-r1-0528"))
    (one,) = predict([pool()], scenario, default_cluster("b200", 8), bare)
    assert one.prediction.extrapolated_in == ("aggregated serving",)


SHAPES = st.fixed_dictionaries(
    {
        "decode_gpus_per_worker": st.sampled_from([4, 8, 16]),
        "decode_attention": st.sampled_from(["tp", "dp"]),
        "mtp_depth": st.integers(0, 3),
        "decode_workers": st.integers(1, 3),
        "max_batch": st.integers(1, 256),
    }
)
LENGTHS = st.sampled_from([128, 1024, 4096, 8192, 32768])


def drawn(shape: dict[str, object], split: bool, **changes: object) -> Configuration:
    ep = 1 if split else shape["decode_gpus_per_worker"]
    return pool(**shape | {"decode_ep": ep} | changes)


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.booleans(), LENGTHS, st.integers(1, 2000), st.floats(1.1, 3.0))
def test_more_users_never_give_less(
    shape: dict[str, object], split: bool, isl: int, users: int, factor: float
) -> None:
    few = predicted(drawn(shape, split, concurrency=users), isl)
    many = predicted(drawn(shape, split, concurrency=int(np.ceil(factor * users))), isl)
    fewer, more = (each.prediction.total_tok_s_per_gpu for each in (few, many))
    assert more >= fewer * (1.0 - 1e-3)
    assert many.prediction.tpot_ms >= few.prediction.tpot_ms * (1.0 - 1e-3)


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.booleans(), LENGTHS, st.integers(1, 2000))
def test_a_longer_input_never_runs_quicker(
    shape: dict[str, object], split: bool, isl: int, users: int
) -> None:
    short = predicted(drawn(shape, split, concurrency=users, mtp_depth=0), isl)
    long = predicted(drawn(shape, split, concurrency=users, mtp_depth=0), 2 * isl)
    assert long.prediction.ttft_ms >= short.prediction.ttft_ms * (1.0 - 1e-3)
    request = [p.prediction.ttft_ms + p.prediction.tpot_ms * 921.6 for p in (short, long)]
    assert request[1] >= request[0] * (1.0 - 1e-3)


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.booleans(), LENGTHS, st.integers(1, 255), st.integers(1, 2000))
def test_no_batch_is_quicker_than_a_smaller_one(
    shape: dict[str, object], split: bool, isl: int, more: int, users: int
) -> None:
    larger = {**shape, "max_batch": int(str(shape["max_batch"])) + more}
    small = predicted(drawn(shape, split, concurrency=users), isl)
    large = predicted(drawn(larger, split, concurrency=users), isl)
    assert large.prediction.tpot_ms >= small.prediction.tpot_ms * (1.0 - 1e-3)
    assert large.prediction.total_tok_s_per_gpu >= small.prediction.total_tok_s_per_gpu * 0.999
