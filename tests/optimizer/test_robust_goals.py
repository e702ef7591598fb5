"""Robustness under every objective, billing and limit, and with prefill on another machine."""

import json
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from costmodel.calibration import CalibrationFile
from costmodel.calibration_file import shipped_calibration
from costmodel.draws import draw_constants, single
from costmodel.results import Configuration, Scenario
from optimizer import Answer, Limits, Objective, Problem, Space, best
from optimizer.robustness.holdings import Holding, holdings
from optimizer.robustness.next_rows import next_rows, row_of
from optimizer.robustness.retune import fleet_of
from optimizer.robustness.trials import Trials, try_draws
from optimizer.worth import worth_of
from presets import ClusterSpec, InputError, default_cluster, load_model

pytestmark = pytest.mark.many_cases

SCENARIO = Scenario(model=load_model("deepseek-r1-0528"))
SPACE = Space(
    prefill_workers=(1, 2, 3),
    prefill_gpus=(4,),
    decode_workers=(1, 2, 3),
    decode_gpus=(8, 32),
    mtp_depths=(1, 2),
    largest_batch=256,
    batch_ratio=1.01,
)
GB200, B200 = default_cluster("gb200", 72), default_cluster("b200", 72)
COST, LIMITS = Objective(), Limits(90.0)
DRAWS = 12


@dataclass(frozen=True)
class Asked:
    """A question of the search."""

    goal: Objective = COST
    limits: Limits = LIMITS
    prefill: ClusterSpec | None = None

    @property
    def problem(self) -> Problem:
        fitted = shipped_calibration().calibration
        return Problem(SCENARIO, GB200, self.limits, fitted, SPACE, self.goal, self.prefill)


QUESTIONS = {
    "cost": Asked(),
    "throughput": Asked(Objective("throughput")),
    "output-cost": Asked(Objective("output-cost")),
    "power": Asked(Objective("power")),
    "prefill": Asked(prefill=B200),
    "prefill output-cost": Asked(Objective("output-cost"), prefill=B200),
    "prefill power": Asked(Objective("power"), prefill=B200),
    "domain": Asked(Objective(billing="domain")),
    "domain throughput": Asked(Objective("throughput", "domain"), prefill=B200),
    "users": Asked(limits=Limits(90.0, concurrency=600)),
    "confidence": Asked(limits=Limits(90.0, min_confidence=0.95)),
    "gpus": Asked(Objective("gpus", rate=40.0)),
    "all": Asked(Objective(billing="domain"), Limits(75.0, 72, 3.0, 800, 0.8), B200),
}
NAMES = sorted(QUESTIONS)
RANKING = sorted({*NAMES} - {"throughput", "output-cost", "power", "prefill output-cost"})
"""Those that rank fleets each in their own way; the others rank as cost does."""


@cache
def answer(name: str) -> Answer:
    asked, file = QUESTIONS[name], shipped_calibration()
    return search(asked, file)


def search(asked: Asked, file: CalibrationFile, draw: int | None = None) -> Answer:
    """Search the whole space under the values of the fit, or under a draw."""
    fitted = file.calibration
    if draw is not None:
        fitted = single(file, draw_constants(file, DRAWS, 0), draw)
    return best(asked.problem.under(fitted))


def certain() -> CalibrationFile:
    """Take the shipped calibration without any doubt."""
    file = shipped_calibration()
    constants = {
        name: one if one.standard_error is None else one.model_copy(update={"standard_error": 0.0})
        for name, one in file.constants.items()
    }
    return file._replace(constants=constants)


def tried(name: str, file: CalibrationFile, draws: int) -> Trials:
    return try_draws(winner(name), QUESTIONS[name].problem, file, draws=draws)


@cache
def trials(name: str) -> Trials:
    return tried(name, shipped_calibration(), DRAWS)


def winner(name: str) -> Configuration:
    found = answer(name).configuration
    assert found is not None
    return found


def readings(name: str) -> tuple[Holding, Holding, Holding]:
    found = holdings(trials(name))
    return found.as_configured, found.retuned, found.structure


@pytest.mark.parametrize("name", NAMES)
def test_without_uncertainty_the_winner_always_stays_best(name: str) -> None:
    trial = tried(name, certain(), 1)
    given = answer(name).value
    assert given is not None
    assert trial.worth.amount(trial.configured)[0] == pytest.approx(given.amount, rel=1e-6)
    found = holdings(trial)
    for held in (found.as_configured, found.retuned, found.structure):
        assert (held.within_1_percent, held.meets_limits) == (1.0, 1.0)
        assert held.expected_regret is not None
        # A retuned batch is any whole number; large ones of the search rise in steps of 1 %.
        assert held.expected_regret <= 2e-3
    assert (found.retuned.stays_best, found.retuned.expected_regret) == (1.0, 0.0)
    assert found.retuned.expected_regret_in_unit == 0.0
    assert (found.structure.stays_best, found.structure.expected_regret) == (1.0, 0.0)
    assert found.on_average is None


@pytest.mark.parametrize("name", RANKING)
def test_figures_are_sensible_and_can_be_written(name: str) -> None:
    found = holdings(trials(name))
    json.dumps(found.to_json(), allow_nan=False)
    assert found.feasible_draws == DRAWS
    for held in (found.as_configured, found.retuned, found.structure):
        assert 0.0 <= held.stays_best <= held.within_1_percent <= held.meets_limits <= 1.0
        if held.meets_limits:
            assert held.expected_regret is not None
            assert held.expected_regret_in_unit is not None
            assert 0.0 <= held.expected_regret < 0.5
            assert (held.expected_regret_in_unit > 0.0) == (held.expected_regret > 0.0)
            chosen = answer(name).winner
            assert chosen is not None
            assert held.expected_regret_in_unit < chosen.amount
    assert found.as_configured.stays_best <= found.retuned.stays_best <= found.structure.stays_best
    assert np.isfinite(trials(name).retuned).all()


@pytest.mark.parametrize("name", ["domain", "all", "gpus"])
def test_the_same_seed_gives_the_same_answer(name: str) -> None:
    assert holdings(tried(name, shipped_calibration(), DRAWS)) == holdings(trials(name))


@pytest.mark.parametrize("name", RANKING)
def test_nothing_better_is_missed_in_the_shortlist(name: str) -> None:
    asked = QUESTIONS[name]
    for draw in (8, 11):  # no draw that the shortlist was made with
        whole = search(asked, shipped_calibration(), draw)
        assert whole.configuration is not None
        assert whole.prediction is not None
        assert whole.value is not None
        worth = worth_of([whole.configuration], asked.problem)
        found = worth.of(np.array([whole.prediction.total_tok_s_per_gpu]))
        # The search charges by the same measure.
        assert worth.amount(found)[0] == pytest.approx(whole.value.amount, rel=1e-6)
        assert trials(name).best[draw] >= found[0] * (1 - 2e-3)


@pytest.mark.parametrize("name", ["domain", "prefill", "gpus", "users"])
def test_the_shortlist_has_what_the_question_itself_finds(name: str) -> None:
    found = search(QUESTIONS[name], shipped_calibration(), 0)
    named = [found.configuration, *(other.configuration for other in found.runners_up)]
    for each in named:
        assert each is not None
        assert fleet_of(each) in trials(name).fleets


@pytest.mark.parametrize("name", NAMES)
def test_worth_comes_to_what_the_answer_says(name: str) -> None:
    asked, found = QUESTIONS[name], answer(name)
    assert found.prediction is not None
    assert found.value is not None
    own = worth_of([winner(name)], asked.problem)
    worth = own.of(np.array([found.prediction.total_tok_s_per_gpu]))
    assert own.amount(worth)[0] == pytest.approx(found.value.amount, rel=1e-6)


def test_objectives_that_rank_alike_hold_alike() -> None:
    """On one machine every GPU costs and draws the same; output is a fixed share of all tokens."""
    for other in ("throughput", "power"):
        for one, two in zip(readings("cost"), readings(other), strict=True):
            shares = [(e.stays_best, e.within_1_percent, e.meets_limits) for e in (one, two)]
            assert shares[0] == shares[1]
            assert one.expected_regret == pytest.approx(two.expected_regret, rel=1e-9)
    for one, two in zip(readings("prefill"), readings("prefill output-cost"), strict=True):
        assert one.expected_regret == pytest.approx(two.expected_regret, rel=1e-9)
        assert one.expected_regret_in_unit is not None
        # Half of the tokens are output.
        assert two.expected_regret_in_unit == pytest.approx(2.0 * one.expected_regret_in_unit)


def test_other_machines_for_prefill_change_what_a_fleet_is_worth() -> None:
    power, cost = trials("prefill power").worth, trials("prefill").worth
    hardware = [cluster.hardware() for cluster in (B200, GB200)]
    one = winner("prefill")
    for worth, fact in ((power, "power_watts"), (cost, "price_usd_per_hour")):
        own = worth_of([one], worth.problem)
        there, here = (getattr(each, fact).value for each in hardware)
        counted = one.decode_gpus + one.prefill_gpus * there / here
        assert own.counted[0] == pytest.approx(counted)


def test_whole_domains_are_worth_what_their_replicas_share() -> None:
    """44 GPUs strand 28 of 72; 36 fill them twice."""
    fleets = [
        winner("cost").model_copy(
            update={
                "decode_workers": 1,
                "decode_gpus_per_worker": 32,
                "prefill_workers": prefill,
                "prefill_gpus_per_worker": 4,
            }
        )
        for prefill in (1, 3)
    ]
    worth = worth_of(fleets, QUESTIONS["domain"].problem)
    assert worth.counted.tolist() == [36.0, 72.0]
    assert worth.of(np.array([100.0, 100.0])).tolist() == pytest.approx([100.0, 4400.0 / 72.0])
    with pytest.raises(InputError, match="find no room in whole domains"):
        worth_of(fleets, QUESTIONS["domain"].problem.within(Limits(90.0, 40)))


def test_replicas_that_were_bought_stay_and_others_follow_the_draw() -> None:
    """40 requests/s of 1843.2 tokens: 73,728 tokens/s, 5 replicas of 8 GPUs at 2,000 each."""
    fleet = winner("gpus").model_copy(
        update={
            "decode_workers": 1,
            "decode_gpus_per_worker": 4,
            "prefill_workers": 1,
            "prefill_gpus_per_worker": 4,
        }
    )
    worth = worth_of([fleet], QUESTIONS["gpus"].problem)
    throughput = np.array([2000.0, 1500.0, 1000.0, 0.0])[:, np.newaxis]
    assert worth.replicas(throughput).ravel().tolist() == [5, 7, 10, 1]
    follows = worth.of(throughput)
    assert follows.ravel().tolist() == pytest.approx([73728.0 / 40.0, 73728.0 / 56.0, 0.0, 0.0])
    stays = worth.of(throughput, np.array([5]))
    assert stays.ravel().tolist() == pytest.approx([73728.0 / 40.0, 0.0, 0.0, 0.0])
    assert worth.amount(follows[:2]).ravel().tolist() == pytest.approx([40.0, 56.0])


def test_a_given_number_of_users_stays() -> None:
    for name in ("users", "all"):
        users = QUESTIONS[name].limits.concurrency
        assert {each.concurrency for each in trials(name).answers} == {users}


def test_confidence_is_asked_of_every_draw() -> None:
    """A promise below the median leaves less to choose from, and less of it."""
    assert (trials("confidence").best < trials("cost").best).all()
    held = holdings(trials("confidence"))
    # Its margin is what the draws may take: the target itself is met where the promise is not.
    assert held.as_configured.meets_limits < (held.reaches_target or 0.0)
    plain = trials("cost")
    assert (trials("confidence").reaches >= plain.reaches).all()
    assert plain.reaches.tolist() == plain.meets.tolist()


@pytest.mark.parametrize("name", ["prefill", "domain", "users", "gpus"])
def test_rows_to_measure_follow_the_question(name: str) -> None:
    asked, file = QUESTIONS[name], shipped_calibration()
    rows = next_rows(trials(name), asked.problem, file, ())
    assert 1 <= len(rows) <= 3
    assert all(0.0 <= row.expected_gain < 0.5 and 0.0 <= row.changes_choice <= 1.0 for row in rows)
    everything = [row_of(each, asked.problem) for each in trials(name).answers]
    again = next_rows(trials(name), asked.problem, file, everything)
    # No row ran its prefill on another machine.
    assert again == (rows if asked.prefill else ())
