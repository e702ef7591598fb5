"""``moeplan fleet``: a demand file in, a plan out, and every fault in one sentence."""

from __future__ import annotations

import csv
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import moeplan
from presets import InputError
from presets.demand_file import demand_of, read_demand
from tests.moeplan.demands import FAST, GB200, TIER

if TYPE_CHECKING:
    from tests.samples import Command


@pytest.fixture
def demand(tmp_path: Path) -> Path:
    """Two tiers on two racks; JSON is YAML."""
    path = tmp_path / "demand.yaml"
    path.write_text(json.dumps({"tiers": [TIER, FAST], "machines": [GB200]}), encoding="utf-8")
    return path


def test_json_can_be_read_alone(command: Command, demand: Path) -> None:
    plan = command("fleet", str(demand), "--objective", "gpus", "--json").json
    assert plan["status"] == "optimal"
    assert plan["objective"]["name"] == "gpus"
    assert plan["objective"]["gap"] == 0.0
    assert plan["objective"]["amount"] == plan["objective"]["bound"]
    assert plan["search"]["proven"].startswith("Proven: no plan of these rules")
    assert [tier["name"] for tier in plan["tiers"]] == ["chat", "agents"]
    # Lengths are uniform from 0.8 of nominal: 1843.2 tokens of a request on average.
    assert plan["tiers"][1]["requests_per_s"] == pytest.approx(16000 / 1843.2, rel=1e-3)
    decode = sum(
        group["config"]["decode_workers"] * group["config"]["decode_gpus_per_worker"]
        for tier in plan["tiers"]
        for group in tier["decode"]
    )
    prefill = sum(pool["workers"] * pool["gpus_per_worker"] for pool in plan["prefill_pools"])
    assert decode + prefill == plan["objective"]["amount"] == plan["machines"][0]["gpus_in_use"]
    placed = [
        gpu for each in plan["placement"] for w in each["workers"] for gpu in w["gpu_numbers"]
    ]
    assert len(placed) == len(set(placed)) == decode + prefill
    price = plan["machines"][0]["usd_per_gpu_hour"]
    assert plan["machines"][0]["usd_per_hour"] == pytest.approx(price * (decode + prefill))
    assert moeplan.FleetPlan.model_validate(plan).to_json() == plan


def test_csv_has_a_row_for_each_shape(command: Command, demand: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(command("fleet", str(demand), "--csv").out)))
    assert {row["tier"] for row in rows} == {"chat", "agents"}
    assert sum(float(row["requests_per_s"]) for row in rows if row["tier"] == "chat") == (
        pytest.approx(40.0)
    )
    assert all(row["objective_unit"] == "USD/h" for row in rows)


def test_text_fits_80_columns(
    command: Command, demand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = command("fleet", str(demand))
    assert max(map(len, run.out.splitlines())) <= 80
    assert "OPTIMAL; bound" in run.out
    assert "Proven: no plan of these rules" in run.out


def test_a_dearer_machine_is_left_alone(demand: Path) -> None:
    one = moeplan.fleet(demand, machines=["gb200=144"])
    content = {
        "tiers": [TIER, FAST],
        "machines": [GB200 | {"price": "100 USD/h"}, {"sku": "b200", "price": "1 USD/h"}],
    }
    other = moeplan.fleet(demand_of(content))
    assert {tier.sku for tier in one.tiers} == {"gb200"}
    assert {tier.sku for tier in other.tiers} == {"b200"}


def test_without_room_the_answer_says_so_and_fails(command: Command, demand: Path) -> None:
    run = command("fleet", str(demand), "--sku", "gb200=8", "--json")
    assert run.status == 1
    assert run.json["status"] == "infeasible"
    assert run.json["objective"]["amount"] is None
    assert "no plan serves all tiers within the 8 GPUs of the machines; gpus would" in run.err


def test_limits_of_options_come_before_those_of_the_demand(
    command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "demand.yaml"
    content = {"tiers": [TIER], "machines": [GB200], "budget": "1 USD/h", "max_power": "100 kW"}
    path.write_text(json.dumps(content), encoding="utf-8")
    run = command("fleet", str(path))
    assert run.status == 1
    assert "within budget 1.00 USD/h; budget would have to be" in run.err
    more = ["--budget", "500", "--max-power", "0.2MW", "--max-racks", "1", "--json"]
    plan = command("fleet", str(path), *more).json
    assert (plan["budget_usd_per_hour"], plan["max_power_w"]) == (500.0, 200_000.0)
    assert plan["question"]["max_racks"] == 1
    assert {each["domain"] for each in plan["placement"]} == {1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sku", "gb20"], "unknown machine 'gb20'; did you mean 'gb200'?"),
        (["--sku", "gb200=many"], "--sku: 'many' is not valid"),
        (["--sku", "gb200", "--sku", "gb200"], "a machine is named twice"),
        (
            ["--objective", "throughput"],
            "unknown --objective 'throughput'; valid: cost, gpus, power",
        ),
        (["--seconds", "-1"], "--seconds"),
        (["--json", "--csv"], "--json and --csv: both are given"),
        (["--sku", "gb200", "--cluster", "cluster.yaml"], "cluster.yaml"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(
    command: Command, demand: Path, words: list[str], message: str
) -> None:
    run = command("fleet", str(demand), *words)
    assert run.status == 2
    assert run.out == ""
    assert message in run.err
    assert run.err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "key tiers[1].colour: is not a known key; valid: cached_share"),
        ({"isl": 0}, "key tiers[1].isl: 0 is not valid"),
        ({"isl": "1k seconds"}, "key tiers[1].isl: '1k seconds' is not valid"),
        ({"serving": "both"}, "key tiers[1].serving: 'both' is not valid"),
        ({"rate": 300}, "key tiers[1].rate: 300 has no unit"),
        ({"rate": "300"}, "key tiers[1].rate: '300' has no unit"),
        ({"rate": "-3 requests/s"}, "key tiers[1].rate: '-3 requests/s' is not valid"),
        ({"rate": "3 parsecs"}, "key tiers[1].rate: '3 parsecs' is not valid"),
        ({"rate": "1e400 requests/s"}, "key tiers[1].rate"),
        ({"target": "-25 tok/s/user"}, "key tiers[1].target: -25.0 is not valid"),
        ({"max_ttft": "2"}, "key tiers[1].max_ttft: '2' has no unit; write 2 s"),
        ({"name": None}, "key tiers[1].name: None is not valid; it must be text"),
        ({"cached_share": 1.5}, "key tiers[1].cached_share: 1.5 is not valid"),
        ({"engine": "abacus"}, "tier 'chat': unknown engine"),
        ({"model": "no-such-model"}, "tier 'chat': unknown model 'no-such-model'"),
    ],
    ids=str,
)
def test_bad_tiers_are_refused_in_one_sentence(
    change: dict[str, object], message: str, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "demand.yaml"
    path.write_text(json.dumps({"tiers": [TIER | change], "machines": [GB200]}), encoding="utf-8")
    run = command("fleet", str(path))
    assert run.status == 2
    assert message in run.err
    assert run.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must hold keys and values"),
        ("tiers: []", "key tiers: has 0 entries; give 1 to 50"),
        ("tiers: 7", "key tiers: 7 is not valid"),
        ("spares: 1", "key tiers: is missing"),
        ("tiers: [&a [], *a]", "has an alias"),
        ("tiers: [7]", "key tiers[1]: 7 is not valid; it must be keys and values"),
        ("a: {", "is not YAML"),
    ],
)
def test_bad_files_are_refused(text: str, message: str, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "demand.yaml"
    path.write_text(text, encoding="utf-8")
    run = command("fleet", str(path), "--sku", "gb200")
    assert run.status == 2
    assert message in run.err


def test_a_missing_file_and_no_machine_are_refused(command: Command, tmp_path: Path) -> None:
    assert "cannot be read" in command("fleet", str(tmp_path / "absent.yaml")).err
    path = tmp_path / "demand.yaml"
    path.write_text(json.dumps({"tiers": [TIER]}), encoding="utf-8")
    assert "machines: none is named" in command("fleet", str(path)).err


def test_several_faults_are_said_at_once(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "demand.yaml"
    content = {
        "tiers": [TIER | {"isl": "1 mile", "colour": 1}, TIER | {"rate": "-1 requests/s"}],
        "machines": [{"sku": "gb200", "gpus": "72.5"}],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    lines = command("fleet", str(path)).err.splitlines()
    assert lines[0] == f"Error: {path}: 4 faults"
    assert len(lines) == 5


def test_lengths_are_numbers_of_tokens_with_or_without_their_unit() -> None:
    lengths = [
        demand_of({"tiers": [TIER | {"isl": isl}]}).tiers[0].isl
        for isl in (1024, "1024", "1,024", "1k", "1k tokens", "1024 tokens")
    ]
    assert lengths == [1024] * 6


def test_help_says_what_is_made_least(command: Command) -> None:
    said = " ".join(command("fleet", "--help").out.replace("│", " ").split())
    assert "What is made least of the GPUs that serve: cost (USD per hour), gpus or power." in said


def test_a_tier_may_have_one_pool_and_says_what_two_would_take(
    command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "demand.yaml"
    tiers = [
        TIER | {"name": name, "rate": "6 requests/s", "serving": serving}
        for name, serving in (("any", "either"), ("one", "aggregated"), ("two", "disaggregated"))
    ]
    path.write_text(json.dumps({"tiers": tiers, "machines": [{"sku": "b200"}]}), encoding="utf-8")
    plan = command("fleet", str(path), "--json").json
    either, one, two = plan["tiers"]
    assert (one["serving"], one["pool"], one["other_serving"]) == ("aggregated", None, None)
    assert (two["serving"], two["pool"]) == ("disaggregated", 1)
    assert plan["prefill_pools"][0]["number"] == 1
    assert {either["serving"], either["other_serving"]["serving"]} == {
        "aggregated",
        "disaggregated",
    }
    assert either["other_serving"]["amount_at_least"] >= plan["objective"]["amount"]
    roles = {(w["role"], w["replica"]) for each in plan["placement"] for w in each["workers"]}
    assert {("both", 2), ("decode", 3), ("prefill", 1)} <= roles
    text = command("fleet", str(path)).out
    assert "PD: workers that prefill what they decode." in text
    # Both modes take the same here: which is chosen is as may be, and the other is named.
    words = {"aggregated": "in one pool", "disaggregated": "with a prefill pool"}
    assert f"any {words[either['other_serving']['serving']]}: " in text


def test_names_stand_once() -> None:
    with pytest.raises(InputError, match="'chat' stands 2 times"):
        demand_of({"tiers": [TIER, TIER]})
    with pytest.raises(InputError, match="'gb200' stands 2 times"):
        demand_of({"tiers": [TIER], "machines": [GB200, GB200]})


def test_a_file_of_aliases_or_beyond_a_megabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "demand.yaml"
    path.write_text("a: &a [x]\n" + "b: [*a, *a]\n" * 90_000, encoding="utf-8")
    with pytest.raises(InputError, match=r"alias|bytes"):
        read_demand(path)


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
nested = st.recursive(
    values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
)


@settings(max_examples=200, deadline=None)
@given(
    key=st.sampled_from([*TIER, "max_ttft", "cached_share", "precision", "machines", "spares"]),
    value=nested,
)
def test_no_content_of_a_file_is_a_fault_of_the_program(key: str, value: object) -> None:
    content: dict[str, object] = {"tiers": [TIER], "machines": [GB200]}
    if key in ("machines", "spares"):
        content[key] = value
    else:
        content["tiers"] = [TIER | {key: value}]
    with suppress(InputError):  # any other exception is a fault
        demand_of(content)
