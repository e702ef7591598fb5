"""Machines that stand side by side more than once: their names, words, files and labels."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

import moeplan
from moeplan.machines import machine_of, machines_of
from optimizer import Space
from presets import InputError
from tests.samples import Command

BUDGET = ("--max-gpus", "16")


@pytest.fixture
def pools(tmp_path: Path) -> str:
    path = tmp_path / "two.yaml"
    path.write_text(
        "pools:\n  rack: {sku: gb200, gpus: 72}\n  servers: {sku: b200, gpus: 64}\n",
        encoding="utf-8",
    )
    return str(path)


@pytest.fixture
def slow(tmp_path: Path) -> str:
    path = tmp_path / "slow.yaml"
    path.write_text("sku: b200\ngpus: 16\nnic_gb_s: 25\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("text", ["b200:vllm:aggregated", "b200:aggregated:vllm"])
def test_words_stand_in_any_order(text: str) -> None:
    found = machine_of(text, moeplan.Options(isl=2048))
    assert (found.sku, found.label) == ("b200", text)
    assert found.options == moeplan.Options(isl=2048, engine="vllm", serving="aggregated")


def test_files_are_named_without_their_folder(slow: str) -> None:
    found = machine_of(f"{slow}:sglang")
    assert (found.label, found.sku, found.skus) == ("slow.yaml:sglang", None, ("b200",))


def test_a_word_may_be_a_pool(pools: str) -> None:
    found = machine_of(f"{pools}:rack:vllm")
    assert (found.options.pool, found.options.engine) == ("rack", "vllm")
    with pytest.raises(InputError, match=r"pool \(rack, servers\)"):
        machine_of(f"{pools}:shed")


BAD_WORDS = {
    "b200:foo": "'foo' is not a known word; valid after a colon, one of each: engine (atom, ",
    "b200:": "'' is not a known word",
    "b200:vllm:sglang": "'sglang' follows 'vllm', and one is enough",
    "b200:rack": "'rack' is not a known word",
    "b20:vllm": "unknown hardware 'b20'",
    "none.yaml": "none.yaml",
}


@pytest.mark.parametrize("text", BAD_WORDS)
def test_a_bad_word_is_refused_in_one_sentence(command: Command, text: str) -> None:
    run = command("compare", "gb200", text, "--targets", "60")
    assert (run.status, run.out, run.err.count("\n")) == (2, "", 1)
    assert BAD_WORDS[text] in run.err


def test_the_same_twice_is_refused() -> None:
    with pytest.raises(InputError, match="two or more different machines, or one with different"):
        machines_of(["b200:vllm", "b200:vllm"], least=2)


def test_files_of_one_name_keep_their_folders(tmp_path: Path) -> None:
    paths = []
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "c.yaml"
        path.write_text("sku: b200\ngpus: 16\n", encoding="utf-8")
        paths.append(str(path))
    assert [each.label for each in machines_of(paths)] == paths


def test_labels_tell_the_same_machine_apart(command: Command, slow: str) -> None:
    names = ("b200", "b200:vllm", slow)
    labels = ("b200", "b200:vllm", "slow.yaml")
    run = command("compare", *names, "--targets", "40", *BUDGET, "--json")
    (row,) = run.json["rows"]
    assert {*labels} <= row.keys()
    engines = [run.json["questions"][label]["engine"] for label in labels]
    assert engines == ["trtllm", "vllm", "trtllm"]
    assert run.json["questions"]["slow.yaml"]["cluster"]["nic_gb_s"] == 25
    costs = [row[label]["modelled"]["usd_per_m_total_tokens"] for label in labels]
    assert costs[0] < costs[1]
    table = command("compare", *names, "--targets", "40", *BUDGET)
    assert "NVIDIA B200 SXM (b200:vllm)" in table.out
    assert "Chance that b200:vllm as modelled meets the target" in table.out
    (line,) = csv.DictReader(
        command("compare", *names, "--targets", "40", *BUDGET, "--csv").out.splitlines()
    )
    assert float(line["b200:vllm_modelled_usd_per_m_total_tokens"]) == costs[1]
    text = command("compare", *names, "--targets", "40", *BUDGET, "--format", "md").out
    assert re.search(r"b200:vllm modelled", text)


def test_each_answers_as_it_does_alone(space: Space) -> None:
    row = moeplan.compare(["b200", "b200:vllm"], [40.0], space=space).rows[0]
    alone = moeplan.best("b200", 40.0, moeplan.Options(engine="vllm"), space=space)
    assert row.answers["b200:vllm"].to_json() | {"search": 0} == alone.to_json() | {"search": 0}


def test_prices_are_of_a_machine_or_of_one_label(command: Command) -> None:
    asked = ("compare", "b200", "b200:vllm", "--targets", "40", *BUDGET, "--json")
    run = command(*asked, "--price", "b200:vllm=9", "--price", "b200=2")
    prices = {label: each["price_usd_per_hour"] for label, each in run.json["questions"].items()}
    assert prices == {"b200": 2.0, "b200:vllm": 9.0}
    other = command(*asked, "--price", "b200:sglang=9")
    assert "is of a machine that is not compared; did you mean 'b200:vllm'?" in other.err


def test_a_report_has_the_labels(command: Command, slow: str, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    asked = ("b200:vllm", slow, "--targets", "40", *BUDGET, "--report", str(page))
    assert command("compare", *asked).status == 0
    text = page.read_text(encoding="utf-8")
    assert '"sku":"b200:vllm"' in text.replace('": ', '":')
    assert "slow.yaml" in text
