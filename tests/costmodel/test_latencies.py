import math

import numpy as np
import pytest

from costmodel.calibration import Calibration, calibration_of, constants_of
from costmodel.calibration_file import shipped_calibration
from costmodel.latencies import exchange_kernel, exchange_residuals, reduce_residuals
from presets import AllToAllRow, allreduce_rows, alltoall_rows

COVERAGE = shipped_calibration().coverage


def one(kernel: str, op: str, **values: object) -> AllToAllRow:
    return next(
        row
        for row in alltoall_rows()
        if row.kernel == kernel and row.op == op
        if all(getattr(row, name) == value for name, value in values.items())
    )


@pytest.mark.parametrize("ep", [4, 32])
def test_two_sided_dispatch_by_hand(plain: Calibration, ep: int) -> None:
    row = one("trtllm-NVLinkTwoSided", "dispatch", dtype="fp8", ep=ep, tokens_per_rank=1024)
    # Fixed 10 us and 1 us per doubling; 2 B x hidden at 1 ps/B; 1 + 4/128 B per element on the
    # wire, from each token to 3 of 4 peers or 8 x 31/32 of 32, at half of 900 GB/s.
    local = (10 + math.log2(ep)) * 1e-6 + 1024 * 2 * 7168 * 1e-12
    sent = 1024 * 7168 * (1 + 4 / 128) * {4: 3, 32: 8 * 31 / 32}[ep]
    time = local + sent / 900e9 / 0.5
    found = exchange_residuals([row])(plain)
    assert found == pytest.approx([math.log(time / (row.latency_us * 1e-6)) / 0.1])


@pytest.mark.parametrize(("ep", "doublings", "leave"), [(8, 0, 0), (16, 1, 4), (64, 3, 7)])
def test_low_latency_combine_by_hand(
    plain: Calibration, ep: int, doublings: int, leave: int
) -> None:
    row = one("deepep-low-latency", "combine", sku="h200", ep=ep, tokens_per_rank=64)
    # Fixed 12 us; across domains 3 us and 3 for each doubling. Of the 8 copies in BF16 so many
    # leave the domain, over 50 GB/s used to 0.8; 7 of 8 go over NVLink where none does, 450 GB/s
    # used to a half.
    far, near = leave / (50e9 * 0.8), (7 if ep == 8 else 0) / (450e9 * 0.5)
    time = 12e-6 + 3e-6 * (doublings + (ep > 8)) + 64 * 2 * 7168 * max(far, near)
    found = exchange_residuals([row])(plain)
    assert found == pytest.approx([math.log(time / (row.latency_us * 1e-6)) / 0.1])


def test_low_latency_dispatch_starts_later_on_blackwell(plain: Calibration) -> None:
    row = one("deepep-low-latency", "dispatch", sku="b200", ep=8, tokens_per_rank=64)
    # 15 us and 8 us; 7 of 8 copies of 1 + 4/128 B per element at a quarter of 900 GB/s.
    time = 23e-6 + 64 * 7 * 7168 * (1 + 4 / 128) / (900e9 * 0.25)
    found = exchange_residuals([row])(plain)
    assert found == pytest.approx([math.log(time / (row.latency_us * 1e-6)) / 0.1])


def test_normal_dispatch_by_hand(plain: Calibration) -> None:
    row = one("deepep-normal", "dispatch", ep=32, tokens_per_rank=512)
    # 30 us and two doublings of 25 us. A token of 1 + 4/128 B per element leaves for each of 3
    # domains that holds one of its 8 experts, over 50 GB/s used to a half; multiprocessors copy
    # these and those to each rank that does, at 200 GB/s.
    leave, ranks = 3 * (1 - 0.75**8), 32 * (1 - (31 / 32) ** 8)
    sent = 512 * 7168 * (1 + 4 / 128)
    nic, copied = sent * leave / 25e9, sent * (ranks + leave) / 200e9
    time = 80e-6 + (nic**4 + copied**4) ** 0.25
    found = exchange_residuals([row])(plain)
    assert found == pytest.approx([math.log(time / (row.latency_us * 1e-6)) / 0.1])


def test_exchange_of_counts_uses_no_link(plain: Calibration) -> None:
    row = one("trtllm-NVLinkTwoSided", "prepare", ep=8)
    time = 8e-6 + row.tokens_per_rank * 2 * 7168 * 1e-12
    found = exchange_residuals([row])(plain)
    assert found == pytest.approx([math.log(time / (row.latency_us * 1e-6)) / 0.1])


def test_residuals_keep_the_order_of_rows(plain: Calibration) -> None:
    rows = alltoall_rows()[::97]
    assert len({exchange_kernel(row) for row in rows}) > 4
    alone = [exchange_residuals([row])(plain)[0] for row in rows]
    assert exchange_residuals(rows)(plain).tolist() == pytest.approx(alone)
    many = calibration_of({n: np.full((2, 1), v) for n, v in constants_of(plain).items()}, COVERAGE)
    assert exchange_residuals(rows)(many)[1].tolist() == pytest.approx(alone)


def test_reduce_residual_of_one_row_by_hand(plain: Calibration) -> None:
    row = next(row for row in allreduce_rows() if row.gpus == 2)
    rate = {"h100": 450e9, "h200": 450e9}.get(row.sku, 900e9)
    launch = 4e-6 if row.sku.startswith("h") else 5e-6
    one_shot = launch + 2 * row.message_elements_bf16 / (0.5 * rate)
    assert one_shot < 20e-6
    found = reduce_residuals([row])(plain)
    assert found == pytest.approx([math.log(one_shot / (row.latency_us * 1e-6)) / 0.1])


def test_every_exchange_counts_and_only_the_largest_all_reduces_are_left_out(
    plain: Calibration,
) -> None:
    assert len(exchange_residuals(alltoall_rows())(plain)) == len(alltoall_rows()) == 2044
    large = [row for row in allreduce_rows() if row.message_elements_bf16 > 2**25]
    assert len(reduce_residuals(allreduce_rows())(plain)) == len(allreduce_rows()) - len(large)
