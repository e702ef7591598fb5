"""``moeplan fleet replan``: a plan and what was lost in, a plan of what is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import moeplan
from presets.demand_file import demand_of
from tests.moeplan.demands import FAST, GB200, TIER

if TYPE_CHECKING:
    from tests.samples import Command


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of two tiers on two racks, as the command prints it."""
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    plan = moeplan.fleet(demand_of({"tiers": [TIER, FAST], "machines": [GB200]}))
    path.write_text(json.dumps(plan.to_json()), encoding="utf-8")
    return path


def test_a_loss_moves_what_stood_on_it(command: Command, plan_file: Path) -> None:
    before = json.loads(plan_file.read_text(encoding="utf-8"))
    run = command("fleet", "replan", str(plan_file), "--lost", "gb200/server 0", "--json")
    change = run.json["replan"]
    assert run.json["question"]["lost"] == ["gb200/server 0"]
    assert change["lost_gpus"] == 4
    assert change["started"] == change["started_at_least"] == change["lost"] == 1
    lost, start = change["moves"]
    assert (lost["action"], start["action"]) == ("lose", "start")
    assert set(lost["gpu_numbers"]) & {0, 1, 2, 3}
    gpus = [
        gpu for each in run.json["placement"] for w in each["workers"] for gpu in w["gpu_numbers"]
    ]
    assert not set(gpus) & {0, 1, 2, 3}
    assert run.json["machines"][0]["gpus"] == before["machines"][0]["gpus"] - 4
    text = command("fleet", "replan", str(plan_file), "--lost", "server 0").out
    assert "Lost: server 0 (numbered from 0): 4 GPUs and 1 worker lost; 1 to start" in text
    assert "start 1 x " in text


def test_a_plan_after_a_loss_is_planned_anew_after_another(
    command: Command, plan_file: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first.json"
    first.write_text(
        command("fleet", "replan", str(plan_file), "--lost", "server 0", "--json").out,
        encoding="utf-8",
    )
    second = command("fleet", "replan", str(first), "--lost", "server 1", "--json").json
    assert second["question"]["lost"] == ["server 0", "server 1"]
    gpus = [
        gpu for each in second["placement"] for w in each["workers"] for gpu in w["gpu_numbers"]
    ]
    assert min(gpus) >= 8


def test_what_cannot_be_served_is_said(command: Command, plan_file: Path) -> None:
    lost = ["--lost", "domain 1", "--lost", "server 0-14"]
    run = command("fleet", "replan", str(plan_file), *lost, "--json")
    assert run.status == 1
    assert run.json["status"] == "infeasible"
    assert "what is left does not serve all tiers; it would serve " in run.err
    for each in run.json["replan"]["unserved"]:
        assert 0.0 <= each["served_share"] < 1.0
        assert each["unserved_requests_per_s"] > 0.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--lost: nothing is named"),
        (["--lost", "domain 2"], "--lost: there is no domain 2; gb200 has 2, numbered from 0"),
        (["--lost", "leaf 2"], "--lost: 'leaf 2' names no part"),
        (["--lost", "b200/domain 0"], "the machines of the plan are gb200"),
        (["--lost", "domain 0", "--spares", "-1"], "--spares: '-1' is not valid"),
        (["--lost", "domain 0", "--seconds", "soon"], "--seconds: 'soon' is not valid"),
    ],
)
def test_bad_losses_are_refused_in_one_sentence(
    command: Command, plan_file: Path, words: list[str], message: str
) -> None:
    run = command("fleet", "replan", str(plan_file), *words)
    assert run.status == 2
    assert message in run.err
    assert run.err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"placement": []}, "key placement: holds no plan"),
        ({"tiers": []}, "tiers and question.tiers are not the same"),
        ({"prefill_pools": []}, "placement: there is no prefill owner 1"),
        ({"question": None}, "is no plan; give what moeplan fleet printed with --json"),
        ({"colour": "red"}, "is no plan"),
    ],
    ids=str,
)
def test_what_is_no_plan_is_refused(
    change: dict[str, object], message: str, command: Command, plan_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    content = json.loads(plan_file.read_text(encoding="utf-8")) | change
    path.write_text(json.dumps(content), encoding="utf-8")
    run = command("fleet", "replan", str(path), "--lost", "domain 0")
    assert run.status == 2
    assert message in run.err
    assert run.err.count("\n") == 1


def test_a_plan_that_is_not_there_is_said_to_be_missing(command: Command) -> None:
    run = command("fleet", "replan", "nowhere.json", "--lost", "domain 0")
    assert run.status == 2
    assert run.err == (
        "Error: nowhere.json: cannot be read: No such file or directory; give the path of a file\n"
    )


def test_a_number_of_a_plan_that_is_not_valid_is_named(
    command: Command, plan_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    content = json.loads(plan_file.read_text(encoding="utf-8"))
    content["question"]["tiers"][0]["rate"] = -1.0
    path.write_text(json.dumps(content), encoding="utf-8")
    run = command("fleet", "replan", str(path), "--lost", "domain 0")
    assert run.status == 2
    assert "rate -1.0 is not valid; give a positive finite number" in run.err
