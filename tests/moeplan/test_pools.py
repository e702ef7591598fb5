"""Questions on a cluster of several pools: which pool is meant, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.samples import USUAL

if TYPE_CHECKING:
    from tests.samples import Command

POOLS = """\
pools:
  servers: {sku: b200, gpus: 32, price_usd_per_hour: 1.80}
  rack: {sku: gb200, domains: [36], price_usd_per_hour: 2.10}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> str:
    path = tmp_path / "pools.yaml"
    path.write_text(POOLS, encoding="utf-8")
    return str(path)


@pytest.fixture
def asked(cluster: str, tmp_path: Path) -> tuple[str, ...]:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(USUAL), encoding="utf-8")
    return ("predict", "--config", str(config), "--json", "--cluster", cluster)


def test_names_and_machines_say_which_pools_are_meant(
    command: Command, asked: tuple[str, ...]
) -> None:
    by_name = command(*asked, "--pool", "rack", "--prefill-pool", "servers").json
    by_machine = command(*asked, "--sku", "gb200", "--prefill-sku", "b200").json
    assert by_name["prediction"] == by_machine["prediction"]
    assert {domain["sku"] for domain in by_name["placement"]} == {"b200", "gb200"}
    question = by_name["question"]
    assert (question["pool"], question["prefill_pool"]) == ("rack", "servers")
    assert question["price_usd_per_hour"] == 2.1
    assert question["prefill_price_usd_per_hour"] == 1.8
    alone = command(*asked, "--pool", "rack").json
    assert {domain["sku"] for domain in alone["placement"]} == {"gb200"}
    same = command(*asked, "--pool", "rack", "--prefill-pool", "rack").json
    assert same["prediction"] == alone["prediction"]


def test_a_saved_answer_keeps_its_pools_and_takes_another(
    command: Command, asked: tuple[str, ...], tmp_path: Path
) -> None:
    first = command(*asked, "--pool", "rack", "--prefill-pool", "servers")
    saved = tmp_path / "answer.json"
    saved.write_text(first.out, encoding="utf-8")
    again = command("predict", "--config", str(saved), "--json")
    assert (again.err, again.json) == ("", first.json)
    other = command("predict", "--config", str(saved), "--pool", "servers", "--json")
    assert other.json["sku"] == "b200"
    assert other.json["question"]["price_usd_per_hour"] == 1.8
    assert other.json["question"]["prefill_pool"] is None
    assert "pool servers was given and wins over rack of the file" in other.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "pool: the cluster has the pools 'servers' (32 x b200) and 'rack' (36 x gb200)"),
        (("--pool", "rak"), "did you mean 'rack'"),
        (("--pool", ""), "the cluster has no pool ''"),
        (("--pool", "rack", "--sku", "b200"), "'b200' is not the machine of the pool 'rack'"),
        (
            ("--pool", "rack", "--prefill-pool", "row"),
            "prefill_pool: the cluster has no pool 'row'",
        ),
        (
            ("--pool", "rack", "--prefill-pool", "servers", "--prefill-sku", "gb200"),
            "prefill_pool: 'gb200' is not the machine of the pool 'servers'",
        ),
        (("--sku", "h100"), "'h100' is not the machine of the pools"),
        (("--pool", "rack", "--prefill-sku", "h10"), "unknown prefill_sku 'h10'"),
    ],
)
def test_what_is_not_clear_is_refused(
    command: Command, asked: tuple[str, ...], words: tuple[str, ...], said: str
) -> None:
    run = command(*asked, *words)
    assert run.status == 2
    assert said in run.err
    assert run.err.count("\n") == 1


def test_pools_of_one_machine_are_told_by_name_and_not_mixed(
    command: Command, asked: tuple[str, ...], cluster: str
) -> None:
    text = POOLS.replace("sku: gb200, domains: [36]", "sku: b200, gpus: 16")
    Path(cluster).write_text(text, encoding="utf-8")
    assert "name one by --pool NAME" in command(*asked, "--sku", "b200").err
    assert command(*asked, "--pool", "rack").json["sku"] == "b200"
    mixed = command(*asked, "--pool", "rack", "--prefill-pool", "servers")
    assert "has the machine of the pool of decode, b200" in mixed.err


def test_pools_are_of_clusters_that_have_some(command: Command, cluster: str) -> None:
    Path(cluster).write_text("sku: b200\ngpus: 32\n", encoding="utf-8")
    for option in ("--pool", "--prefill-pool"):
        run = command("best", "--cluster", cluster, "--target", "60", option, "rack")
        assert "the cluster has no pools, and so none 'rack'" in run.err


def test_machines_are_compared_on_the_pools_that_have_them(command: Command, cluster: str) -> None:
    run = command("compare", "gb200", "b200", "--targets", "60", "--cluster", cluster, "--json")
    assert run.status == 0, run.err
    assert all(run.json["rows"][0][sku]["modelled"] for sku in ("gb200", "b200"))
    none = command("compare", "h100", "h200", "--targets", "60", "--cluster", cluster)
    assert "is of a machine that is not compared" in none.err


def test_topology_takes_a_pool(command: Command, cluster: str, tmp_path: Path) -> None:
    assert command("topology", "check", cluster).out.count(" is valid: ") == 2
    shown = command("topology", "show", "--cluster", cluster, "--pool", "rack", "--json")
    assert shown.json["sku"] == "gb200"
    assert "name one by --pool" in command("topology", "show", "--cluster", cluster).err
    picture = str(tmp_path / "out.svg")
    drawn = command("topology", "draw", cluster, "--output", picture, "--pool", "servers")
    assert drawn.status == 0
    assert "name one by --pool" in command("topology", "draw", cluster, "--output", picture).err
