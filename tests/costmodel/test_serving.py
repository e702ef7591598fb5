import heapq
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.decode_rate import decode_rate
from costmodel.inputs import FloatArray, WorkerArrays
from costmodel.network import Benchmark, Fleet, Network, ranks
from costmodel.root import WIDTH
from costmodel.serving import (
    MOST_LOAD,
    batch_met,
    prefill_wait,
    serve,
    share_of_slots,
    steady_state,
)

counts = st.integers(1, 12)


def array(value: float) -> FloatArray:
    return np.asarray(float(value))


def with_fleet(network: Network, prefill_workers: float, decode_workers: float) -> Network:
    fleet = Fleet(array(prefill_workers), array(2), array(decode_workers), array(4))
    return network._replace(fleet=fleet)


def with_depth(network: Network, depth: int) -> Network:
    kept = (0.0, 0.75, 1.25, 1.5)[depth]
    workers = network.workers._replace(mtp_depth=array(depth), drafts_kept=array(kept))
    return network._replace(workers=workers)


def run(network: Network, max_batch: float, concurrency: float) -> Benchmark:
    return serve(network, array(max_batch), array(concurrency))


def test_ranks_and_gpus(
    network: Network, dp_workers: WorkerArrays, tp_workers: WorkerArrays
) -> None:
    assert ranks(dp_workers) == 4
    assert ranks(tp_workers) == 1
    assert network.fleet.gpus(dp_workers) == 1 * 2 + 2 * 4


def test_rate_of_one_worker_by_hand(network: Network) -> None:
    drafting = with_depth(network, 2)
    rate = decode_rate(
        drafting.machine,
        drafting.model,
        drafting.workers,
        drafting.paths,
        drafting.workload._replace(isl=array(1024), osl=array(1024)),
        array(8),
        drafting.calibration,
    )
    # 1 + 1.25 tokens kept per step; the first of 921.6 tokens comes from prefill.
    assert rate.tpot == pytest.approx(float(rate.step.total) / 2.25)
    # The mean over requests is 2 % below the median for each draft.
    assert rate.decode_seconds == pytest.approx(0.96 * float(rate.tpot) * 920.6)
    assert rate.in_flight == 4 * 8
    assert rate.request_rate == pytest.approx(32 / float(rate.decode_seconds))


def test_wait_for_one_prefill_rank_by_hand(plain: Calibration) -> None:
    # One server at half load: s (0.5^(2 - 1)) / (2 x 0.5) = s/2, and half of the load as rest.
    wait = prefill_wait(array(0.5), array(1), array(2.0), plain)
    assert wait == pytest.approx(2.0 * (0.5 * 0.5 + 0.5))


def test_wait_is_nothing_when_idle_and_endless_when_full(plain: Calibration) -> None:
    waits = prefill_wait(np.array([0, 0.5, 0.9, 0.99, 1.0, 2.0]), array(8), array(1), plain)
    assert waits[0] == 0
    assert np.all(np.diff(waits[:5]) > 0)
    assert np.isinf(waits[4:]).all()


@given(st.floats(0.01, 0.99), st.integers(1, 64))
def test_more_prefill_ranks_wait_less_at_the_same_load(
    plain: Calibration, load: float, gpus: int
) -> None:
    fewer, more = prefill_wait(array(load), np.array([gpus, gpus + 1]), array(1), plain)
    assert more <= fewer


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 200), st.floats(1.01, 2))
def test_a_fuller_batch_needs_more_users_even_where_equal_lengths_come_bunched(
    network: Network, requests: float, factor: float
) -> None:
    alike = network._replace(workload=network.workload._replace(shortest=array(1)))
    fewer, more = (
        steady_state(alike, array(each), array(400)) for each in (requests, requests * factor)
    )
    if more.prefill_load < 1:
        assert more.users > fewer.users


def test_equal_lengths_wait_longer_for_prefill(network: Network) -> None:
    def waiting(shortest: float) -> float:
        lengths = network.workload._replace(shortest=array(shortest))
        steady = steady_state(network._replace(workload=lengths), array(20), array(200))
        decode = steady.decode.in_flight * network.fleet.decode_workers
        filling = decode / network.prefill.capacity / steady.decode.decode_seconds
        assert 0.0 < filling < 1.0
        return float(steady.prefill_seconds)

    assert waiting(1.0) > 1.2 * waiting(0.8)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 200))
def test_users_are_rate_times_time(network: Network, requests: float) -> None:
    steady = steady_state(network, array(requests), array(200))
    if steady.prefill_load < 1:
        in_system = steady.request_rate * (steady.decode.decode_seconds + steady.prefill_seconds)
        assert steady.users == pytest.approx(float(in_system))
    else:
        assert np.isinf(steady.users)
    assert steady.prefill_load == pytest.approx(float(steady.request_rate) / 100)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 300), st.integers(1, 5000), counts, counts, st.integers(0, 3))
def test_batch_is_the_largest_that_users_and_slots_allow(
    network: Network, max_batch: int, users: int, prefill: int, decode: int, depth: int
) -> None:
    case = with_depth(with_fleet(network, prefill, decode), depth)
    result = run(case, max_batch, users)
    batch = float(result.steady.decode.requests)
    most = min(max_batch, users / (4 * decode))  # slots of a rank, or all users in decode
    assert 0 < batch <= most
    assert result.steady.users <= users
    assert result.steady.prefill_load <= MOST_LOAD
    if batch < most:  # then prefill limits it: the users that wait for it, or its capacity
        above = batch * (1.0 + 2.0 * WIDTH)
        fuller = steady_state(case, array(above), array(max_batch))
        assert fuller.users > users or fuller.prefill_load > MOST_LOAD
    assert result.ttft_median >= case.prefill.latency
    assert result.ttft_mean >= result.ttft_median


def test_users_beyond_the_slots_wait_for_their_first_token(network: Network) -> None:
    # 2 workers x 4 ranks x 16 slots = 128 users in decode.
    many, more = (run(network, 16, users) for users in (400, 800))
    assert more.tpot_median == many.tpot_median
    assert more.steady.decode.requests == many.steady.decode.requests == 16
    cycle = float(many.ttft_median + many.steady.decode.decode_seconds)
    # Twice the users share the same slots, so a round takes twice as long, all of it TTFT; but for
    # the few slots that the router of fewer users leaves empty.
    assert more.ttft_median - many.ttft_median == pytest.approx(cycle, rel=0.01)


def test_few_users_feel_neither_queue(network: Network) -> None:
    result = run(network, 1000, 2)
    assert result.ttft_median == pytest.approx(0.15, rel=0.02)
    assert result.steady.prefill_load < 0.02


def test_throughput_bound_by_prefill_comes_to_its_largest_load(network: Network) -> None:
    # One prefill worker of 100 requests/s before 200 decode workers.
    starved = with_fleet(network, 1, 200)
    rates = [float(run(starved, 1000, users).steady.request_rate) for users in (100, 1e3, 1e4)]
    # The search for the batch stops within a ten-millionth of that load.
    assert all(after > before * (1.0 - 1e-7) for before, after in pairwise(rates))
    assert rates[-1] == pytest.approx(100 * MOST_LOAD)


def test_benchmark_by_hand(network: Network) -> None:
    # One decode worker, so every slot is in use; no drafts, so mean and median agree.
    single = with_fleet(network, 1, 1)
    result = run(single, 16, 200)
    decode = float(result.steady.decode.decode_seconds)
    rate = float(result.steady.request_rate)
    assert rate == pytest.approx(64 / decode)
    ttft = 200 / rate - decode  # Little: 200 users are 64 in decode, the others wait
    assert result.ttft_median == pytest.approx(ttft, rel=1e-6)
    # In the first of 10 rounds 200 users wait 1 s on average for prefill; not more than in steady
    # state here.
    assert ttft - 0.15 > 200 / 100 / 2
    assert result.ttft_mean == result.ttft_median
    # Half a round is lost to draining: 9.5 of 10 rounds.
    assert result.request_rate == pytest.approx(0.95 * rate, rel=1e-6)
    # 1800 tokens of a request over 2 + 4 GPUs.
    assert result.total_tok_s_per_gpu == pytest.approx(0.95 * rate * 300, rel=1e-6)


def test_first_round_arrives_at_once(network: Network) -> None:
    # All 1000 users fit in decode, and 2000 requests/s of prefill are more than they ask for; but
    # at the start prefill needs 0.5 s for all of them, 0.25 s on average.
    plenty = with_fleet(network, 20, 50)
    result = run(plenty, 1000, 1000)
    assert result.steady.prefill_load < 0.5
    extra = 0.25 - (float(result.ttft_median) - 0.15)
    assert extra > 0.2
    assert result.ttft_mean - result.ttft_median == pytest.approx(extra / 10, rel=1e-5)


def test_tpot_of_drafts_has_a_mean_below_its_median(network: Network) -> None:
    result = run(with_depth(network, 3), 16, 400)
    assert result.tpot_mean == pytest.approx(0.94 * float(result.tpot_median))
    # Little: 400 users pass one after the other, and half of 10 rounds is lost to draining.
    cycle = float(result.ttft_mean + result.tpot_mean * 899)
    assert result.request_rate == pytest.approx(0.95 * 400 / cycle)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 300), st.integers(1, 5000), counts, counts)
def test_a_benchmark_shows_less_than_the_steady_rate(
    network: Network, max_batch: int, users: int, prefill: int, decode: int
) -> None:
    result = run(with_fleet(network, prefill, decode), max_batch, users)
    assert result.request_rate < result.steady.request_rate
    assert result.request_rate > 0


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 300), st.integers(1, 5000), counts, counts, st.integers(1, 12))
def test_more_prefill_workers_never_lower_the_rate(
    network: Network, max_batch: int, users: int, prefill: int, decode: int, more: int
) -> None:
    before = run(with_fleet(network, prefill, decode), max_batch, users)
    after = run(with_fleet(network, prefill + more, decode), max_batch, users)
    assert after.request_rate >= before.request_rate * (1 - 1e-5)
    assert after.ttft_mean <= before.ttft_mean * (1 + 1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 300), st.integers(1, 3000), counts, counts)
def test_more_users_never_lower_the_steady_rate(
    network: Network, max_batch: int, users: int, prefill: int, decode: int
) -> None:
    case = with_fleet(network, prefill, decode)
    fewer, more = run(case, max_batch, users), run(case, max_batch, users * 2)
    assert more.steady.request_rate >= fewer.steady.request_rate * (1 - 1e-5)
    assert more.tpot_median >= fewer.tpot_median * (1 - 1e-5)


def test_one_deployment_among_many_is_itself(network: Network) -> None:
    users = np.array([5.0, 300.0, 4000.0])
    many = serve(network, np.asarray(64.0), users)
    for index, concurrency in enumerate(users.tolist()):
        alone = run(network, 64, concurrency)
        assert alone.ttft_mean == many.ttft_mean[index]
        assert alone.total_tok_s_per_gpu == many.total_tok_s_per_gpu[index]


def of_workers(decode_workers: float, frontends: float) -> Fleet:
    return Fleet(array(1), array(1), array(decode_workers), array(frontends))


@given(st.integers(1, 4096), st.integers(1, 100_000), st.integers(1, 100))
def test_one_worker_uses_all_its_slots(slots: int, users: int, frontends: int) -> None:
    share = share_of_slots(array(slots), of_workers(1, frontends), array(users))
    assert share == pytest.approx(1, abs=1e-8)


@given(st.integers(1, 4096), st.integers(1, 64), st.integers(1, 100_000))
def test_one_frontend_uses_all_slots(slots: int, workers: int, users: int) -> None:
    share = share_of_slots(array(slots), of_workers(workers, 1), array(users))
    assert share == pytest.approx(1, abs=1e-8)


@given(st.integers(1, 4096), st.integers(1, 64), st.integers(1, 100_000), st.integers(1, 50))
def test_more_frontends_leave_more_slots_empty_but_never_all(
    slots: int, workers: int, users: int, frontends: int
) -> None:
    fewer, more = (
        share_of_slots(array(slots), of_workers(workers, number), array(users))
        for number in (frontends, frontends + 1)
    )
    assert 0 < more <= fewer <= 1


def test_slots_lost_to_chance_by_hand() -> None:
    # 200 users over 2 workers of 100 slots: 100 on average. With 13 frontends the variance is
    # 12/6 = 2, that of users at random would be 50. The mean overflow of a normal number over its
    # own mean is its deviation over sqrt(2 pi).
    for frontends, variance in ((13, 2.0), (1000, 50.0)):
        lost = math.sqrt(variance) / math.sqrt(2 * math.pi) / 100
        share = share_of_slots(array(100), of_workers(2, frontends), array(200))
        assert share == pytest.approx(1 - lost, abs=1e-9)


def share_simulated(users: int, workers: int, slots: int, frontends: int, seed: int) -> float:
    """Serve users who ask again at once, each frontend going round the workers for itself."""
    chance = np.random.default_rng(seed)
    turn = chance.integers(0, workers, frontends)
    waiting, busy, asked = [0] * workers, [0] * workers, 0
    events: list[tuple[float, int]] = []
    now = area = 0.0

    def ask() -> None:
        nonlocal asked
        worker, asked = int(turn[asked % frontends]), asked + 1
        turn[(asked - 1) % frontends] = (worker + 1) % workers
        if busy[worker] < slots:
            busy[worker] += 1
            heapq.heappush(events, (now + chance.uniform(0.8, 1.0), worker))
        else:
            waiting[worker] += 1

    for _ in range(users):
        ask()
    for _ in range(1500):
        later, worker = heapq.heappop(events)
        area, now = area + sum(busy) * (later - now), later
        if waiting[worker]:
            waiting[worker] -= 1
            heapq.heappush(events, (now + chance.uniform(0.8, 1.0), worker))
        else:
            busy[worker] -= 1
        ask()
    return area / now / min(users, workers * slots)


@pytest.mark.parametrize(
    ("users", "workers", "slots", "frontends"),
    [(6, 5, 1, 10), (5, 4, 1, 10), (11, 9, 1, 10), (20, 5, 4, 10), (24, 4, 8, 10), (48, 4, 8, 10),
     (36, 4, 8, 10), (6, 5, 1, 1), (20, 5, 4, 1)],
)  # fmt: skip
def test_slots_lost_against_a_simulation(
    users: int, workers: int, slots: int, frontends: int
) -> None:
    seen = np.mean([share_simulated(users, workers, slots, frontends, n) for n in range(20)])
    share = share_of_slots(array(slots), of_workers(workers, frontends), array(users))
    assert share == pytest.approx(seen, abs=0.08)


def test_a_request_meets_a_fuller_batch_than_the_mean() -> None:
    # Four ranks of two workers hold 32 requests each; 4 frontends leave a variance of 3/6, so a
    # request meets 0.5 / 32 more on its worker, a quarter of that on its rank.
    more = 0.5 / 32 / 4
    meets = [
        float(batch_met(array(8), array(slots), array(4), of_workers(2, 4)))
        for slots in (9, 8 + more / 2, 8)
    ]
    assert meets == pytest.approx([8 + more, 8 + more / 2, 8])
    assert batch_met(array(8), array(9), array(4), of_workers(1, 4)) == 8
    assert batch_met(array(8), array(9), array(4), of_workers(2, 1)) == 8


def test_a_request_meets_at_least_itself(network: Network) -> None:
    # Two users on 200 workers of 4 ranks: alone on its worker, a quarter request per rank.
    alone = run(with_fleet(network, 1, 200), 16, 2)
    few = steady_state(with_fleet(network, 1, 1), array(0.25), array(16))
    assert alone.tpot_median == pytest.approx(float(few.decode.tpot), rel=1e-4)
