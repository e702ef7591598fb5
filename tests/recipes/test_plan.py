"""``moeplan recipe --plan``: a folder for each deployment of a plan, or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import moeplan
from costmodel.calibration_file import load_calibration
from costmodel.predictions import predict
from costmodel.results import Scenario
from moeplan.recipes.checks import failures
from moeplan.recipes.directory import read_recipe
from moeplan.recipes.writing import check_files
from presets import default_cluster, load_model
from presets.demand_file import demand_of

if TYPE_CHECKING:
    from tests.samples import Command

SCENARIO = Scenario(model=load_model("deepseek-r1-0528"))
CHAT: dict[str, Any] = {
    "name": "Chat & more",
    "model": "deepseek-r1-0528",
    "isl": "1k",
    "osl": "1k",
    "target": "60 tok/s/user",
    "rate": "40 requests/s",
}
FAST = CHAT | {"name": "agents", "target": "110 tok/s/user", "rate": "9 requests/s"}
OTHER = FAST | {"name": "agents-2", "model": "glm-4.7", "engine": "sglang", "precision": "fp8"}
ONE_POOL = FAST | {"name": "one", "serving": "aggregated"}


def written(folder: Path, *tiers: dict[str, Any]) -> Path:
    """Plan some tiers and keep the plan."""
    path = folder / "plan.json"
    machines = [{"sku": "gb200", "gpus": 144}]
    plan = moeplan.fleet(demand_of({"tiers": list(tiers), "machines": machines}))
    path.write_text(json.dumps(plan.to_json()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiers that share a pool."""
    return written(tmp_path_factory.mktemp("plan"), CHAT, FAST)


def test_every_deployment_is_a_recipe_that_serves_its_share(
    command: Command, plan: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "estate"
    said = command("recipe", "--plan", str(plan), "--output", str(folder), "--json").json
    assert {each["tier"] for each in said["recipes"]} == {"Chat & more", "agents"}
    assert json.loads((folder / "plan.json").read_text()) == json.loads(plan.read_text())
    asked = {"Chat & more": (60.0, 40.0), "agents": (110.0, 9.0)}
    for tier, (target, rate) in asked.items():
        parts = [each for each in said["recipes"] if each["tier"] == tier]
        assert sum(each["requests_per_s"] for each in parts) == pytest.approx(rate)
        for each in parts:
            recipe, files = read_recipe(folder / each["folder"])
            assert not failures(check_files(recipe, files))
            assert recipe.settings.name == f"moeplan-{each['folder']}"
            (alone,) = predict(
                [recipe.config], SCENARIO, default_cluster("gb200", 144), load_calibration()
            )
            tokens = 1843.2  # lengths are uniform from 0.8 of nominal
            served = alone.prediction.total_tok_s_per_gpu * recipe.config.gpus / tokens
            assert alone.prediction.tok_s_per_user >= target * (1 - 1e-5)
            assert served >= each["requests_per_s"] * (1 - 1e-3)
    pool = json.loads(plan.read_text())["prefill_pools"][0]
    workers = sum(each["recipe"]["config"]["prefill_workers"] for each in said["recipes"])
    more = workers - pool["workers"]
    assert more >= 0
    assert len(said["beyond_the_plan"]) == (more > 0)
    if more:
        assert f"get {more} prefill worker" in said["beyond_the_plan"][0]
    assert command("recipe", "check", str(folder / said["recipes"][0]["folder"])).status == 0


def test_tiers_that_no_recipe_expresses_are_named(command: Command, tmp_path: Path) -> None:
    plan = written(tmp_path, CHAT, OTHER, ONE_POOL)
    folder = tmp_path / "estate"
    said = command("recipe", "--plan", str(plan), "--output", str(folder), "--json").json
    formats = {each["tier"]: each["recipe"]["format"] for each in said["recipes"]}
    assert formats == {"Chat & more": "dynamo", "agents-2": "sglang"}
    assert [each["tier"] for each in said["left_out"]] == ["one"]
    assert "'aggregated' is not valid for --format dynamo" in said["left_out"][0]["reason"]
    assert "Not written: one" in (folder / "README.md").read_text()
    slurm = tmp_path / "slurm"
    said = command(
        *("recipe", "--plan", str(plan), "--format", "slurm", "--output", str(slurm), "--json")
    ).json
    assert [each["tier"] for each in said["recipes"]] == ["Chat & more"] * len(said["recipes"])
    assert {each["tier"] for each in said["left_out"]} == {"agents-2", "one"}
    nothing = command(
        *("recipe", "--plan", str(plan), "--format", "vllm", "--output", str(tmp_path / "none"))
    )
    assert nothing.status == 2
    assert "--plan: no tier can be written: tier 'Chat & more': --format vllm is of vllm" in (
        nothing.err
    )
    assert not (tmp_path / "none").exists()


def test_a_plan_replaces_a_plan_and_keeps_what_lies_beside(
    command: Command, plan: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "estate"
    run = command("recipe", "--plan", str(plan), "--output", str(folder))
    assert run.status == 0
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    again = command("recipe", "--plan", str(plan), "--output", str(folder))
    assert again.status == 2
    assert "holds files" in again.err
    other = written(tmp_path, FAST | {"name": "alone"})
    run = command("recipe", "--plan", str(other), "--output", str(folder), "--force")
    assert run.status == 0
    names = sorted(each.name for each in folder.iterdir())
    assert {"README.md", "notes.txt", "plan.json"} < set(names)
    assert all(
        name.startswith("alone")
        for name in names
        if name not in ("README.md", "notes.txt", "plan.json")
    )
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "60"], "--target, --config and --plan: give one of them"),
        (["--safe"], "--safe goes with --target; leave it or --plan out"),
        (["--isl", "2048"], "--isl: the plan says that; leave it or --plan out"),
        (["--sku", "b200"], "--sku: the plan says that"),
        (["--format", "bash"], "--format"),
    ],
)
def test_what_the_plan_says_is_not_said_again(
    command: Command, plan: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    folder = tmp_path / "estate"
    run = command("recipe", "--plan", str(plan), "--output", str(folder), *words)
    assert run.status == 2
    assert message in run.err
    assert not folder.exists()
