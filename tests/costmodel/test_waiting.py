"""The median wait for a decode slot: by hand, against a simulation, and as measured."""

import heapq
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.calibration_file import load_calibration
from costmodel.inputs import FloatArray
from costmodel.validation import validate
from costmodel.waiting import Median, bunched_wait, median_wait, spread_of_ends, wave_width
from costmodel.workload import Workload
from presets import ServingRow
from presets.measurements import read_rows

SLOTS_FILE = Path(__file__).parent / "data" / "users_equal_slots.csv"
"""InferenceX, DeepSeek R1 on GB200, TensorRT-LLM, 2025-12-09 to 2026-02-05, prefill and decode
apart: as many users as slots. The runs of 2025 had one frontend, those of 2026 ten."""


LENGTHS = Workload(np.asarray(1000.0), np.asarray(1000.0))


def array(value: float) -> FloatArray:
    return np.asarray(float(value))


def wait(mean: float, width: float, deviation: float = 0.0) -> Median:
    found = median_wait(array(mean), array(1), array(width), array(deviation))
    return Median(array(float(found.value)), array(float(found.other)))


def test_width_of_waves_by_hand(plain: Calibration) -> None:
    # Lengths of 0.8 to 1.0 are 0.222 of their mean wide; 10 rounds are 2/3 sqrt(10) of one.
    of_lengths = 0.2 / 0.9 * 2 / 3 * np.sqrt(10)
    spread = spread_of_ends(LENGTHS.length_deviation, plain)
    assert wave_width(array(10), array(0), spread) == pytest.approx(of_lengths)
    filling = wave_width(array(10), array(5), spread)
    assert filling == pytest.approx(np.hypot(of_lengths, 0.5))
    assert wave_width(array(10), array(20), spread) == 1
    assert np.all(np.diff(spread_of_ends(np.arange(4.0), plain)) > 0)
    alike = LENGTHS._replace(shortest=array(1))
    assert spread_of_ends(alike.length_deviation, plain) == 0


@given(filling=st.floats(0, 2), rounds=st.floats(3, 100))
def test_lengths_as_benchmarks_draw_them_come_bunched_no_more(
    plain: Calibration, filling: float, rounds: float
) -> None:
    spread = spread_of_ends(LENGTHS.length_deviation, plain._replace(rounds=rounds))
    assert bunched_wait(array(filling), array(1), spread) == 0


def test_equal_lengths_come_bunched_unless_prefill_has_spread_them() -> None:
    # A quarter of a round to prefill all: three quarters of them still come together, and wait for
    # half of what is before them.
    assert bunched_wait(array(2.5), array(10), array(0)) == pytest.approx(2.5 * 0.75 / 2)
    assert bunched_wait(array(2.5), array(10), array(0.1)) == pytest.approx((2.5 * 0.75 - 1) / 2)
    assert bunched_wait(array(10), array(10), array(0)) == 0


def test_waves_leave_most_requests_a_short_wait() -> None:
    # A mean of 0.2 rounds: four of five requests wait 0.2 x 0.5, the fifth 1 - 0.5 x 0.8.
    assert wait(0.2, 0.5).value == pytest.approx(0.1, rel=1e-3)
    # A mean of 1.8: four of five are of the next wave, 2 - 0.5 x 0.2.
    assert wait(1.8, 0.5).value == pytest.approx(1.9, rel=1e-3)
    assert wait(0.2, 0.5).value == wait(0.2, 0.5).other  # no run has another median


@given(st.floats(0, 20))
def test_without_waves_all_wait_alike(mean: float) -> None:
    assert wait(mean, 1.0).value == pytest.approx(mean, abs=1e-9)


@given(st.floats(0, 20), st.floats(0, 1))
def test_nobody_waits_more_than_a_round_beside_the_mean(mean: float, width: float) -> None:
    found = wait(mean, width)
    for value in found:
        assert max(mean - 1.0, 0.0) <= value <= mean + 1.0


@given(st.floats(0, 5), st.floats(0, 1), st.floats(0, 1))
def test_a_longer_mean_has_no_shorter_median(mean: float, more: float, width: float) -> None:
    assert wait(mean + more, width).value >= wait(mean, width).value - 1e-9


def simulated(users: int, workers: int, slots: int, frontends: int, seed: int) -> float:
    """Serve 10 requests per user, all users at once; the median wait, in mean decode times."""
    chance = np.random.default_rng(seed)
    turn = chance.integers(0, workers, frontends)
    queues: list[deque[float]] = [deque() for _ in range(workers)]
    busy, asked, waits = [0] * workers, 0, []
    events: list[tuple[float, int]] = []

    def start(worker: int, now: float, since: float) -> None:
        waits.append(now - since)
        heapq.heappush(events, (now + chance.uniform(0.8, 1.0) / 0.9, worker))

    def ask(now: float) -> None:
        nonlocal asked
        frontend, asked = asked % frontends, asked + 1
        worker = int(turn[frontend])
        turn[frontend] = (worker + 1) % workers
        if busy[worker] < slots:
            busy[worker] += 1
            start(worker, now, now)
        else:
            queues[worker].append(now)

    for _ in range(users):
        ask(0.0)
    while len(waits) < 10 * users:
        now, worker = heapq.heappop(events)
        if queues[worker]:
            start(worker, now, queues[worker].popleft())
        else:
            busy[worker] -= 1
        ask(now)
    return float(np.median(waits))


@pytest.mark.parametrize(
    ("users", "workers", "slots"),
    [(4, 4, 1), (16, 8, 2), (24, 3, 8), (11, 9, 1), (20, 4, 4), (12, 4, 2), (33, 4, 4), (7, 4, 1)],
)
def test_median_against_a_simulation_of_one_frontend(
    plain: Calibration, users: int, workers: int, slots: int
) -> None:
    seen = np.mean([simulated(users, workers, slots, 1, seed) for seed in range(30)])
    spread = spread_of_ends(LENGTHS.length_deviation, plain)
    width = float(wave_width(array(1), array(0), spread))
    found = wait(max(users / (workers * slots) - 1.0, 0.0), width)
    assert found.value == pytest.approx(seen, abs=0.12)


@pytest.mark.parametrize(
    ("users", "workers", "mean"), [(3, 3, 0.45), (4, 4, 0.47), (5, 4, 0.63), (6, 5, 0.62)]
)
def test_runs_behind_ten_frontends_show_one_mode_or_the_other(
    users: int, workers: int, mean: float
) -> None:
    # Workers of one slot; `mean` is that of the simulation.
    seen = [simulated(users, workers, 1, 10, seed) for seed in range(40)]
    level = users / workers
    deviation = float(np.sqrt(level * (1 - 1 / workers)))
    low, high = sorted(map(float, wait(mean, 0.47, deviation)))
    short, long = np.quantile(seen, [0.2, 0.8])
    assert low <= short + 0.15
    assert high >= long - 0.2


def test_median_when_users_equal_slots() -> None:
    rows = read_rows(SLOTS_FILE, ServingRow)
    found = validate(rows, load_calibration())
    behind_one = [i for i, row in enumerate(rows) if row.date is not None and row.date.year == 2025]
    figure = found.figures["ttft_median"]
    assert len(behind_one) == 16
    assert figure.covered.all()
    assert np.all(figure.predicted[behind_one] < 0.35)  # measured 0.114 to 0.211 s
    behind_ten = [i for i in range(len(rows)) if i not in behind_one]
    low, high = figure.where(behind_ten).modes
    assert np.all(low < 0.6)
    assert np.all(high > 4.0)  # the same configuration: 0.27 s in one run, 6.3 s in another
