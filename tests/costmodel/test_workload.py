from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.calibration import Calibration
from costmodel.inputs import WorkerArrays
from costmodel.workload import Workload, acceptance_length, mean_over_median

KEPT = (0.0, 0.75, 1.25, 1.5)  # drafts of a step, by depth, at 1k/1k


@pytest.fixture(scope="session")
def accepted(dp_workers: WorkerArrays, plain: Calibration) -> Callable[..., float]:
    def length(depth: int, isl: float, osl: float, *, given: bool = False) -> float:
        workers = dp_workers._replace(
            mtp_depth=np.asarray(float(depth)),
            drafts_kept=np.asarray(KEPT[depth]),
            kept_as_given=np.asarray(given),
        )
        load = Workload(np.asarray(isl), np.asarray(osl))
        return float(acceptance_length(workers, load, plain))

    return length


def test_mean_lengths_are_nine_tenths(workload: Workload) -> None:
    assert workload.input_tokens == workload.output_tokens == 900


def test_context_of_requests_in_flight_is_what_many_requests_show() -> None:
    # Requests of every length from 0.8 to 1.0 of 2000 tokens, equally many. Each is in flight for
    # as many steps as it has tokens, with 0, 1, 2, ... of them in the cache.
    lengths = np.arange(1600, 2001)
    steps = lengths.sum()
    cached = (lengths * (lengths - 1) / 2).sum()
    context = Workload(np.asarray(1000.0), np.asarray(2000.0)).context
    assert context == pytest.approx(900 + cached / steps, abs=1.0)
    assert context > 900 + 900  # above half of the mean output: long requests stay longer


def test_acceptance_at_the_reference_lengths_is_as_known(accepted: Callable[..., float]) -> None:
    lengths = [accepted(depth, 1024, 1024) for depth in range(4)]
    assert lengths == pytest.approx([1, 1.75, 2.25, 2.5])


def test_acceptance_of_ones_own_holds_at_any_length(accepted: Callable[..., float]) -> None:
    assert accepted(3, 64 * 1024, 8, given=True) == 2.5


def test_acceptance_grows_with_a_power_of_the_lengths(accepted: Callable[..., float]) -> None:
    # 1.5 drafts at depth 3, input x16 to the power 0.1 and output x4 to the power 0.2: both 2^0.4.
    assert accepted(3, 16 * 1024, 1024) == pytest.approx(1 + 1.5 * 2**0.4)
    assert accepted(3, 1024, 4 * 1024) == pytest.approx(1 + 1.5 * 2**0.4)


@given(st.integers(0, 3), st.integers(1, 1_000_000), st.integers(2, 1_000_000))
def test_a_step_keeps_one_token_to_all_drafts(
    accepted: Callable[..., float], depth: int, isl: int, osl: int
) -> None:
    assert 1 <= accepted(depth, isl, osl) <= 1 + depth


@given(st.integers(1, 100_000), st.integers(2, 100_000))
def test_deeper_drafts_never_keep_fewer(accepted: Callable[..., float], isl: int, osl: int) -> None:
    kept = [accepted(depth, isl, osl) for depth in range(4)]
    assert kept == sorted(kept)


def test_mean_tpot_lies_below_the_median_by_a_share_per_draft(plain: Calibration) -> None:
    assert mean_over_median(np.array([0, 1, 3]), plain) == pytest.approx([1, 0.98, 0.94])
