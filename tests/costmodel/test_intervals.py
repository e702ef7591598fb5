import math

import pytest

from costmodel.calibration import Calibration, Coverage
from costmodel.calibration_file import shipped_calibration
from costmodel.intervals import (
    Outside,
    extrapolations,
    half_widths,
    interval_class,
    interval_widths,
)
from costmodel.own_cluster import cluster_differs
from costmodel.results import Case, Configuration, Scenario
from presets import ClusterSpec, default_cluster, load_model

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


A = Outside("a")


def reasons(case: Case, coverage: Coverage) -> tuple[str, ...]:
    return tuple(one.reason for one in extrapolations(case, coverage))


def changed(**values: object) -> Configuration:
    return Configuration.model_validate(USUAL.model_dump() | values)


@pytest.mark.parametrize(
    ("configuration", "scenario", "cluster", "reason"),
    [
        ({}, {}, {"sku": "gb300"}, "machine gb300"),
        ({}, {"model": R1.model_copy(update={"name": "another"})}, {}, "model another"),
        ({}, {"precision": "bf16"}, {}, "precision bf16"),
        ({}, {"engine": "sglang"}, {}, "engine sglang"),
        ({}, {"isl": 512}, {}, "input length 512"),
        ({}, {"isl": 100_000}, {}, "input length 100000"),
        ({}, {"osl": 2048}, {}, "output length 2048"),
        ({"decode_gpus_per_worker": 64, "decode_ep": 64}, {}, {}, "64 GPUs per decode worker"),
        (
            {"decode_gpus_per_worker": 16, "decode_ep": 16, "decode_attention": "tp"},
            {},
            {},
            "attention tp over 16 GPUs",
        ),
        ({"decode_gpus_per_worker": 2, "decode_ep": 2}, {}, {}, "2 GPUs per decode worker"),
        (
            {"prefill_gpus_per_worker": 16},
            {},
            {"sku": "b200"},
            "16 GPUs per prefill worker across NVLink domains",
        ),
        ({"prefill_attention": "tp"}, {}, {}, "prefill attention tp over 4 GPUs"),
        ({"prefill_gpus_per_worker": 16}, {}, {}, "prefill workers of 16 GPUs"),
        ({"prefill_gpus_per_worker": 1}, {}, {}, "prefill workers of 1 GPU"),
        ({"decode_ep": 4}, {}, {}, "EP 4 over 8 GPUs under attention dp"),
        (
            {"decode_ep": 4, "decode_attention": "tp"},
            {},
            {},
            "EP 4 over 8 GPUs under attention tp",
        ),
        ({"eplb_slots": 512}, {}, {}, "512 expert slots on gb200"),
        ({"eplb_slots": 288}, {}, {"sku": "b200"}, "288 expert slots on b200"),
        ({"max_batch": 2048}, {}, {}, "batch 2048 under attention dp"),
        ({"max_batch": 2}, {}, {}, "batch 2 under attention dp"),
        (
            {"max_batch": 2048, "decode_ep": 1, "decode_attention": "tp"},
            {"precision": "fp8"},
            {},
            "batch 2048 under attention tp",
        ),
        ({}, {}, {"nic_gb_s": 100.0}, "links or memory that the cluster file changes"),
    ],
)
def test_each_way_out_of_the_data(
    plain: Calibration,
    configuration: dict[str, object],
    scenario: dict[str, object],
    cluster: dict[str, object],
    reason: str,
) -> None:
    case = Case(
        changed(**configuration),
        SCENARIO.model_copy(update=scenario),
        ClusterSpec.model_validate(GB200.model_dump() | cluster),
    )
    assert reasons(case, plain.coverage) == (reason,)


def test_each_attention_mode_has_batches_of_its_own(plain: Calibration) -> None:
    batches = {"max_batch_dp": (1, 64), "max_batch_tp": (1, 8)}
    coverage = plain.coverage.model_copy(update=batches)
    split = {"decode_attention": "tp", "decode_ep": 1}
    for values, outside in (({}, False), (split, True)):
        found = reasons(Case(changed(max_batch=64, **values), SCENARIO, GB200), coverage)
        assert bool(found) is outside


def test_shared_prefill_is_inside_the_data_once_measured(plain: Calibration) -> None:
    measured = plain.coverage.model_copy(update={"prefill_attentions": ("dp", "tp")})
    case = Case(changed(prefill_attention="tp"), SCENARIO, GB200)
    assert reasons(case, plain.coverage)
    assert not reasons(case, measured)
    alone = Case(changed(prefill_attention="tp", prefill_gpus_per_worker=1), SCENARIO, GB200)
    assert "prefill attention tp over 1 GPUs" not in reasons(alone, plain.coverage)


def test_what_was_measured_is_inside_the_data(plain: Calibration) -> None:
    for values in (
        {"decode_gpus_per_worker": 16, "decode_ep": 16, "eplb_slots": 256},
        {"decode_gpus_per_worker": 32, "decode_ep": 32, "eplb_slots": 288},
    ):
        assert reasons(Case(changed(**values), SCENARIO, GB200), plain.coverage) == ()


@pytest.mark.parametrize("attention", ["tp", "dp"])
def test_ep_1_was_measured_in_fp8_on_blackwell_only(plain: Calibration, attention: str) -> None:
    split = changed(decode_ep=1, decode_attention=attention)
    told = (f"EP 1 over 8 GPUs under attention {attention}",)
    fp8 = SCENARIO.model_copy(update={"precision": "fp8"})
    for scenario, cluster, outside in (
        (fp8, GB200, ()),
        (SCENARIO, GB200, told),
        (fp8, default_cluster("h200", 64), told),
    ):
        assert reasons(Case(split, scenario, cluster), plain.coverage) == outside


OTHER_KERNEL = "tokens sent across NVLink domains by another kernel than any row names"


def test_only_the_kernels_of_rows_are_inside_the_data(plain: Calibration) -> None:
    fp8, h100 = SCENARIO.model_copy(update={"precision": "fp8"}), default_cluster("h100", 64)
    for exchange, outside in (
        ("deepep_normal", ()),
        ("deepep_low_latency", (OTHER_KERNEL,)),
        (None, (OTHER_KERNEL,)),
    ):
        wide = changed(decode_gpus_per_worker=16, decode_ep=16, exchange=exchange)
        assert reasons(Case(wide, fp8, h100), plain.coverage) == outside


def test_nics_of_measured_rows_are_inside_the_data(plain: Calibration) -> None:
    fp8 = SCENARIO.model_copy(update={"precision": "fp8"})
    for rate, outside in ((25.0, False), (30.0, True)):
        slow = default_cluster("h100", 64).model_copy(update={"nic_gb_s": rate})
        found = reasons(Case(changed(), fp8, slow), plain.coverage)
        assert ("links or memory that the cluster file changes" in found) is outside


def test_another_nic_latency_counts_between_domains_only(plain: Calibration) -> None:
    fp8 = SCENARIO.model_copy(update={"precision": "fp8"})
    slow = default_cluster("h100", 64).model_copy(update={"nic_latency_us": 10.0})
    for gpus, outside in ((8, False), (16, True)):
        wide = changed(decode_gpus_per_worker=gpus, decode_ep=gpus)
        found = reasons(Case(wide, fp8, slow), plain.coverage)
        assert ("a NIC latency that no row has, between NVLink domains" in found) is outside


def test_no_interval_is_wider_than_tenfold(plain: Calibration) -> None:
    widths = interval_widths("crossing", [Outside("")] * 8, plain)
    assert set(widths.values()) == {math.log(10.0)}


def test_shared_prefill_leaves_tpot_alone(plain: Calibration) -> None:
    case = Case(changed(prefill_attention="tp"), SCENARIO, GB200)
    outside = extrapolations(case, plain.coverage)
    widths = interval_widths("fp4", outside, plain)
    expected = {"tpot": 0.1, "iteration": 0.1, "ttft": 1.0, "ttft_median": 1.0, "throughput": 0.4}
    assert widths == pytest.approx(expected)
    assert interval_widths("fp4", (*outside, A), plain)["tpot"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "configuration", [{"prefill_gpus_per_worker": 72}, {"prefill_gpus_per_worker": 1}]
)
def test_prefill_workers_of_another_size_leave_tpot_alone(
    plain: Calibration, configuration: dict[str, object]
) -> None:
    for sku in ("gb200", "b200"):
        case = Case(changed(**configuration), SCENARIO, default_cluster(sku, 144))
        outside = extrapolations(case, plain.coverage)
        assert [one.decode for one in outside] == [False]
        assert interval_widths("fp4", outside, plain)["ttft"] > 0.5


def test_prefill_on_another_machine_leaves_tpot_alone(plain: Calibration) -> None:
    other = ClusterSpec(sku="b200", gpus=64, nic_gb_s=100.0)
    outside = extrapolations(Case(USUAL, SCENARIO, GB200, other), plain.coverage)
    assert [one.decode for one in outside] == [False, False]


@pytest.mark.parametrize(
    ("isl", "weight"), [(1024, 0), (1000, 1), (8193, 1), (65536, 1), (524_288, 2), (16, 2)]
)
def test_far_lengths_count_by_their_distance(plain: Calibration, isl: int, weight: float) -> None:
    case = Case(USUAL, SCENARIO.model_copy(update={"isl": isl}), GB200)
    found = [one.weight for one in extrapolations(case, plain.coverage)]
    assert found == ([pytest.approx(weight)] if weight else [])


def test_each_extrapolation_widens_the_intervals(plain: Calibration) -> None:
    assert interval_widths("fp4", (), plain)["tpot"] == 0.1
    assert interval_widths("fp4", (A,), plain)["tpot"] == pytest.approx(0.2)
    widths = interval_widths("fp4", (A, A), plain)
    expected = {"tpot": 0.4, "iteration": 0.4, "ttft": 2.0, "ttft_median": 2.0, "throughput": 0.8}
    assert widths == pytest.approx(expected)
    cases = [
        Case(USUAL, SCENARIO, GB200),
        Case(USUAL, SCENARIO, default_cluster("gb300", 72)),
    ]
    assert half_widths(cases, plain)["ttft"] == pytest.approx([0.5, 1.0])


def test_a_worker_wider_than_those_measured_across_domains_is_outside_the_data() -> None:
    coverage = shipped_calibration().calibration.coverage
    fp8 = SCENARIO.model_copy(update={"precision": "fp8"})
    for gpus, outside in ((16, False), (32, True)):
        wide = changed(decode_gpus_per_worker=gpus, decode_ep=gpus)
        found = reasons(Case(wide, fp8, default_cluster("h100", 64)), coverage)
        assert (f"{gpus} GPUs per decode worker across NVLink domains" in found) == outside


def test_fp4_fp8_and_workers_across_domains_have_intervals_of_their_own(
    plain: Calibration,
) -> None:
    fp8 = SCENARIO.model_copy(update={"precision": "fp8"})
    wide = changed(decode_gpus_per_worker=16, decode_ep=16)
    b200 = default_cluster("b200", 72)
    assert interval_class(Case(USUAL, SCENARIO, GB200), plain.coverage) == "fp4"
    assert interval_class(Case(USUAL, fp8, GB200), plain.coverage) == "fp8"
    assert interval_class(Case(wide, fp8, GB200), plain.coverage) == "fp8"
    assert interval_class(Case(wide, SCENARIO, b200), plain.coverage) == "crossing"
    assert interval_class(Case(wide, fp8, b200), plain.coverage) == "crossing"
    for kind, widths in (("fp8", (0.15, 0.6, 0.25)), ("crossing", (0.3, 0.7, 0.4))):
        found = interval_widths(kind, (), plain)  # type: ignore[arg-type]
        assert (found["tpot"], found["ttft"], found["throughput"]) == widths
        assert found["iteration"] == found["tpot"]


def test_price_power_and_name_leave_physics_alone() -> None:
    spec = {"price_usd_per_hour": 9.0, "power_watts": 1000.0, "name": "ours"}
    assert not cluster_differs(ClusterSpec(sku="gb200", gpus=72, **spec))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "physical",
    [
        {"gpus_per_domain": 36},
        {"gpus_per_node": 8},
        {"nvlink_gb_s": 450.0},
        {"nvlink_latency_us": 2.0},
        {"nic_gb_s": 100.0},
        {"nic_latency_us": 9.0},
        {"hbm_gb": 100.0},
        {"scale_out": {"oversubscription": 2.0}},
        {"scale_out": {"gpus_per_leaf": 16}},
    ],
)
def test_links_and_memory_are_physics(physical: dict[str, object]) -> None:
    assert cluster_differs(ClusterSpec.model_validate({"sku": "gb200", "gpus": 72} | physical))


def test_a_model_of_a_measured_name_must_be_the_measured_one(plain: Calibration) -> None:
    other = R1.model_copy(update={"groups": R1.groups[1:]})
    scenario = SCENARIO.model_copy(update={"model": other})
    assert reasons(Case(USUAL, scenario, GB200), plain.coverage) == (f"model {R1.name}",)
    own = R1.model_copy(update={"name": "ours"})
    coverage = plain.coverage.model_copy(update={"models": ("ours",)})
    case = Case(USUAL, SCENARIO.model_copy(update={"model": own}), GB200)
    assert reasons(case, coverage) == ()


def test_an_attention_mode_that_was_never_measured_counts_twice(plain: Calibration) -> None:
    coverage = plain.coverage.model_copy(update={"max_batch_dp": (0, 0)})
    (found,) = extrapolations(Case(USUAL, SCENARIO, GB200), coverage)
    assert (found.reason, found.weight, found.decode) == ("attention dp", 2.0, True)
