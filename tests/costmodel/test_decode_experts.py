"""Experts of one layer, and the collectives that carry tokens to them and back."""

import math

import numpy as np
import pytest

from costmodel.calibration import Calibration
from costmodel.collectives import (
    all_reduce_time,
    exchange_time,
    preparation_time,
)
from costmodel.decode import attention_reduce_time, decode_step
from costmodel.deviations import Traits
from costmodel.exchange import crossing_exchange
from costmodel.experts import expert_layer_time, expert_time, moe_exchange_time
from costmodel.inputs import FloatArray, MachineArrays, ModelArrays, PathArrays, WorkerArrays
from costmodel.resolve import resolve


def array(value: float) -> FloatArray:
    return np.asarray(float(value))


# Experts: 0.5 MB each over 0.5 TB/s, 1 us; 2 MFLOP a row at 20 TFLOP/s, 0.1 us.


def touched(tokens: float) -> float:
    """Distinct experts of 16 when each token chooses 2 and popularity varies by 0.5.

    With gamma-distributed popularity one expert stays untouched with chance (1 + s^2 m)^(-1/s^2),
    where m = 2 tokens / 16 is its mean load and 1/s^2 is 4.
    """
    return 16 * (1 - (1 + 0.25 * 2 * tokens / 16) ** -4)


def test_touched_experts_against_a_simulation(
    machine: MachineArrays, model: ModelArrays, dp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    # Draw the popularity of 16 experts, then the tokens of each; count those with any.
    chance = np.random.default_rng(0)
    popularity = chance.gamma(4, 1 / 4, (40_000, 16))
    for tokens in (1, 8, 40):
        seen = (chance.poisson(popularity * 2 * tokens / 16) > 0).sum(axis=1).mean()
        assert touched(tokens) == pytest.approx(seen, rel=0.01)
    # With reads alone left (free work), the time says how many are read.
    free = machine._replace(flops_experts=array(1e30))
    alone = dp_workers._replace(gpus=array(1), ep=array(1))
    bare = model._replace(shared_bytes=array(0))
    time = expert_time(free, bare, alone, array(8), array(8), blackwell)
    assert time == pytest.approx(touched(8) * 1e-6)


def test_one_token_on_one_gpu(
    machine: MachineArrays, model: ModelArrays, dp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    alone = dp_workers._replace(gpus=array(1), ep=array(1))
    # Two rows of work, and a tile of 4 rows for each of the 2 experts of a token, where the Poisson
    # distribution would have 1.85; the exponent of the roofline is 2 here.
    assert touched(1) < 2
    rows = math.hypot(2, 4 * 2)
    routed = math.hypot(2e-6, rows * 0.1e-6)
    # The shared expert adds 1 MB, 2 us, and 2 x 2 M FLOP, 0.2 us.
    time = expert_time(machine, model, alone, array(1), array(1), blackwell)
    assert time == pytest.approx(routed + 2.2e-6)


def test_most_loaded_rank_sets_the_pace(
    machine: MachineArrays, model: ModelArrays, dp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    # A quarter of the experts that 4 tokens touch is on each rank, more on the worst.
    share = touched(4) / 4
    worst = math.sqrt(2 * math.log(4))  # deviations by which the worst of 4 ranks lies above
    distinct = share + worst * math.sqrt(share * (1 - share / 4))
    assert distinct < 4  # below all that a rank has
    # Popularity of single experts varies by 0.5, that of 4 together by half of it.
    pairs = 8 / 4 * (1 + 0.5 * worst * math.sqrt(4 / 16))
    rows = math.hypot(pairs, 4 * distinct)
    routed = math.hypot(distinct * 1e-6, rows * 0.1e-6)
    time = expert_time(machine, model, dp_workers, array(1), array(4), blackwell)
    assert time == pytest.approx(routed + 2.2e-6)


def test_a_rank_reads_no_more_experts_than_it_has(
    machine: MachineArrays, model: ModelArrays, dp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    worst = math.sqrt(2 * math.log(4))
    pairs = 2 * 400 / 4 * (1 + 0.5 * worst * math.sqrt(4 / 16))
    routed = math.hypot(4e-6, math.hypot(pairs, 16) * 0.1e-6)
    time = expert_time(machine, model, dp_workers, array(100), array(400), blackwell)
    assert time == pytest.approx(routed + 2e-6 + 100 * 0.2e-6)


def test_eplb_evens_out_the_load(
    machine: MachineArrays, model: ModelArrays, dp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    balanced = dp_workers._replace(eplb_slots=array(20))
    time = expert_time(machine, model, balanced, array(100), array(400), blackwell)
    # As above, with half of the variation.
    worst = math.sqrt(2 * math.log(4))
    pairs = 2 * 400 / 4 * (1 + 0.25 * worst * math.sqrt(4 / 16))
    routed = math.hypot(4e-6, math.hypot(pairs, 16) * 0.1e-6)
    assert time == pytest.approx(routed + 22e-6)
    assert time < expert_time(machine, model, dp_workers, array(100), array(400), blackwell)


def test_ep_below_the_worker_splits_every_expert(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    tp_workers: WorkerArrays,
    blackwell: Calibration,
) -> None:
    alone = dp_workers._replace(gpus=array(1), ep=array(1))
    whole = expert_time(machine, model, alone, array(9), array(9), blackwell)
    ideal = blackwell._replace(split_tile_time=1e-30)
    split = expert_time(machine, model, tp_workers, array(9), array(9), ideal)
    assert split == pytest.approx(whole / 4)


def test_split_experts_keep_the_tiles_of_their_output(
    machine: MachineArrays, model: ModelArrays, tp_workers: WorkerArrays, blackwell: Calibration
) -> None:
    # So many tokens touch every expert; each has hidden / 128 tiles of 1 ns on each of 4 GPUs, and
    # a quarter of that was there before it was split.
    many = array(1e9)
    twice = blackwell._replace(split_tile_time=2e-9)
    of_tiles = float(model.experts * model.hidden) / 128 * 1e-9 * 0.75
    for ep, more in ((1, 1), (2, 1 / 3), (4, 0)):
        workers = tp_workers._replace(ep=array(ep))
        once = expert_time(machine, model, workers, many, many, blackwell)
        longer = expert_time(machine, model, workers, many, many, twice)
        assert float(longer - once) == pytest.approx(more * of_tiles, abs=1e-6 * of_tiles), ep
    assert blackwell.draft is not None
    assert blackwell.draft.split_tile_time == 0.0  # in BF16


def test_expert_constants_follow_kernels_and_format(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    plain: Calibration,
    hopper: Calibration,
) -> None:
    alone = dp_workers._replace(gpus=array(1), ep=array(1))
    fp8, bf16 = (
        resolve(plain, Traits("trtllm", "blackwell", form, form)) for form in ("fp8", "bf16")
    )
    # One row takes 2 M / (40 T x 0.25), 0.2 us, in FP8, and 2 M / (40 T x 0.4), 0.125 us, in BF16;
    # tiles of 8 rows and 4.
    for constants, tile, row in ((fp8, 8, 0.2e-6), (hopper, 4, 0.2e-6), (bf16, 4, 0.125e-6)):
        routed = math.hypot(2e-6, math.hypot(2, tile * 2) * row)
        time = expert_time(machine, model, alone, array(1), array(1), constants)
        assert time == pytest.approx(routed + 2e-6 + 2 * row)


def test_dispatch_and_combine_are_the_kernels_of_the_precision(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    inside: PathArrays,
    blackwell: Calibration,
) -> None:
    hidden, ranks, hit, tokens = array(2000), array(4), array(7 / 16), array(10)  # 1 - (3/4)^2
    prepare = preparation_time(blackwell.prepare, tokens, hidden, ranks)
    for size, kernel in ((1000, blackwell.combine_low_precision), (2000, blackwell.combine)):
        returned = model._replace(combine_bytes=array(size))
        out = exchange_time(
            blackwell.dispatch, tokens, array(500), hidden, ranks, hit, inside, blackwell
        )
        home = exchange_time(kernel, tokens, array(size), hidden, ranks, hit, inside, blackwell)
        dispatch, combine = moe_exchange_time(
            machine, returned, dp_workers, tokens, inside, blackwell
        )
        assert dispatch == pytest.approx(float(2 * (prepare + out)))
        assert combine == pytest.approx(float(2 * home))


def test_leaving_the_domain_takes_the_quickest_kernel_there(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    across: PathArrays,
    blackwell: Calibration,
) -> None:
    times = moe_exchange_time(machine, model, dp_workers, array(10), across, blackwell)
    far = crossing_exchange(machine, model, dp_workers, array(10), across, blackwell)
    assert times == (far.dispatch, far.combine)


def test_ep_below_the_worker_needs_every_token_on_every_rank(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    inside: PathArrays,
    blackwell: Calibration,
) -> None:
    # 10 tokens x 500 B there and 1000 B back to each peer at 30 ps/B and half the rate, twice as
    # the factor of the exchange: 0.6 us and 1.2 us times the chance that a peer needs a token.
    nothing = model._replace(dispatch_bytes=array(0), combine_bytes=array(0))
    for ep, hit in ((4, 7 / 16), (2, 3 / 4), (1, 1)):
        workers = dp_workers._replace(ep=array(ep))
        times = moe_exchange_time(machine, model, workers, array(10), inside, blackwell)
        fixed = moe_exchange_time(machine, nothing, workers, array(10), inside, blackwell)
        wire = [float(time - less) for time, less in zip(times, fixed, strict=True)]
        assert wire == pytest.approx([hit * 0.6e-6, hit * 1.2e-6]), ep
        # However the experts are split, the kernel runs on all four GPUs.
        local = [float(time) for time in fixed]
        # Prepare 5 us, dispatch 10 us, combine 30 us, each with 2 doublings and 0.02 us.
        assert local == pytest.approx([2 * 19.04e-6, 2 * 32.02e-6]), ep


def test_tp_reduces_and_dp_exchanges(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    tp_workers: WorkerArrays,
    inside: PathArrays,
    blackwell: Calibration,
) -> None:
    tokens = array(10)
    none = moe_exchange_time(machine, model, tp_workers, tokens, inside, blackwell)
    assert [float(time) for time in none] == [0, 0]
    assert attention_reduce_time(model, dp_workers, tokens, inside, blackwell) == 0
    # 10 tokens x 1000 x 2 B.
    once = all_reduce_time(array(20e3), array(4), inside, blackwell, array(5e-6))
    time = attention_reduce_time(model, tp_workers, tokens, inside, blackwell)
    assert time == pytest.approx(float(2 * once))
    step = decode_step(machine, model, tp_workers, inside, tokens, blackwell)
    assert step.all_reduce == 5 * 2 * time  # after attention and after the experts


# Overlap: dispatch and combine pass behind a quarter of the expert GEMMs.


def test_experts_hide_a_share_of_the_exchange(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    tp_workers: WorkerArrays,
    inside: PathArrays,
    blackwell: Calibration,
) -> None:
    tokens = array(10)
    exchange = sum(moe_exchange_time(machine, model, dp_workers, tokens, inside, blackwell))
    layer = expert_layer_time(machine, model, dp_workers, inside, tokens, blackwell)
    assert layer.hidden == pytest.approx(float(layer.experts / 4))
    assert layer.dispatch + layer.combine + layer.hidden == pytest.approx(float(exchange))
    split = expert_layer_time(machine, model, tp_workers, inside, tokens, blackwell)
    assert [float(part) for part in (split.hidden, split.dispatch, split.combine)] == [0, 0, 0]


def test_no_more_is_hidden_than_there_is(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    inside: PathArrays,
    blackwell: Calibration,
) -> None:
    slow = machine._replace(hbm_rate=machine.hbm_rate / 1e3)
    tokens = array(10)
    layer = expert_layer_time(slow, model, dp_workers, inside, tokens, blackwell)
    exchange = sum(moe_exchange_time(slow, model, dp_workers, tokens, inside, blackwell))
    assert layer.hidden == exchange
    assert [float(part) for part in (layer.dispatch, layer.combine)] == [0, 0]


def test_across_domains_as_much_of_the_exchange_is_hidden(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    inside: PathArrays,
    across: PathArrays,
    blackwell: Calibration,
) -> None:
    tokens = array(10)
    near, far = (
        expert_layer_time(machine, model, dp_workers, paths, tokens, blackwell)
        for paths in (inside, across)
    )
    assert near.hidden == far.hidden
    exchange = sum(moe_exchange_time(machine, model, dp_workers, tokens, across, blackwell))
    assert far.dispatch + far.combine + far.hidden == pytest.approx(float(exchange))
