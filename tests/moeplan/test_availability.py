"""``moeplan fleet availability``: deterministic, monotone, and every fault in one sentence."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import moeplan
from presets.demand_file import demand_of
from presets.failures import PART_KINDS, load_failures

if TYPE_CHECKING:
    from tests.samples import Command

TIER = {
    "name": "chat",
    "model": "deepseek-r1-0528",
    "isl": "1k",
    "osl": "1k",
    "target": "60 tok/s/user",
    "rate": "12 requests/s",
}
ONE_POOL = TIER | {"name": "one", "serving": "aggregated", "rate": "4 requests/s"}


def plan_of(folder: Path, *, spares: int = 0) -> Path:
    path = folder / f"plan{spares}.json"
    machines = [{"sku": "b200", "gpus": 64}]
    demand = demand_of({"tiers": [TIER, ONE_POOL], "machines": machines, "spares": spares})
    path.write_text(json.dumps(moeplan.fleet(demand).to_json()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiers on B200, one of which prefills its own."""
    return plan_of(tmp_path_factory.mktemp("plan"))


def test_answer_is_deterministic_and_has_all_it_rests_on(command: Command, plan: Path) -> None:
    words = ["fleet", "availability", str(plan), "--years", "10", "--json"]
    first, second = command(*words).json, command(*words, "--seed", "0").json
    assert first == second
    assert command(*words, "--seed", "1").json["tiers"] != first["tiers"]
    assert set(first["parts"]) == set(PART_KINDS)
    assert first["parts"]["gpu"]["rate_kind"] == "measured"
    assert (first["years"], first["seed"]) == (10, 0)
    assert moeplan.Availability.model_validate(first).to_json() == first
    rows = list(csv.DictReader(io.StringIO(command(*words[:-1], "--csv").out)))
    assert [(row["tier"], row["spares"]) for row in rows] == [
        (tier["tier"], tier["spares"]) for tier in first["tiers"]
    ]
    assert "Standing by" in command(*words[:-1]).out


def test_every_worker_counts_where_none_is_to_spare(plan: Path) -> None:
    """With GPU failures alone, and no batch to spare, all GPUs of a tier must be up."""
    never = dict.fromkeys(("server", "switch", "rack"), 0.0)
    found = moeplan.availability(
        plan, years=1000, spare_domains=0, rates={"gpu": 2.0} | never, repairs={"gpu": 36000.0}
    )
    content = json.loads(plan.read_text(encoding="utf-8"))
    for number, tier in enumerate(content["tiers"]):
        if tier["pool"] is None and sum(g["config"]["decode_workers"] for g in tier["decode"]) == 1:
            gpus = sum(g["config"]["decode_gpus_per_worker"] for g in tier["decode"])
            away = 36000.0 + found.restart_s
            expected = math.exp(-gpus * 2.0 * away / (365.25 * 86400.0))
            served = found.tiers[number].availability
            assert served == pytest.approx(expected, abs=0.05 * (1.0 - expected))


def test_spares_and_fewer_failures_never_serve_less(plan: Path, tmp_path: Path) -> None:
    def served(path: Path, **rates: float) -> dict[tuple[str, str], float]:
        found = moeplan.availability(path, years=50, rates=rates)
        return {(each.tier, each.spares): each.availability for each in found.tiers}

    usual = served(plan)
    for tier in ("chat", "one"):
        none, free, domain = (
            usual[tier, spares] for spares in ("none", "free GPUs", "free GPUs and 1 domain")
        )
        assert none <= free <= domain <= 1.0
    rare = served(plan, gpu=0.0, server=0.0, switch=0.0, rack=0.0)
    assert set(rare.values()) == {1.0}
    often = served(plan, gpu=5.0)
    spared = served(plan_of(tmp_path, spares=1), gpu=5.0)
    for tier in ("chat", "one"):
        assert often[tier, "none"] < usual[tier, "none"]
        assert spared[tier, "none"] > often[tier, "none"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--years", "0"], "--years: '0' is not valid"),
        (["--seed", "x"], "--seed: 'x' is not valid"),
        (["--rate", "gpu"], "--rate: 'gpu' is not valid; give PART=VALUE: gpu=0.1"),
        (["--rate", "cpu=1"], "--rate: unknown part 'cpu'; give gpu, server, switch, rack"),
        (["--repair", "gpu=-1h"], "--repair: '-1h' is not valid"),
        (["--rate", "gpu=1000000"], "failures are to be expected"),
        (["--json", "--csv"], "--json and --csv: both are given"),
        (["--spare-domains", "-1"], "--spare-domains: '-1' is not valid"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(
    command: Command, plan: Path, words: list[str], message: str
) -> None:
    run = command("fleet", "availability", str(plan), *words)
    assert run.status == 2
    assert message in run.err
    assert run.err.count("\n") == 1


def test_every_rate_has_its_source() -> None:
    failures = load_failures()
    for part in failures.parts.values():
        assert part.rate.unit == "1/year"
        assert part.repair.unit == "s"
        assert part.rate.value > 0.0
        assert part.repair.value > 0.0
