import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from costmodel.calibration import Calibration
from costmodel.calibration_file import load_calibration
from costmodel.checks import check_batch, check_memory, check_shape
from costmodel.deployments import deployments_of, memory_limit, network_of
from costmodel.predictions import breakdowns, predict
from costmodel.results import Case, Configuration, Prediction, Scenario
from costmodel.serving import MOST_LOAD
from presets import ClusterSpec, InputError, default_cluster, load_model

R1 = load_model("deepseek-r1-0528")
SCENARIO = Scenario(model=R1)
GB200 = default_cluster("gb200", 72)
USUAL = Configuration(
    prefill_workers=2,
    prefill_gpus_per_worker=4,
    decode_workers=2,
    decode_gpus_per_worker=8,
    decode_ep=8,
    decode_attention="dp",
    max_batch=16,
    mtp_depth=1,
    concurrency=200,
)
KEYS = {
    "tok_s_per_user",
    "tpot_ms",
    "ttft_ms",
    "ttft_median_ms",
    "total_tok_s_per_gpu",
    "usd_per_m_total_tokens",
}


def changed(**values: object) -> Configuration:
    return Configuration.model_validate(USUAL.model_dump() | values)


def predicted(
    calibration: Calibration, configuration: Configuration = USUAL, cluster: ClusterSpec = GB200
) -> Prediction:
    return predict([configuration], SCENARIO, cluster, calibration)[0].prediction


def test_configuration_has_the_keys_of_the_contract() -> None:
    assert list(Configuration.model_fields) == [
        "serving",
        "prefill_workers",
        "prefill_gpus_per_worker",
        "prefill_attention",
        "decode_workers",
        "decode_gpus_per_worker",
        "decode_ep",
        "decode_attention",
        "decode_attention_tp",
        "prefill_stages",
        "max_batch",
        "mtp_depth",
        "draft",
        "eplb_slots",
        "concurrency",
        "frontends",
        "exchange",
    ]
    assert USUAL.gpus == 2 * 4 + 2 * 8
    assert USUAL.label == "2x4P 2x8D dp batch 16 mtp 1"
    assert changed(prefill_attention="tp").label == "2x4P tp 2x8D dp batch 16 mtp 1"


def test_prefill_attention_may_be_left_out() -> None:
    values = USUAL.model_dump()
    assert values.pop("prefill_attention") == "dp"
    assert Configuration.model_validate(values) == USUAL


def test_shared_prefill_is_extrapolated_and_answers_sooner(plain: Calibration) -> None:
    inputs = SCENARIO.model_copy(update={"isl": 8192})
    few = {"concurrency": 4, "max_batch": 4}
    own, shared = (
        predict([changed(prefill_attention=mode, **few)], inputs, GB200, plain)[0].prediction
        for mode in ("dp", "tp")
    )
    assert shared.ttft_ms < own.ttft_ms
    assert own.extrapolated_in == ()
    assert (shared.origin, shared.extrapolated_in) == (
        "extrapolated",
        ("prefill attention tp over 4 GPUs",),
    )

    def width(prediction: Prediction, name: str) -> float:
        low, high = prediction.interval_90[name]
        return high / low

    for name in ("ttft_ms", "total_tok_s_per_gpu", "usd_per_m_total_tokens"):
        assert width(shared, name) > width(own, name)
    # Decode runs as it did.
    for name in ("tpot_ms", "tok_s_per_user"):
        assert width(shared, name) == pytest.approx(width(own, name))


def test_shared_prefill_has_one_server_per_worker(plain: Calibration) -> None:
    own, shared = (
        predict([changed(prefill_attention=mode)], SCENARIO, GB200, plain)[0]
        for mode in ("dp", "tp")
    )
    case = Case(changed(prefill_attention="tp"), SCENARIO, GB200)
    network = network_of(deployments_of([case]), plain)
    assert network.prefill.servers.tolist() == [1.0]
    one = float(network.prefill.seconds_per_token[0]) * 0.9 * 1024
    assert float(network.prefill.capacity[0]) == pytest.approx(1.0 / one)
    assert shared.prefill_load > own.prefill_load


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("decode_workers", 0),
        ("max_batch", 1.5),
        ("max_batch", "16"),
        ("decode_attention", "ep"),
        ("prefill_attention", "ep"),
        ("prefill_attention", None),
        ("mtp_depth", 17),
        ("draft", "none"),
        ("eplb_slots", -1),
        ("concurrency", 10_000_000),
        ("batch", 4),
    ],
)
def test_configurations_that_cannot_be(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        changed(**{field: value})


def test_prediction_has_the_keys_of_the_contract(plain: Calibration) -> None:
    prediction = predicted(plain)
    fields = json.loads(prediction.model_dump_json())
    assert set(fields) == KEYS | {"origin", "extrapolated_in", "interval_90", "anchored_at"}
    assert set(fields["interval_90"]) == KEYS
    assert all(math.isfinite(fields[key]) and fields[key] > 0 for key in KEYS)


def test_figures_of_a_prediction_agree_with_each_other(plain: Calibration) -> None:
    result = predict([USUAL], SCENARIO, GB200, plain)[0]
    prediction = result.prediction
    assert prediction.tok_s_per_user == pytest.approx(1e3 / prediction.tpot_ms)
    price = GB200.hardware().price_usd_per_hour.value
    cost = price / (3600 * prediction.total_tok_s_per_gpu / 1e6)
    assert prediction.usd_per_m_total_tokens == pytest.approx(cost)
    # Parts of the step but the exposed communication, which is dispatch, combine and all-reduce.
    parts = dict(result.breakdown_ms)
    exposed = parts.pop("exposed_communication")
    together = parts["dispatch"] + parts["combine"] + parts["all_reduce"]
    assert exposed == pytest.approx(together)
    # A step at depth 1 keeps 1.774 tokens of R1.
    assert result.tokens_per_step == pytest.approx(1.774147)
    assert sum(parts.values()) == pytest.approx(1.774147 * prediction.tpot_ms)
    assert 0 < result.batch_in_flight <= 16
    assert 0 < result.prefill_load < 1


def test_a_prefill_that_hardly_feeds_decode_has_a_throughput() -> None:
    # A million tokens in, two out: a millionth of the slots is in use.
    extreme = SCENARIO.model_copy(update={"isl": 1_000_000, "osl": 2})
    few = USUAL.model_copy(update={"prefill_workers": 1, "decode_workers": 1, "concurrency": 100})
    b200 = default_cluster("b200", 72)
    (found,) = predict([few], extreme, b200, load_calibration())
    assert found.prefill_load == pytest.approx(MOST_LOAD, rel=1e-5)
    assert found.prediction.total_tok_s_per_gpu > 0.0


def test_intervals_contain_their_values(plain: Calibration) -> None:
    prediction = predicted(plain)
    widths = {"tok_s_per_user": 0.1, "tpot_ms": 0.1, "ttft_ms": 0.5, "ttft_median_ms": 0.5}
    for key in KEYS:
        low, high = prediction.interval_90[key]
        value = getattr(prediction, key)
        assert low < value < high
        width = widths.get(key, 0.2)  # throughput and cost
        assert (low, high) == pytest.approx((value * math.exp(-width), value * math.exp(width)))


def test_several_configurations_come_back_in_order(plain: Calibration) -> None:
    other = changed(max_batch=4, decode_attention="tp", decode_ep=1, mtp_depth=0)
    both = predict([USUAL, other], SCENARIO, GB200, plain)
    assert [item.configuration for item in both] == [USUAL, other]
    assert both[0].prediction == predicted(plain)
    alone = predicted(plain, other)
    assert both[1].prediction.tpot_ms == pytest.approx(alone.tpot_ms, rel=1e-9)


def test_price_moves_cost_alone(plain: Calibration) -> None:
    price = GB200.hardware().price_usd_per_hour.value
    dear = GB200.model_copy(update={"price_usd_per_hour": 2 * price})
    before, after = predicted(plain), predicted(plain, cluster=dear)
    assert after.usd_per_m_total_tokens == pytest.approx(2 * before.usd_per_m_total_tokens)
    low, high = before.interval_90["usd_per_m_total_tokens"]
    assert after.interval_90["usd_per_m_total_tokens"] == pytest.approx((2 * low, 2 * high))
    for name in ("tpot_ms", "ttft_ms", "total_tok_s_per_gpu", "origin", "extrapolated_in"):
        assert getattr(after, name) == getattr(before, name)


def test_inside_the_data_is_modelled(plain: Calibration) -> None:
    prediction = predicted(plain)
    assert (prediction.origin, prediction.extrapolated_in) == ("modelled", ())


def test_b200_beyond_its_island_is_extrapolated(plain: Calibration) -> None:
    wide = changed(decode_workers=1, decode_gpus_per_worker=16, decode_ep=16)
    prediction = predicted(plain, wide, default_cluster("b200", 72))
    assert prediction.origin == "extrapolated"
    assert prediction.extrapolated_in == ("16 GPUs per decode worker across NVLink domains",)
    # The same on GB200 stays in one domain.
    assert predicted(plain, wide).origin == "modelled"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"decode_workers": 20},
            "prefill_workers 2 x prefill_gpus_per_worker 4 and decode_workers 20 x "
            "decode_gpus_per_worker 8: the configuration asks for 168 GPUs, but the cluster has "
            "72; use fewer or smaller workers, or gpus 168 in a cluster file",
        ),
        ({"decode_ep": 3}, "decode_ep 3 must divide decode_gpus_per_worker 8; give 1, 2, 4 or 8"),
        (
            {"decode_gpus_per_worker": 12, "decode_ep": 4},
            "decode_ep 4 over 12 GPUs splits each expert 3 ways, which must divide its width 2048; "
            "give decode_ep 12",
        ),
        ({"eplb_slots": 128}, "eplb_slots 128 must be 0 or at least the 256 experts"),
        ({"eplb_slots": 260}, "decode_ep 8 must divide the 260 expert slots; give eplb_slots 264"),
        (
            {"decode_workers": 1, "decode_gpus_per_worker": 24, "decode_ep": 24},
            "decode_ep 24 must divide the 256 expert slots; give eplb_slots 264",
        ),
        (
            {
                "decode_workers": 1,
                "decode_gpus_per_worker": 24,
                "decode_ep": 24,
                "eplb_slots": 264,
                "decode_attention": "tp",
            },
            "decode_gpus_per_worker 24 must divide the 128 attention heads "
            "under decode_attention tp; give 1, 2, 4, 8, 16, 32, 64 or 128, or dp",
        ),
        (
            {"prefill_gpus_per_worker": 12, "prefill_attention": "tp"},
            "prefill_gpus_per_worker 12 must divide the 128 attention heads "
            "under prefill_attention tp; give 1, 2, 4, 8, 16, 32, 64 or 128, or dp",
        ),
    ],
)
def test_shapes_that_no_engine_starts(
    plain: Calibration, values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError) as caught:
        predict([USUAL, changed(**values)], SCENARIO, GB200, plain)
    assert str(caught.value) == sentence


def test_shapes_that_engines_start() -> None:
    for values in (
        {},
        {"eplb_slots": 288},
        {"decode_attention": "tp", "decode_ep": 1},
        {"decode_attention": "tp", "decode_ep": 4},
        {"prefill_attention": "tp"},
        {"prefill_gpus_per_worker": 12},
        {"decode_workers": 8},  # all 72 GPUs
    ):
        check_shape(changed(**values), R1, GB200)


def test_each_role_has_a_cluster_of_its_own() -> None:
    few = default_cluster("b200", 8)
    many = changed(prefill_workers=3, decode_workers=8)  # 12 + 64 GPUs
    check_shape(many, R1, GB200, default_cluster("b200", 16))
    with pytest.raises(InputError, match="12 prefill GPUs, but the prefill cluster has 8"):
        check_shape(many, R1, GB200, few)
    with pytest.raises(InputError, match="64 decode GPUs, but the decode cluster has 8"):
        check_shape(many, R1, few, GB200)


def test_prefill_on_another_machine(plain: Calibration) -> None:
    """Decode is what it was; prefill is the other machine's, and so is its part of the money."""
    b200 = default_cluster("b200", 8)
    both, there = (predict([USUAL], SCENARIO, GB200, plain, on)[0] for on in (None, b200))
    on_b200 = predict([USUAL], SCENARIO, default_cluster("b200", 72), plain)[0]
    assert there.prediction.tpot_ms == pytest.approx(both.prediction.tpot_ms, rel=0.1)
    assert there.prefill_load != pytest.approx(both.prefill_load, rel=1e-3)
    assert there.prediction.origin == "extrapolated"
    assert "prefill on b200 before decode on gb200" in there.prediction.extrapolated_in
    assert on_b200.prediction.tpot_ms != pytest.approx(there.prediction.tpot_ms, rel=1e-3)
    gpus = USUAL.prefill_gpus, USUAL.decode_gpus
    price = (1.73 * gpus[0] + 1.86 * gpus[1]) / sum(gpus)
    assert there.prediction.usd_per_m_total_tokens == pytest.approx(
        price / (3600 * there.prediction.total_tok_s_per_gpu / 1e6)
    )


def test_drafts_need_draft_layers() -> None:
    bare = R1.model_copy(update={"draft": None, "name": "bare"})
    check_shape(changed(mtp_depth=0), bare, GB200)
    with pytest.raises(
        InputError, match="mtp_depth 1: draft 'mtp' is not known of bare; valid: none, ea"
    ):
        check_shape(USUAL, bare, GB200)


def test_memory_limit_is_named(plain: Calibration) -> None:
    usual = Case(USUAL, SCENARIO, GB200)
    check_memory(usual, 1.0, 1.0)
    check_batch(USUAL, "gb200", 16)
    with pytest.raises(InputError, match="max_batch 16 does not fit in the memory of gb200"):
        check_batch(USUAL, "gb200", 15)
    with pytest.raises(InputError, match="decode_gpus_per_worker 8: the weights leave no room"):
        check_memory(usual, 0.9, 1.0)
    with pytest.raises(InputError, match="prefill_gpus_per_worker 4: the weights leave no room"):
        check_memory(usual, 16.0, 0.9)


def test_a_batch_is_cut_where_its_cache_does_not_fit(plain: Calibration) -> None:
    usual = Case(USUAL, SCENARIO, GB200)
    limit = float(memory_limit(deployments_of([usual]), plain)[0])
    fits = changed(max_batch=math.floor(limit), concurrency=1_000_000)
    more = changed(max_batch=900_000, concurrency=1_000_000)
    small, full, cut = predict([USUAL, fits, more], SCENARIO, GB200, plain)
    assert small.batch_limit == full.batch_limit == cut.batch_limit == math.floor(limit)
    assert cut.configuration.max_batch == 900_000  # as it was given
    assert full.batch_in_flight <= cut.batch_in_flight <= limit
    assert cut.prediction.tpot_ms == pytest.approx(full.prediction.tpot_ms, rel=2e-3)


def test_weights_that_do_not_fit_are_refused(plain: Calibration) -> None:
    small = changed(decode_gpus_per_worker=1, decode_ep=1)
    with pytest.raises(InputError, match="decode_gpus_per_worker 1: the weights leave no room"):
        predict([small], SCENARIO, GB200, plain)
    with pytest.raises(InputError, match="prefill_gpus_per_worker 1: the weights leave no room"):
        predict([changed(prefill_gpus_per_worker=1)], SCENARIO, GB200, plain)


def test_no_configurations_give_no_predictions(plain: Calibration) -> None:
    assert predict([], SCENARIO, GB200, plain) == []


def test_a_saturated_prefill_has_a_finite_answer() -> None:
    starved = changed(prefill_workers=1, decode_workers=8, max_batch=512, concurrency=1_000_000)
    found = predict([starved], SCENARIO, GB200, load_calibration())[0]
    assert found.prefill_load < 1
    assert math.isfinite(found.prediction.ttft_ms)
    assert found.prediction.total_tok_s_per_gpu > 0


def test_lengths_become_a_workload() -> None:
    load = Scenario(model=R1, isl=2000, osl=500).workload
    assert (float(load.isl), float(load.osl)) == (2000, 500)


def test_breakdowns_in_milliseconds() -> None:
    parts = {"attention": np.array([1e-3, 2e-3]), "wait": np.asarray(0.0)}
    assert breakdowns(parts, 2) == [
        {"attention": 1.0, "wait": 0.0},
        {"attention": 2.0, "wait": 0.0},
    ]
