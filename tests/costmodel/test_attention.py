import math

import numpy as np
import pytest

from costmodel.attention import attention_time, projection_time
from costmodel.calibration import Calibration
from costmodel.inputs import (
    FloatArray,
    MachineArrays,
    ModelArrays,
    WorkerArrays,
)


def array(value: float) -> FloatArray:
    return np.asarray(float(value))


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
