"""``best --explain`` and ``--robust``: JSON, tables, rows to measure, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import moeplan
from costmodel.calibration_file import shipped_calibration, write_calibration
from moeplan.answers.explanation import Robustness
from moeplan.explainers import (
    explain,
    explain_steps,
    next_row_lines,
    robust_steps,
    robustness,
)
from moeplan.options import Options
from moeplan.render import explain as render_explain
from moeplan.render import robust as render_robust
from optimizer.robustness.holdings import AssumedHolding, Challenger, Holding, OnAverage, TakenAs
from optimizer.robustness.next_rows import NextMeasurement, SettledFact
from presets import ClusterSpec, InputError, load_hardware, read_measured_rows
from tests.samples import changed, nics_assumed

if TYPE_CHECKING:
    from optimizer import Space
    from tests.moeplan.conftest import BestOf
    from tests.samples import Command

QUICK = ["best", "--sku", "b200", "--target", "125", "--max-gpus", "16"]


def printed(parts: list[Any]) -> str:
    text = io.StringIO()
    console = Console(file=text, width=100)
    for part in parts:
        console.print(part)
    return text.getvalue()


def made_up() -> Robustness:
    """Make a robustness in which nothing is ever best or left to measure."""
    held = Holding(
        stays_best=0.0,
        within_1_percent=0.0,
        meets_limits=0.0,
        expected_regret=None,
        regret_95=None,
        expected_regret_in_unit=None,
    )
    config = changed(decode_attention="tp", max_batch=2, mtp_depth=0, concurrency=2)
    return Robustness(
        draws=9,
        feasible_draws=7,
        seed=0,
        shortlist=3,
        objective="cost",
        unit="USD per million tokens",
        reaches_target=None,
        as_configured=held,
        retuned=held,
        structure=held,
        challengers=(Challenger(config=config, best=0.5),),
        on_average=OnAverage(config=config, gain=0.0123),
        measure_next=(),
    )


def test_explain_adds_a_key(command: Command) -> None:
    run = command(*QUICK, "--explain", "--max-ttft", "2", "--json")
    assert run.status == 0
    found = run.json["explain"]
    assert "robust" not in run.json
    assert list(found) == ["links", "shadow_prices", "assumed"]
    assert list(found["links"]["decode"]) == ["nvlink", "nic", "hbm"]
    assert list(found["links"]["prefill"]) == ["nvlink", "nic"]
    for load in (*found["links"]["decode"].values(), *found["links"]["prefill"].values()):
        assert load["utilisation"] == pytest.approx(load["in_use_gb_s"] / load["rate_gb_s"])
    prices = {price["limit"]: price for price in found["shadow_prices"]}
    assert list(prices) == [*list(prices)[:5], "max_gpus", "target", "max_ttft"]
    assert (prices["max_gpus"]["before"], prices["max_gpus"]["after"]) == (16, 20)
    assert prices["max_ttft"]["after"] == 2.2
    again = command("best", "--sku", "b200", "--target", "120", "--max-gpus", "16", "--json",
                    "--max-ttft", "2")  # fmt: skip
    assert prices["target"]["config"] == again.json["config"]
    assert prices["target"]["prediction"] == again.json["prediction"]
    assert "Shadow prices" in run.err


@pytest.mark.many_cases
def test_tables(command: Command) -> None:
    run = command(*QUICK, "--explain", "--robust")
    assert run.status == 0
    for part in (
        "Bandwidth by link",
        "Shadow prices",
        "16 to 20 GPU",
        "Robustness: 200 draws",
        "What to measure next",
        "Expected gain",
    ):
        assert part in run.out
    assert max(map(len, run.out.splitlines())) <= 100


def test_rows_to_measure_come_back(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "next.csv"
    run = command(*QUICK, "--robust", "--next-rows", str(path), "--json")
    assert run.status == 0
    found = run.json["robust"]
    assert "explain" not in run.json
    assert (found["draws"], found["seed"]) == (200, 0)
    assert {"as_configured", "retuned", "structure", "challengers", "measure_next"} <= set(found)
    proposed = [one["config"] for one in found["measure_next"]]
    assert len(proposed) == 3
    with path.open() as file:
        lines = list(csv.DictReader(file))
    for line, config in zip(lines, proposed, strict=True):
        said = {name: "" if value is None else str(value) for name, value in config.items()}
        assert {name: line[name] for name in config} == said
        assert (line["sku"], line["framework"], line["tpot_ms"]) == ("b200", "trtllm", "")

    empty = command("validate", str(path))
    assert (empty.status, empty.out) == (2, "")
    assert "none of 3 holds a measurement; fill one or more of the columns tpot_ms" in empty.err
    assert empty.err.count("\n") == 1

    lines[0]["tpot_ms"] = "8.0"
    with path.open("w") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    filled = command("validate", str(path), "--json")
    assert filled.status == 0
    assert (filled.json["rows"], filled.json["tpot"]["known"]) == (3, 1)


def test_robustness_of_the_library(best_of: BestOf, tmp_path: Path) -> None:
    answer = best_of("gb200", 75.0)
    seen: list[int] = []
    found = robustness(answer, draws=12, seed=3, progress=lambda: seen.append(1))
    assert len(seen) == robust_steps(12)
    assert (found.draws, found.seed) == (12, 3)
    assert not found.independent
    assert found == robustness(answer, draws=12, seed=3)
    lines = next_row_lines(found, answer)
    path = tmp_path / "rows.csv"
    with path.open("w") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    assert len(read_measured_rows(path).rows) == len(found.measure_next)


def test_a_calibration_without_correlations_says_so(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    write_calibration(shipped_calibration()._replace(correlations=()), path)
    answer = moeplan.best("gb200", 75.0, Options(calibration=path), space=space)
    found = robustness(answer, draws=4)
    assert found.independent
    assert "holds no correlations" in printed(render_robust.report(found))
    assert "independent" not in found.to_json()


def test_explain_of_the_library(best_of: BestOf) -> None:
    answer = best_of("gb200", 75.0)
    found = explain(answer)
    assert len(found.shadow_prices) == explain_steps(answer) == 7
    json.dumps(found.to_json(), allow_nan=False)
    text = printed(render_explain.report(found, answer))
    assert "tok/s/user" in text
    assert answer.config is not None
    more_users = found.shadow_prices[0].model_copy(
        update={
            "config_changes": True,
            "config": answer.config.model_copy(update={"concurrency": 77}),
        }
    )
    assert render_explain.new_answer(more_users, answer) == "the same with 77 users"


QUESTIONS = {
    "throughput": Options(objective="throughput", prefill_sku="b200"),
    "output-cost": Options(objective="output-cost"),
    "power": Options(objective="power", concurrency=300),
    "gpus": Options(objective="gpus", rate=20.0),
    "cost": Options(billing="domain", prefill_sku="b200", min_confidence=0.9),
}


@pytest.mark.many_cases
@pytest.mark.parametrize("objective", QUESTIONS)
def test_robustness_follows_the_question(objective: str, space: Space) -> None:
    options = QUESTIONS[objective]
    answer = moeplan.best("gb200", 75.0, options, space=space)
    found = robustness(answer, draws=20)
    assert found == robustness(answer, draws=20)
    said = found.to_json()
    assert (said["objective"], said["unit"]) == (objective, answer.objective.unit)
    assert answer.objective.amount is not None
    for reading in ("as_configured", "retuned", "structure"):
        held = said[reading]
        assert held["meets_limits"] > 0.0
        assert 0.0 <= held["expected_regret"] <= held["regret_95"] + 0.5 < 1.0
        # A share of the best is at most that share of what is paid, or of what is given.
        assert 0.0 <= held["expected_regret_in_unit"] <= 0.5 * answer.objective.amount
    text = " ".join(printed(render_robust.report(found)).split())
    confident = "ask for the target with probability 0.9, as the search does" in text
    assert confident == (options.min_confidence is not None)
    assert f"Regret is {render_robust.MADE_MOST[objective]} given away" in text
    # It is refused where prefill stands on another machine.
    assert found.measure_next
    assert ("--next-rows" in text) == (options.prefill_sku is None)
    assert max(map(len, printed(render_robust.report(found)).splitlines())) <= 100
    assert "…" not in text


def test_what_is_lost_in_the_unit_of_the_objective(space: Space) -> None:
    """Half of the tokens are output, so a dollar buys half as many of them."""
    cost, output = (
        robustness(moeplan.best("gb200", 110.0, options, space=space), draws=20).as_configured
        for options in (Options(), Options(objective="output-cost"))
    )
    assert cost.expected_regret_in_unit is not None
    assert cost.expected_regret_in_unit > 0.0
    assert output.expected_regret_in_unit == pytest.approx(2.0 * cost.expected_regret_in_unit)
    assert output.expected_regret == pytest.approx(cost.expected_regret)


def test_shadow_prices_follow_the_goal(space: Space) -> None:
    options = Options(billing="domain", prefill_sku="b200", concurrency=200)
    answer = moeplan.best("gb200", 75.0, options, space=space)
    found = explain(answer)
    slower = next(price for price in found.shadow_prices if price.limit == "target")
    again = moeplan.best("gb200", 70.0, options, space=space)
    assert slower.config == again.config
    assert slower.prediction == again.prediction
    assert set(found.links.prefill) == {"nvlink", "nic"}


def test_nothing_to_explain() -> None:
    answer = moeplan.best("b200", 1000.0)
    for ask in (explain, robustness):
        with pytest.raises(InputError, match="has no configuration to explain"):
            ask(answer)


def test_draws_without_an_answer_and_nothing_left_to_measure() -> None:
    found = made_up()
    text = printed(render_robust.report(found))
    assert "In 2 draws nothing meets the limits." in text
    assert "has been measured" in text
    assert "gives most, 1.23 % more than the winner's fleet" in " ".join(text.split())
    assert found.challengers[0].config.label in text


@given(st.floats(-5.0, 5.0))
def test_a_change_is_signed(change: float) -> None:
    text = render_explain.signed(change)
    assert text.endswith(" %")
    assert text == "0.0 %" or text[0] in "+-"
    assert float(text[:-2]) == pytest.approx(100.0 * change, abs=0.051)


@pytest.mark.parametrize("option", ["--explain", "--robust"])
def test_an_infeasible_target_stays_infeasible(
    command: Command, option: str, tmp_path: Path
) -> None:
    path = tmp_path / "next.csv"
    more = ["--next-rows", str(path)] if option == "--robust" else []
    run = command("best", "--sku", "b200", "--target", "1000", option, *more, "--json")
    assert run.status == 1
    assert not {"explain", "robust"} & set(run.json)
    assert not path.exists()


def test_next_rows_are_refused_before_any_work(command: Command, tmp_path: Path) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("sku: b200\ngpus: 64\nnic_gb_s: 100\n")
    cases = {
        "--next-rows goes with --robust": ["--next-rows", "x.csv"],
        "there is no folder": ["--robust", "--next-rows", str(tmp_path / "no" / "x.csv")],
        "it is a folder": ["--robust", "--next-rows", str(tmp_path)],
        "give the path of a file": ["--robust", "--next-rows", " "],
        "which a row of measurements cannot say": [
            "--robust", "--next-rows", str(tmp_path / "x.csv"), "--cluster", str(cluster),
        ],
        "cannot say that prefill runs on 'gb200'": [
            "--robust", "--next-rows", str(tmp_path / "x.csv"), "--prefill-sku", "gb200",
        ],
    }  # fmt: skip
    for part, arguments in cases.items():
        run = command("best", "--sku", "b200", "--target", "60", *arguments)
        assert (run.status, run.out, run.err.count("\n")) == (2, "", 1)
        assert part in run.err
    assert list(tmp_path.iterdir()) == [cluster]


def test_rows_of_a_cluster_that_no_row_can_name(space: Space) -> None:
    cluster = ClusterSpec(sku="gb200", gpus=72, hbm_gb=400.0)
    answer = moeplan.best(None, 75.0, Options(cluster=cluster), space=space)
    with pytest.raises(InputError, match="cannot say"):
        next_row_lines(made_up(), answer)


def test_assumed_facts_are_said() -> None:
    found = made_up()
    taken = (TakenAs(value=5e-6, draws=2, stays_best=1.0),)
    fact = AssumedHolding(sku="b200", fact="scale_out_latency", unit="s", taken_as=taken)
    run = NextMeasurement(
        config=found.challengers[0].config,
        expected_gain=0.1,
        changes_choice=0.5,
        settles=(SettledFact(sku="b200", fact="scale_out_latency"),),
    )
    more = found.model_copy(update={"assumed": (fact,), "measure_next": (run,)})
    text = " ".join(printed(render_robust.report(more)).split())
    assert "scale-out latency of b200 5 us 2 100.0 %" in text
    settled = f"a run of {run.config.label} would settle it"
    assert f"The choice hangs on the scale-out latency of b200, which is assumed; {settled}" in text
    assert "Assumed facts" not in printed(render_robust.report(found))


def test_explain_takes_assumed_facts_otherwise(
    best_of: BestOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = best_of("b200", 125.0)
    assert explain(answer).assumed == ()
    marked = nics_assumed(load_hardware("b200"))
    monkeypatch.setattr("presets.cluster.load_hardware", lambda name: marked)
    found = explain(answer)
    assert [(each.limit, each.after, each.unit) for each in found.assumed] == [
        ("scale_out_rate", 25.0, "GB/s"),
        ("scale_out_rate", 100.0, "GB/s"),
    ]
    assert explain_steps(answer) == len(found.shadow_prices) + 2
    assert found.assumed[0].throughput_change <= 0.0 <= found.assumed[1].throughput_change
    text = " ".join(printed(render_explain.report(found, answer)).split())
    assert "scale-out rate 50 to 25 GB/s" in text
