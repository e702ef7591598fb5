from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.calibration import CalibrationFile
from costmodel.calibration_file import shipped_calibration
from costmodel.deployments import case_of
from costmodel.observations import configuration_key
from costmodel.results import Configuration, Scenario
from costmodel.validation import validate
from optimizer import Limits, Problem, Space, best
from optimizer.robustness.draws import draw
from optimizer.robustness.holdings import holdings
from optimizer.robustness.next_rows import gain_of, next_rows, row_of
from optimizer.robustness.trials import Trials, steps_of, try_draws
from optimizer.space import shape_of
from optimizer.worth import worth_of
from presets import InputError, default_cluster, load_model, serving_rows

pytestmark = pytest.mark.many_cases

SCENARIO = Scenario(model=load_model("deepseek-r1-0528"))
SPACE = Space(
    prefill_workers=(1, 2, 3),
    prefill_gpus=(4,),
    decode_workers=(1, 2, 3, 4),
    decode_gpus=(8, 16, 32),
    mtp_depths=(1, 2),
    largest_batch=256,
    batch_ratio=1.05,
)
LIMITS = Limits(90.0)
B200 = default_cluster("b200", 72)
PROBLEM = Problem(SCENARIO, B200, LIMITS, shipped_calibration().calibration, SPACE)


def scaled(factor: float) -> CalibrationFile:
    """Take the shipped calibration, so much more or less certain."""
    file = shipped_calibration()
    constants = {
        name: one
        if one.standard_error is None
        else one.model_copy(update={"standard_error": factor * one.standard_error})
        for name, one in file.constants.items()
    }
    return file._replace(constants=constants)


@cache
def winner() -> Configuration:
    found = best(PROBLEM)
    assert found.configuration is not None
    return found.configuration


@cache
def trials(factor: float = 1.0, draws: int = 40) -> Trials:
    return try_draws(winner(), PROBLEM, scaled(factor), draws=draws)


def test_without_uncertainty_the_winner_always_stays_best() -> None:
    found = holdings(trials(0.0, 4))
    for held in (found.as_configured, found.retuned, found.structure):
        assert (held.stays_best, held.within_1_percent, held.meets_limits) == (1.0, 1.0, 1.0)
        # Fleets that retuning finds equal, to what counts as equal.
        assert held.expected_regret == pytest.approx(0.0, abs=1e-6)
    assert found.challengers == ()
    assert found.on_average is None
    rows = next_rows(trials(0.0, 4), PROBLEM, scaled(0.0), ())
    assert [(row.expected_gain, row.changes_choice) for row in rows] == [(0.0, 0.0)] * 3


def test_readings_of_the_winner_widen() -> None:
    found = holdings(trials())
    assert (found.draws, found.seed) == (40, 0)
    assert found.feasible_draws == 40
    readings = (found.as_configured, found.retuned, found.structure)
    for held in readings:
        assert 0.0 <= held.stays_best <= held.within_1_percent <= held.meets_limits <= 1.0
        assert held.expected_regret is not None
        assert 0.0 <= held.expected_regret < 1.0
    for narrow, wide in pairwise(readings):
        assert narrow.stays_best <= wide.stays_best
        assert narrow.meets_limits <= wide.meets_limits
    assert found.as_configured.stays_best < 1.0  # another batch would often suit better


def test_a_little_uncertainty_moves_throughput_less_than_much() -> None:
    spread = [trials(factor).configured.std() for factor in (0.1, 1.0)]
    assert 0.0 < spread[0] < 0.2 * spread[1]


def test_nothing_better_is_missed_in_the_shortlist() -> None:
    file, found = scaled(1.0), trials()
    drawn = draw(PROBLEM, file, 40, 0)
    for place in (15, 39):  # no draw that the shortlist was made with
        whole = best(drawn.problem_of(place))
        assert whole.prediction is not None
        assert found.best[place] >= whole.prediction.total_tok_s_per_gpu * (1 - 1e-3)


def test_the_same_seed_gives_the_same_answer_and_progress_is_told() -> None:
    seen: list[int] = []
    again = try_draws(
        winner(),
        PROBLEM,
        scaled(1.0),
        draws=40,
        progress=lambda: seen.append(1),
    )
    assert holdings(again) == holdings(trials())
    assert len(seen) == steps_of(40)


def made(retuned: list[list[float]], configured: list[float], meets: list[bool]) -> Trials:
    """Make trials of the winner's fleet and others, of other structures."""
    others = tuple(
        winner().model_copy(update={"mtp_depth": 0, "prefill_workers": place + 1})
        for place in range(len(retuned[0]) - 1)
    )
    fleets = (winner(), *others)
    return Trials(
        winner(),
        fleets,
        fleets,
        worth_of(fleets, PROBLEM),
        np.array(retuned),
        np.array(configured),
        np.array(meets),
        np.array(meets),
    )


def test_shares_and_regrets_redone_by_hand() -> None:
    found = holdings(
        made(
            [[100.0, 80.0], [100.0, 125.0], [0.0, 50.0], [0.0, 0.0]],
            [100.0, 99.0, 60.0, 60.0],
            [True, True, False, False],
        )
    )
    assert found.feasible_draws == 3
    assert (found.as_configured.stays_best, found.as_configured.meets_limits) == (0.25, 0.5)
    assert found.as_configured.expected_regret == pytest.approx((0.0 + 26.0 / 125.0) / 2)
    assert (found.retuned.stays_best, found.retuned.meets_limits) == (0.25, 0.5)
    assert found.retuned.expected_regret == pytest.approx(0.1)
    assert [each.best for each in found.challengers] == [0.5]
    assert found.on_average is not None
    assert found.on_average.gain == pytest.approx(255.0 / 200.0 - 1.0)


def test_a_winner_that_never_meets_the_limits_has_no_regret() -> None:
    found = holdings(made([[0.0, 2.0]], [5.0], [False]))
    assert (
        found.retuned.stays_best,
        found.retuned.meets_limits,
        found.retuned.expected_regret,
    ) == (0.0, 0.0, None)
    assert found.challengers[0].best == 1.0


def test_rows_are_untested_distinct_and_can_be_read() -> None:
    file = scaled(1.0)
    rows = next_rows(trials(), PROBLEM, file, serving_rows())
    assert len({shape_of(row.config).structure for row in rows}) == len(rows) == 3
    assert [row.expected_gain for row in rows] == sorted(
        (row.expected_gain for row in rows), reverse=True
    )
    tested = {configuration_key(row) for row in serving_rows()}
    for row in rows:
        written = row_of(row.config, PROBLEM)
        assert configuration_key(written) not in tested
        assert case_of(written).configuration == row.config
        assert 0.0 <= row.changes_choice <= 1.0
    assert validate([row_of(rows[0].config, PROBLEM)], file.calibration).rows


def test_structures_are_told_apart_by_ep_but_not_by_workers() -> None:
    one = winner()
    own = shape_of(one).structure
    other = one.decode_gpus_per_worker if one.decode_ep == 1 else 1
    assert shape_of(one.model_copy(update={"decode_ep": other})).structure != own
    others = {"prefill_workers": 9, "decode_workers": 7, "prefill_gpus_per_worker": 8}
    assert shape_of(one.model_copy(update=others | {"max_batch": 3})).structure == own


def test_what_was_measured_is_not_proposed_again() -> None:
    file = scaled(1.0)
    first = next_rows(trials(), PROBLEM, file, ())[0]
    tested = [row_of(first.config, PROBLEM)]
    again = next_rows(trials(), PROBLEM, file, tested)
    assert first.config not in [row.config for row in again]
    everything = [row_of(each, PROBLEM) for each in trials().answers]
    assert next_rows(trials(), PROBLEM, file, everything) == ()


@given(st.integers(0, 500), st.floats(0.0, 3.0))
@settings(max_examples=30, deadline=None)
def test_what_says_nothing_gains_little_and_what_says_all_gains_most(
    seed: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    values = 100.0 + spread * rng.normal(size=(300, 2))
    perfect = values.max(axis=1).mean() / values.mean(axis=0).max() - 1.0
    nothing, _ = gain_of(rng.normal(size=(300, 2)), values)
    everything, changes = gain_of(values, values)
    assert nothing <= 0.3 * perfect + 1e-9
    assert everything == pytest.approx(perfect, abs=0.1 * perfect + 1e-9)
    assert changes <= 1.0


def test_a_worker_that_does_not_fit_is_refused() -> None:
    wide = winner().model_copy(update={"decode_gpus_per_worker": 128, "decode_ep": 128})
    with pytest.raises(InputError):
        try_draws(wide, PROBLEM, scaled(1.0), draws=1)
