import math

import pytest

from costmodel.calibration import Calibration
from costmodel.latencies import KERNEL_FAMILY, exchange_residuals, reduce_residuals
from presets import allreduce_rows, alltoall_rows


def test_exchange_residual_of_one_row_by_hand(plain: Calibration) -> None:
    row = next(
        row
        for row in alltoall_rows()
        if row.kernel == KERNEL_FAMILY and row.op == "dispatch" and row.dtype == "fp8"
        if row.sku == "gb200"
    )
    # Fixed 20 us and 1 us per doubling; 2 B x hidden at 1 ps/B; 1 + 4/128 B per element on the
    # wire to each of EP - 1 peers at half of 900 GB/s.
    hit = 1 - (1 - 1 / row.ep) ** row.top_k
    local = (20 + math.log2(row.ep)) * 1e-6 + row.tokens_per_rank * 2 * row.hidden * 1e-12
    pair = row.tokens_per_rank * hit * row.hidden * (1 + 4 / 128)
    time = local + pair * (row.ep - 1) / 900e9 / 0.5
    found = exchange_residuals([row])(plain)
    assert found == pytest.approx([math.log(time / (row.latency_us * 1e-6)) / 0.1])


def test_reduce_residual_of_one_row_by_hand(plain: Calibration) -> None:
    row = next(row for row in allreduce_rows() if row.gpus == 2)
    rate = {"h100": 450e9, "h200": 450e9}.get(row.sku, 900e9)
    launch = 4e-6 if row.sku.startswith("h") else 5e-6
    one_shot = launch + 2 * row.message_elements_bf16 / (0.5 * rate)
    assert one_shot < 20e-6
    found = reduce_residuals([row])(plain)
    assert found == pytest.approx([math.log(one_shot / (row.latency_us * 1e-6)) / 0.1])


def test_rows_beyond_decode_are_left_out(plain: Calibration) -> None:
    chosen = len(exchange_residuals(alltoall_rows())(plain))
    assert 100 < chosen < len(alltoall_rows())
    large = [row for row in allreduce_rows() if row.message_elements_bf16 > 2**25]
    assert len(reduce_residuals(allreduce_rows())(plain)) == len(allreduce_rows()) - len(large)
