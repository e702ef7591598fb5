import numpy as np
import pytest

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
