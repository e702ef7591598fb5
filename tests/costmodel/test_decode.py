import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.attention import attention_time, projection_time
from costmodel.calibration import Calibration
from costmodel.counts import machine_arrays, model_arrays, path_arrays
from costmodel.decode import decode_step, dense_time, draft_time, head_time
from costmodel.decode_rate import decode_rate
from costmodel.deviations import Deviation, Traits
from costmodel.engine_rules import exchange_of
from costmodel.experts import expert_layer_time, expert_time
from costmodel.inputs import (
    FloatArray,
    MachineArrays,
    ModelArrays,
    PathArrays,
    WorkerArrays,
    stack,
    take,
)
from costmodel.resolve import resolve
from costmodel.step_time import StepTime
from costmodel.workload import Workload
from presets import default_cluster, load_hardware, load_model
from topology import group_table

R1 = load_model("deepseek-r1-0528")


def array(value: float) -> FloatArray:
    return np.asarray(float(value))


def whole_layer(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    paths: PathArrays,
    requests: FloatArray,
    tokens: FloatArray,
    blackwell: Calibration,
) -> dict[str, FloatArray]:
    """Parts of one layer with attention and experts under dp."""
    group = model.attention[0]
    experts = expert_layer_time(machine, model, workers, paths, tokens, blackwell)
    return {
        "projection": projection_time(machine, group, workers, tokens, blackwell),
        "attention": attention_time(machine, group, workers, requests, tokens, blackwell),
        "experts": experts.experts,
        "dispatch": experts.dispatch,
        "combine": experts.combine,
        "launch": np.asarray(blackwell.layer_time),
    }


# Projections: weights at 2 B each over 0.5 TB/s, multiply-adds at 40 TFLOP/s.


def test_projections_are_whole_under_dp(
    machine: MachineArrays, model: ModelArrays, dp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    # 8 M weights: 16 MB in 32 us; 16 tokens x 2 x 8 M FLOP in 6.4 us.
    time = projection_time(machine, model.attention[0], dp_workers, array(16), blackwell)
    assert time == pytest.approx(38.4e-6)


def test_projections_are_split_under_tp(
    machine: MachineArrays, model: ModelArrays, tp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    # 2 M weights on every rank and a quarter of 6 M: 14 us and 2.8 us.
    time = projection_time(machine, model.attention[0], tp_workers, array(16), blackwell)
    assert time == pytest.approx(16.8e-6)


# Attention: cache at 0.25 TB/s, products at 50 TFLOP/s.


def test_attention_fills_a_tile_however_few_heads(
    machine: MachineArrays, model: ModelArrays, dp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    # 8 requests x 1000 tokens x 50 B: 1.6 us. 32 heads and 1 token of each fill half of a tile of
    # 64 rows: 2 x 8 x 64 x 1000 x 100 FLOP in 2.048 us.
    read, products = 1.6e-6, 2.048e-6
    one = attention_time(machine, model.attention[0], dp_workers, array(8), array(8), blackwell)
    two = attention_time(machine, model.attention[0], dp_workers, array(8), array(16), blackwell)
    four = attention_time(machine, model.attention[0], dp_workers, array(8), array(32), blackwell)
    assert one == pytest.approx(math.hypot(read, products))
    assert two == one
    assert four == pytest.approx(math.hypot(read, 2 * products))


def test_tp_splits_heads_but_not_a_latent_cache(
    machine: MachineArrays, model: ModelArrays, tp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    many = model.attention[0]._replace(heads=array(512))  # 128 on each of 4 ranks: two tiles
    time = attention_time(machine, many, tp_workers, array(8), array(8), blackwell)
    assert time == pytest.approx(math.hypot(1.6e-6, 2 * 2.048e-6))
    grouped = many._replace(split=array(2))
    time = attention_time(machine, grouped, tp_workers, array(8), array(8), blackwell)
    assert time == pytest.approx(math.hypot(0.8e-6, 2 * 2.048e-6))


def test_heads_of_each_key_fill_tiles_of_their_own(
    machine: MachineArrays, model: ModelArrays, dp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    # 32 heads in 4 groups of 8: a tile of 64 rows for each, 4 times the work of one tile.
    grouped = model.attention[0]._replace(split=array(4))
    time = attention_time(machine, grouped, dp_workers, array(8), array(8), blackwell)
    assert time == pytest.approx(math.hypot(1.6e-6, 4 * 2.048e-6))


def test_windowed_layers_look_back_on_their_window(
    machine: MachineArrays, model: ModelArrays, dp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    # 200 of 1000 tokens.
    windowed = model.attention[0]._replace(kept=array(200), attended=array(200))
    time = attention_time(machine, windowed, dp_workers, array(8), array(8), blackwell)
    assert time == pytest.approx(0.2 * math.hypot(1.6e-6, 2.048e-6))


def test_picked_tokens_are_few_but_the_index_scans_all(
    machine: MachineArrays, model: ModelArrays, tp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    # 200 of 1000 tokens; every rank reads 10 B of each and multiplies 4 heads of 25 with it.
    picked = model.attention[0]._replace(
        attended=array(200), index_bytes=array(10), index_products=array(100)
    )
    time = attention_time(machine, picked, tp_workers, array(8), array(8), blackwell)
    read = 0.2 * 1.6e-6 + 8 * 1000 * 10 / 0.25e12
    products = 0.2 * 2.048e-6 + 2 * 8 * 1000 * 100 / 50e12
    assert time == pytest.approx(math.hypot(read, products))


def test_a_state_is_read_and_written_whatever_the_context(
    machine: MachineArrays, model: ModelArrays, tp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    # 8 requests x 1 MB twice, and 2 x 16 tokens x 3 M products, over 2 of 4 ranks.
    state = model.attention[0]._replace(
        split=array(2),
        score_value_dim=array(0),
        entry_bytes=array(0),
        state_bytes=array(1e6),
        state_products=array(3e6),
    )
    time = attention_time(machine, state, tp_workers, array(8), array(16), blackwell)
    assert time == pytest.approx(math.hypot(8e6 / 0.25e12, 2 * 16 * 3e6 / 2 / 50e12))


def test_a_compressed_past_has_an_entry_for_many_tokens(
    machine: MachineArrays, model: ModelArrays, dp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    # 1000 tokens in 250 entries, and the last 50 as they are.
    compressed = model.attention[0]._replace(ratio=array(4), recent=array(50))
    time = attention_time(machine, compressed, dp_workers, array(8), array(8), blackwell)
    assert time == pytest.approx(0.3 * math.hypot(1.6e-6, 2.048e-6))


def test_attention_on_hopper_has_its_own_efficiency(
    machine: MachineArrays,
    hopper: Calibration,
    model: ModelArrays,
    dp_workers: WorkerArrays,
) -> None:
    time = attention_time(machine, model.attention[0], dp_workers, array(8), array(8), hopper)
    assert time == pytest.approx(math.hypot(1.6e-6, 2.048e-6 * 0.5 / 0.8))


def test_dense_layer(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    tp_workers: WorkerArrays,
    blackwell: Calibration,
) -> None:
    # 4 MB in 8 us; 10 tokens x 2 x 8 M FLOP at 20 TFLOP/s in 8 us.
    assert dense_time(machine, model, dp_workers, array(10), blackwell) == pytest.approx(16e-6)
    assert dense_time(machine, model, tp_workers, array(10), blackwell) == pytest.approx(4e-6)


def test_head_is_split_over_all_ranks_in_either_mode(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    tp_workers: WorkerArrays,
    blackwell: Calibration,
) -> None:
    # 20 MB over 4 GPUs in 10 us. 10 tokens x 2 x 10 M FLOP at 20 TFLOP/s in 10 us: the tokens of
    # one rank under dp, of all four under tp.
    assert head_time(machine, model, dp_workers, array(10), blackwell) == pytest.approx(20e-6)
    assert head_time(machine, model, tp_workers, array(10), blackwell) == pytest.approx(12.5e-6)


def test_launches(blackwell: Calibration, hopper: Calibration, plain: Calibration) -> None:
    fp8 = resolve(plain, Traits("trtllm", "blackwell", "fp8", "fp8"))
    times = [each.layer_time for each in (blackwell, fp8, hopper)]
    assert times == pytest.approx([10e-6, 15e-6, 20e-6])


def test_drafts_are_layers_of_their_own_precision(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    inside: PathArrays,
    blackwell: Calibration,
) -> None:
    drafting = dp_workers._replace(mtp_depth=array(3))
    # Weights of 4 times the bytes at a quarter of the rate, by the kernels of wide weights; two
    # tokens of a request on average.
    heavy = model._replace(
        expert_bytes=array(2e6),
        shared_bytes=array(4e6),
        expert_input_bytes=array(2000),
        dispatch_bytes=array(2000),
        combine_bytes=array(3000),
    )
    slow, wide = machine._replace(flops_experts=array(1e13)), blackwell.draft
    assert wide is not None
    layer = whole_layer(slow, heavy, drafting, inside, array(8), array(16), wide)
    head = head_time(machine, model, drafting, array(8), blackwell)
    time = draft_time(machine, model, drafting, inside, array(8), blackwell)
    # 2 MB over 0.5 TB/s and 16 tokens times 1 M weights at 40 TFLOP/s join it to the embedding.
    join = 4e-6 + 0.8e-6
    assert time == pytest.approx(float(2 * (sum(layer.values()) + join) + head))
    step = decode_step(machine, model, drafting, inside, array(8), blackwell)
    assert step.draft == pytest.approx(3 * float(time))
    known = decode_step(machine, model, drafting, inside, array(8), blackwell, time)
    assert known == step
    assert decode_step(machine, model, dp_workers, inside, array(8), blackwell).draft == 0


def test_an_engine_takes_time_for_drafts_besides_their_layers(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    inside: PathArrays,
    plain: Calibration,
) -> None:
    own = [
        Deviation("draft_pass_time", (("engine", "own"),), 1e-3),
        Deviation("draft_request_time", (("engine", "own"),), 1e-5),
    ]
    known, slower = (
        resolve(
            plain._replace(deviations=(*plain.deviations, *own)),
            Traits(engine, "blackwell", "fp4", "bf16"),
        )
        for engine in ("trtllm", "own")
    )
    for depth, seconds in ((0, 0.0), (1, 1e-3 + 8e-5), (3, 3e-3 + 8e-5)):
        drafting = dp_workers._replace(mtp_depth=array(depth), attention_dp=np.asarray(False))
        one, other = (
            decode_step(machine, model, drafting, inside, array(8), each).total
            for each in (known, slower)
        )
        assert other - one == pytest.approx(seconds)


def test_drafts_in_fp4_are_layers_like_the_others(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    inside: PathArrays,
    blackwell: Calibration,
) -> None:
    drafting = dp_workers._replace(mtp_depth=array(1))
    narrow = model._replace(
        draft_weight_ratio=array(1),
        draft_join_params=array(0),
        draft_expert_input_bytes=model.expert_input_bytes,
        draft_dispatch_bytes=model.dispatch_bytes,
        draft_combine_bytes=model.combine_bytes,
    )
    quick = machine._replace(flops_draft=machine.flops_experts)
    alike = blackwell._replace(draft=None)
    layer = whole_layer(machine, model, drafting, inside, array(8), array(16), blackwell)
    head = head_time(machine, model, drafting, array(8), blackwell)
    time = draft_time(quick, narrow, drafting, inside, array(8), alike)
    assert time == pytest.approx(float(2 * sum(layer.values()) + head))


def test_step_is_the_sum_of_its_layers(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    inside: PathArrays,
    blackwell: Calibration,
) -> None:
    drafting = dp_workers._replace(mtp_depth=array(1))
    step = decode_step(machine, model, drafting, inside, array(8), blackwell)
    tokens = array(16)
    layer = whole_layer(machine, model, drafting, inside, array(8), tokens, blackwell)
    dense = dense_time(machine, model, drafting, tokens, blackwell)
    parts: dict[str, FloatArray | float] = {
        "projection": 5 * layer["projection"],
        "attention": 5 * layer["attention"],
        "experts": 4 * layer["experts"] + dense,
        "dispatch": 4 * layer["dispatch"],
        "combine": 4 * layer["combine"],
        "all_reduce": 0,
        "draft": draft_time(machine, model, drafting, inside, array(8), blackwell),
        "head": head_time(machine, model, drafting, tokens, blackwell),
        "launch": 5 * 10e-6 + 1e-3,
        "host": 8 * 1e-6,
    }
    expected = {name: float(part) for name, part in parts.items()}
    expected["wait"] = 0.1 * sum(expected.values())
    for name, value in expected.items():
        assert getattr(step, name) == pytest.approx(value), name
    assert step.total == pytest.approx(sum(expected.values()))
    assert step.exposed_communication == step.dispatch + step.combine


def test_ranks_of_tp_do_not_wait_for_each_other(
    machine: MachineArrays,
    model: ModelArrays,
    tp_workers: WorkerArrays,
    inside: PathArrays,
    blackwell: Calibration,
) -> None:
    step = decode_step(machine, model, tp_workers, inside, array(8), blackwell)
    assert not any((step.wait, step.dispatch, step.combine))
    assert step.exposed_communication == step.all_reduce > 0


def test_one_gpu_waits_for_nobody(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    tp_workers: WorkerArrays,
    inside: PathArrays,
    blackwell: Calibration,
) -> None:
    steps = [
        decode_step(
            machine,
            model,
            workers._replace(gpus=array(1), ep=array(1)),
            inside,
            array(8),
            blackwell,
        )
        for workers in (dp_workers, tp_workers)
    ]
    assert [float(step.wait) for step in steps] == [0, 0]
    assert steps[0].total == steps[1].total


# Laws, on R1 and real machines.


def step_of(
    plain: Calibration,
    sku: str,
    gpus: int,
    attention: str,
    depth: int,
    requests: float,
    change: str = "",
    factor: float = 1.0,
) -> float:
    """Seconds of a step; a change multiplies one fact of the machine or the path."""
    precision = "fp4" if load_hardware(sku).kernel_profile == "blackwell" else "fp8"
    facts = machine_arrays(load_hardware(sku), R1, precision)
    paths = path_arrays(group_table(default_cluster(sku, 72), [gpus])[gpus])
    if change in facts._fields:
        facts = facts._replace(**{change: getattr(facts, change) * factor})
    elif change:
        paths = paths._replace(**{change: getattr(paths, change) * factor})
    dp = attention == "dp"
    workers = WorkerArrays(
        gpus=array(gpus),
        ep=array(gpus if dp else 1),
        attention_dp=np.asarray(dp),
        mtp_depth=array(depth),
        drafts_kept=array(depth),
        kept_as_given=np.asarray(False),
        eplb_slots=array(0),
        context=array(1500),
        **{name: np.asarray(has) for name, has in exchange_of("trtllm").items()},
    )
    counts = model_arrays(R1, precision)
    profile, formats = (
        load_hardware(sku).kernel_profile,
        (precision, "bf16" if precision == "fp4" else "fp8"),
    )
    constants = resolve(plain, Traits("trtllm", profile, *formats))
    return float(decode_step(facts, counts, workers, paths, array(requests), constants).total)


workers_on_machines = {
    "sku": st.sampled_from(["b200", "gb200", "h100"]),
    "gpus": st.sampled_from([1, 4, 8, 16, 64]),
    "attention": st.sampled_from(["tp", "dp"]),
    "depth": st.integers(0, 3),
    "requests": st.floats(0.1, 2000),
}


@settings(deadline=None)
@given(factor=st.floats(1.01, 100), **workers_on_machines)
def test_a_better_machine_is_never_slower(
    plain: Calibration,
    sku: str,
    gpus: int,
    attention: str,
    depth: int,
    requests: float,
    factor: float,
) -> None:
    case = (plain, sku, gpus, attention, depth, requests)
    before = step_of(*case)
    for name in ("hbm_rate", "flops_experts", "flops_dense", "flops_attention", "flops_bf16"):
        assert step_of(*case, name, factor) < before, name
    drafting = step_of(*case, "flops_draft", factor)
    assert drafting < before if depth else drafting == before
    for name in ("nvlink_rate", "nic_rate"):
        assert step_of(*case, name, factor) <= before, name
    assert step_of(*case, "seconds_per_pair_byte", 1 / factor) <= before


@settings(deadline=None)
@given(factor=st.floats(1, 100), **workers_on_machines)
def test_a_bigger_batch_is_never_quicker(
    plain: Calibration,
    sku: str,
    gpus: int,
    attention: str,
    depth: int,
    requests: float,
    factor: float,
) -> None:
    case = (plain, sku, gpus, attention, depth)
    assert step_of(*case, requests * factor) >= step_of(*case, requests) * (1 - 1e-12)


@settings(deadline=None)
@given(st.integers(0, 2), st.floats(1, 500))
def test_deeper_drafts_make_longer_steps(plain: Calibration, depth: int, requests: float) -> None:
    shallow = step_of(plain, "gb200", 8, "dp", depth, requests)
    assert step_of(plain, "gb200", 8, "dp", depth + 1, requests) > shallow


# One candidate and many take the same code.


def test_fp8_experts_are_as_quick_as_their_kernels(
    machine: MachineArrays, model: ModelArrays, dp_workers: WorkerArrays, plain: Calibration
) -> None:
    # 4000 tokens multiply for far longer than weights take to read: half the share, twice the time.
    tokens = array(1000.0)
    for form, times in (("fp4", 1.0), ("fp8", 2.0)):
        ours, theirs = (
            resolve(plain, Traits("trtllm", "blackwell", form, form, kernel))
            for kernel in ("deepgemm", "trtllm")
        )
        quick, slow = (
            float(expert_time(machine, model, dp_workers, tokens, 4 * tokens, each))
            for each in (ours, theirs)
        )
        assert slow / quick == pytest.approx(times, rel=0.05)


def candidates(
    count: int,
) -> tuple[WorkerArrays, PathArrays, "np.ndarray[tuple[int], np.dtype[np.float64]]"]:
    chance = np.random.default_rng(1)
    sizes = np.array([4, 8, 16, 32])
    table = group_table(default_cluster("gb200", 72), sizes.tolist())
    places = [path_arrays(table[size]) for size in sizes.tolist()]
    which = chance.integers(0, len(sizes), count)
    dp = chance.random(count) < 0.5
    paths = take(stack(places), which)
    gpus = sizes[which].astype(float)
    workers = WorkerArrays(
        gpus=gpus,
        ep=np.where(dp, gpus, 1.0),
        attention_dp=dp,
        mtp_depth=chance.integers(0, 4, count).astype(float),
        drafts_kept=np.zeros(count),
        kept_as_given=np.asarray(False),
        eplb_slots=np.where(chance.random(count) < 0.5, 288.0, 0.0),
        context=np.asarray(1400.0),
        **{name: np.asarray(has) for name, has in exchange_of("trtllm").items()},
    )
    return workers, paths, chance.integers(1, 1024, count).astype(float)


def test_one_candidate_among_many_is_itself(blackwell: Calibration) -> None:
    facts, counts = machine_arrays(load_hardware("gb200"), R1, "fp4"), model_arrays(R1, "fp4")
    workers, paths, requests = candidates(50)
    many = decode_step(facts, counts, workers, paths, requests, blackwell)
    for index in (0, 17, 49):
        alone = decode_step(
            facts,
            counts,
            WorkerArrays(*(np.broadcast_to(each, 50)[index] for each in workers)),
            PathArrays(*(each[index] for each in paths)),
            requests[index],
            blackwell,
        )
        for name in StepTime._fields:
            value = np.broadcast_to(getattr(many, name), 50)[index]
            assert getattr(alone, name) == pytest.approx(value, rel=1e-12), name


def test_a_million_states_at_once_stay_finite(blackwell: Calibration) -> None:
    count = 1_000_000
    facts, counts = machine_arrays(load_hardware("gb200"), R1, "fp4"), model_arrays(R1, "fp4")
    workers, paths, requests = candidates(count)
    load = Workload(array(1024), array(1024))
    rate = decode_rate(facts, counts, workers, paths, load, requests, blackwell)
    assert rate.tpot.shape == rate.request_rate.shape == (count,)
    for values in (rate.tpot, rate.request_rate, rate.step.total):
        assert np.all(np.isfinite(values))
        assert np.all(values > 0)
