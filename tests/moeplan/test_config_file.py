"""A saved answer is asked again: what comes from the file, what is typed, and what contradicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import moeplan
from moeplan.config_file import read_stored
from moeplan.explainers import explain
from tests.samples import USUAL, changed

if TYPE_CHECKING:
    from tests.samples import Command

ASKED = moeplan.Options(
    model="gpt-oss-120b",
    isl=8192,
    osl=512,
    engine="vllm",
    price=3.0,
    prefill_sku="b200",
    prefill_price=1.5,
    max_gpus=100,
    max_ttft=2.5,
    min_confidence=0.9,
)


def saved(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def predicted() -> moeplan.PredictedDeployment:
    return moeplan.predict("gb200", changed(mtp_depth=0), ASKED)


@pytest.fixture
def file(predicted: moeplan.PredictedDeployment, tmp_path: Path) -> Path:
    return saved(tmp_path / "answer.json", predicted.to_json())


def test_all_that_was_asked_comes_from_the_file(
    command: Command, predicted: moeplan.PredictedDeployment, file: Path
) -> None:
    run = command("predict", "--config", str(file), "--json")
    assert (run.status, run.err) == (0, "")
    assert run.json == json.loads(json.dumps(predicted.to_json()))
    question = run.json["question"]
    assert question["max_ttft_s"] == 2.5
    assert question["prefill_price_usd_per_hour"] == 1.5


def test_an_option_that_contradicts_is_named_and_wins(command: Command, file: Path) -> None:
    typed = ("--isl", "1024", "--model", "gpt-oss-120b", "--price", "4")
    run = command("predict", "--config", str(file), *typed, "--json")
    assert run.status == 0
    assert sorted(run.err.splitlines()) == [
        "Note: isl 1024 was given and wins over 8192 of the file.",
        "Note: price 4.0 was given and wins over 3.0 of the file.",
    ]
    assert run.json["scenario"]["isl"] == 1024
    assert run.json["scenario"]["osl"] == 512
    assert run.json["question"]["price_usd_per_hour"] == 4.0


def test_another_machine_drops_the_price_of_the_file(command: Command, file: Path) -> None:
    run = command("predict", "--config", str(file), "--sku", "b300", "--json")
    assert run.status == 0
    assert run.err == "Note: sku b300 was given and wins over gb200 of the file.\n"
    question = run.json["question"]
    assert question["sku"] == "b300"
    hardware = moeplan.ClusterSpec(sku="b300", gpus=8).hardware()
    assert question["price_usd_per_hour"] == hardware.price_usd_per_hour.value
    assert question["prefill_price_usd_per_hour"] == 1.5
    assert question["isl"] == 8192
    # On the machine of prefill there is no other, and its price is none of decode's.
    question = command("predict", "--config", str(file), "--sku", "b200", "--json").json["question"]
    assert question["prefill_sku"] is question["prefill_price_usd_per_hour"] is None


def test_another_machine_of_prefill_drops_its_price(command: Command, file: Path) -> None:
    run = command("predict", "--config", str(file), "--prefill-sku", "b300", "--json")
    assert run.err == "Note: prefill_sku b300 was given and wins over b200 of the file.\n"
    hardware = moeplan.ClusterSpec(sku="b300", gpus=8).hardware()
    price = run.json["question"]["prefill_price_usd_per_hour"]
    assert price == hardware.price_usd_per_hour.value
    assert run.json["question"]["price_usd_per_hour"] == 3.0


def test_a_set_of_prices_comes_from_the_file_and_goes_with_another_machine(
    command: Command, tmp_path: Path
) -> None:
    april = moeplan.predict("gb200", changed(), moeplan.Options(prices="2026-04"))
    file = saved(tmp_path / "april.json", april.to_json())
    asked = ("predict", "--config", str(file))
    assert "at $2.21 per GPU-hour (prices of 2026-04)" in command(*asked).out
    question = command(*asked, "--sku", "gb300", "--json").json["question"]
    assert (question["prices"], question["price_usd_per_hour"]) == ("2026-04", 2.652)
    run = command(*asked, "--prices", "2026-07", "--json")
    assert run.err == "Note: prices 2026-07 was given and wins over 2026-04 of the file.\n"
    assert run.json["question"]["price_usd_per_hour"] == 1.86
    again = moeplan.PredictedDeployment.model_validate(april.to_json())
    assert again.question.to_json() == april.question.to_json()


def test_a_set_of_prices_wins_over_prices_of_the_file(command: Command, file: Path) -> None:
    assert json.loads(file.read_text())["question"]["prices"] is None
    run = command("predict", "--config", str(file), "--prices", "2026-04", "--json")
    assert run.err.splitlines() == [
        "Note: prices 2026-04 was given and wins over price 3.0 of the file.",
        "Note: prices 2026-04 was given and wins over prefill_price 1.5 of the file.",
    ]
    question = run.json["question"]
    assert question["price_usd_per_hour"] == 2.21
    assert question["prefill_price_usd_per_hour"] == 1.95


def test_another_cluster_is_named_and_wins(command: Command, tmp_path: Path) -> None:
    options = moeplan.Options(cluster=moeplan.ClusterSpec(sku="gb200", gpus=36), price=3.0)
    file = saved(tmp_path / "a.json", moeplan.predict(None, changed(), options).to_json())
    again = command("predict", "--config", str(file), "--json").json["question"]
    assert (again["cluster"]["gpus"], again["price_usd_per_hour"]) == (36, 3.0)
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("sku: b200\ngpus: 24\nprice_usd_per_hour: 5\n")
    run = command("predict", "--config", str(file), "--cluster", str(cluster), "--json")
    assert run.err == (
        "Note: sku b200 was given and wins over gb200 of the file.\n"
        "Note: cluster 24 x b200 was given and wins over 36 x gb200 of the file.\n"
    )
    assert run.json["question"]["price_usd_per_hour"] == 5.0
    run = command(
        *("predict", "--config", str(file), "--cluster", str(cluster)), *("--sku", "gb200")
    )
    assert run.status == 2
    assert "'gb200' is not the machine of the cluster" in run.err


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sku": "b200"}, "sku: 'b200' contradicts 'gb200' under question; make them alike"),
        ({"scenario": {"isl": 9}}, "scenario.isl: 9 contradicts 8192 under question"),
        (
            {"scenario": {"engine": "sglang"}},
            "scenario.engine: 'sglang' contradicts 'vllm' under question",
        ),
    ],
)
def test_a_contradiction_inside_the_file_is_refused(
    command: Command,
    predicted: moeplan.PredictedDeployment,
    tmp_path: Path,
    changes: dict[str, Any],
    problem: str,
) -> None:
    content = predicted.to_json()
    for key, value in changes.items():
        content[key] = content[key] | value if isinstance(value, dict) else value
    file = saved(tmp_path / "answer.json", content)
    for asked in (("predict",), ("recipe", "--format", "vllm", "--output", str(tmp_path / "out"))):
        run = command(*asked, "--config", str(file))
        assert (run.status, run.out, run.err.count("\n")) == (2, "", 1)
        assert f"answer.json, key {problem}" in run.err


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        ({"isl": "1024"}, "isl: '1024' is not valid; give a number, not text"),
        ({"max_ttft_s": -1}, "max_ttft: -1 is not valid"),
        ({"sku": 3}, "sku: 3 is not valid"),
        ({"model": 3}, "model: 3 is not valid; give text"),
        ({"cluster": {"sku": "b200"}}, "gpus"),
        ({"within_data": "no"}, "within_data: 'no' is not valid; give true or false"),
    ],
)
def test_a_question_that_is_none_is_refused(
    command: Command, tmp_path: Path, question: dict[str, Any], problem: str
) -> None:
    file = saved(tmp_path / "a.json", {"config": USUAL, "question": {"sku": "b200"} | question})
    run = command("predict", "--config", str(file))
    assert (run.status, run.out, run.err.count("\n")) == (2, "", 1)
    assert str(file) in run.err
    assert problem in run.err


def test_an_answer_without_a_question_says_what_it_can(tmp_path: Path) -> None:
    content = {"config": USUAL, "sku": "b200", "scenario": {"model": "kimi-k2", "isl": 2048}}
    stored = read_stored(saved(tmp_path / "old.json", content))
    assert stored.sku == "b200"
    assert stored.options == {"model": "kimi-k2", "isl": 2048}
    bare = read_stored(saved(tmp_path / "config.json", USUAL))
    assert (bare.sku, bare.options) == (None, {})


def test_a_recipe_of_prefill_elsewhere_is_refused(
    command: Command, file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    run = command("recipe", "--config", str(file), "--format", "vllm", "--output", str(folder))
    assert (run.status, run.out) == (2, "")
    assert "prefill_sku 'b200' is not valid for a recipe" in run.err
    assert not folder.exists()


def test_the_engine_of_a_recipe_is_that_of_its_format(command: Command, tmp_path: Path) -> None:
    content = moeplan.predict("gb200", changed()).to_json()
    file = saved(tmp_path / "answer.json", content)
    run = command(
        *("recipe", "--config", str(file), "--format", "sglang"),
        *("--output", str(tmp_path / "out")),
    )
    assert run.status == 0
    assert run.err == "Note: engine sglang was given and wins over trtllm of the file.\n"


def test_an_answer_that_is_read_back_is_explained_alike() -> None:
    options = moeplan.Options(max_gpus=16, max_ttft=3.0)
    answer = moeplan.best("b200", 125.0, options)
    again = moeplan.Best.model_validate(json.loads(json.dumps(answer.to_json())))
    assert again.to_json() == answer.to_json()
    assert again.problem is None
    assert explain(again) == explain(answer)


@pytest.mark.parametrize("question", [3, [], {"sku": 3}, {"sku": "b200", "isl": "x"}])
def test_an_answer_of_no_question_is_refused(
    predicted: moeplan.PredictedDeployment, question: Any
) -> None:
    content = predicted.to_json() | {"question": question}
    with pytest.raises(ValueError, match=r"not valid|unknown hardware 3"):
        moeplan.PredictedDeployment.model_validate(content)
