"""Objectives, billing and limits on the command line and through the API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import moeplan

if TYPE_CHECKING:
    from optimizer import Space
    from tests.samples import Command


def test_owning_the_rack_changes_the_answer_and_says_so(command: Command) -> None:
    asked = ("best", "--sku", "gb200", "--target", "125", "--billing", "domain")
    content = command(*asked, "--json").json
    bill = content["billing"]
    assert bill["charged_gpus"] == 72 * (bill["charged_gpus"] // 72)
    assert bill["stranded_gpus"] == bill["charged_gpus"] - bill["used_gpus"]
    assert bill["best_by_gpu"] != content["config"]
    cheaper = bill["usd_per_m_total_tokens_by_gpu"]
    assert cheaper < content["prediction"]["usd_per_m_total_tokens"]
    printed = " ".join(command(*asked).out.split())
    assert "Charged are whole NVLink domains" in printed
    assert "The bill changes the answer: by GPUs that serve" in printed


def test_fewest_gpus_are_counted_in_replicas(command: Command) -> None:
    asked = ("best", "--sku", "b200", "--target", "60", "--objective", "gpus", "--rate", "100")
    content = command(*asked, "--json").json
    objective, config = content["objective"], content["config"]
    gpus = config["prefill_workers"] * config["prefill_gpus_per_worker"]
    gpus += config["decode_workers"] * config["decode_gpus_per_worker"]
    assert objective["amount"] == objective["replicas"] * gpus
    assert " requests/s" in command(*asked).out
    # A rate alone is the same question.
    again = command("best", "--sku", "b200", "--target", "60", "--rate", "100", "--json").json
    assert again["config"] == config
    assert again["question"]["objective"] == "gpus"


@pytest.mark.parametrize(("objective", "unit"), [("gpus", "GPUs"), ("power", "token/J")])
def test_a_curve_shows_what_is_made_best(command: Command, objective: str, unit: str) -> None:
    rate = ("--rate", "40") if objective == "gpus" else ("--objective", objective)
    asked = ("curve", "--sku", "b200", "--targets", "50,900", *rate)
    amount = command(*asked, "--json").json["rows"][0]["objective"]["amount"]
    lines = [line.split() for line in command(*asked).out.splitlines()]
    begins = {line[0]: line for line in lines if line}
    assert begins["Target"][:3] == ["Target", "Configuration", unit]
    assert (f"{amount:.0f}" if objective == "gpus" else f"{amount:.3f}") in begins["50"]
    assert begins["900"][:3] == ["900", "unreachable", "-"]


def test_prefill_on_another_machine_is_named(command: Command) -> None:
    asked = ("best", "--sku", "gb200", "--prefill-sku", "b200", "--target", "100")
    content = command(*asked, "--json").json
    assert content["prefill_sku"] == "b200"
    assert content["measured"] is None
    assert "prefill on b200 before decode on gb200" in content["prediction"]["extrapolated_in"]
    assert (
        "prefill on b200 at $1.73 (prices of 2026-07)"
        in command(*asked, "--objective", "power").out
    )
    assert "prefill on b200 at $1.00" in command(*asked, "--prefill-price", "1").out


def test_each_machine_has_its_own_price(space: Space) -> None:
    def cost(price: float | None, prefill_price: float | None) -> float:
        options = moeplan.Options(
            prefill_sku="b200",
            price=price,
            prefill_price=prefill_price,
            objective="throughput",  # so that prices do not change the answer
        )
        found = moeplan.best("gb200", 75.0, options, space=space)
        assert found.prediction is not None
        assert found.config is not None
        gpus = found.config.prefill_gpus, found.config.decode_gpus
        prices = found.prefill_price_usd_per_hour, found.price_usd_per_hour
        dear = sum(number * price for number, price in zip(gpus, prices, strict=True))
        million = found.prediction.total_tok_s_per_gpu * 3600e-6 * found.config.gpus
        assert found.prediction.usd_per_m_total_tokens == pytest.approx(dear / million)
        return found.prediction.usd_per_m_total_tokens

    assert cost(4.0, 6.0) == pytest.approx(2.0 * cost(2.0, 3.0))
    assert cost(2.0, 3.0) > cost(2.0, 1.0)
    assert cost(1.86, 1.73) == pytest.approx(cost(None, None))


def test_prefill_on_the_same_machine_is_the_default(space: Space) -> None:
    same = moeplan.best("gb200", 75.0, moeplan.Options(prefill_sku="gb200"), space=space)
    plain = moeplan.best("gb200", 75.0, space=space)
    assert same.prefill_sku is None
    assert same.config == plain.config


def test_how_many_racks_serve_a_rate(space: Space) -> None:
    options = moeplan.Options(objective="gpus", rate=150.0, billing="domain", max_gpus=216)
    found = moeplan.best("gb200", 60.0, options, space=space)
    bill, objective = found.billing, found.objective
    assert bill is not None
    assert objective.amount == bill.charged_gpus == 72 * bill.domains <= 216
    assert bill.replicas == objective.replicas
    assert objective.served is not None
    assert objective.served >= 150.0
    assert len([each for each in found.placement if each.workers]) == bill.domains
    fewer = replace(options, max_gpus=bill.charged_gpus - 72 or 71)
    missed = moeplan.best("gb200", 60.0, fewer, space=space)
    assert missed.config is None
    (needed,) = (each.needed for each in missed.conflicts if each.limit == "max_gpus")
    assert needed == bill.charged_gpus


def test_users_and_confidence_are_kept(space: Space) -> None:
    options = moeplan.Options(concurrency=100, min_confidence=0.95)
    found = moeplan.best("b200", 60.0, options, space=space)
    assert found.config is not None
    assert found.prediction is not None
    assert found.config.concurrency == 100
    assert found.prediction.interval_90["tok_s_per_user"][0] >= 60.0


def test_limits_of_percentiles_are_kept_and_named(space: Space) -> None:
    options = moeplan.Options(max_ttft=1.5, target_percentile=99, ttft_percentile=95)
    found = moeplan.best("b200", 75.0, options, space=space)
    assert found.percentiles_ms is not None
    assert 1e3 / found.percentiles_ms["tpot_p99"] >= 75.0 * (1 - 1e-6)
    assert found.percentiles_ms["ttft_p95"] <= 1.5e3 * (1 + 1e-6)
    assert found.measured is None  # the published rows have the median alone
    (row,) = found.to_rows()
    assert row["target_percentile"] == 99
    assert row["tpot_percentile_ms"] == found.percentiles_ms["tpot_p99"]
    assert row["ttft_percentile_ms"] == found.percentiles_ms["ttft_p95"]
    assert found.config is not None
    predicted = moeplan.predict("b200", found.config, options)
    assert dict(predicted.percentiles_ms) == pytest.approx(dict(found.percentiles_ms), rel=1e-6)
    median = moeplan.best("b200", 75.0, replace(options, target_percentile=None), space=space)
    assert median.prediction is not None
    assert found.prediction is not None
    assert found.prediction.tok_s_per_user > median.prediction.tok_s_per_user
    assert "99 % of requests" in (found._repr_html_() or "")
    assert "99 % of requests" not in (median._repr_html_() or "")


def test_a_percentile_out_of_reach_is_named(command: Command) -> None:
    few = ("--max-ttft", "0.01", "--ttft-percentile", "99", "--target-percentile", "90")
    run = command("best", "--sku", "gb200", "--target", "1000", *few)
    assert run.status == 1
    assert "1000 tok/s/user for 90 % of requests" in run.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--target-percentile", "0.99"),
            "--target-percentile: '0.99' is not valid; give a percentile from 50 to 99.9",
        ),
        (("--target-percentile", "nan"), "--target-percentile: 'nan' is not valid"),
        (("--ttft-percentile", "50"), "'50' is not valid; give a percentile from 75 to 99.9"),
        (("--ttft-percentile", "99"), "ttft_percentile 99 is of a limit on TTFT, which is not"),
        (("--objective", "speed"), "unknown --objective 'speed'"),
        (("--billing", "rack"), "unknown --billing 'rack'"),
        (("--objective", "gpus"), "rate: none is given"),
        (
            ("--rate", "5", "--objective", "cost"),
            "rate 5 is not valid with the objective 'cost'; give 'gpus', or leave one",
        ),
        (("--objective", "gpus", "--rate", "-1"), "--rate: '-1' is not valid"),
        (("--concurrency", "0"), "--concurrency: '0' is not valid"),
        (("--concurrency", "2.5"), "--concurrency: '2.5' is not valid"),
        (("--min-confidence", "1.2"), "min_confidence 1.2 is not valid; give 0.5 to 0.999"),
        (("--prefill-sku", "b2000"), "unknown prefill_sku 'b2000'; did you mean 'b200'?"),
        (("--prefill-price", "-1", "--prefill-sku", "b200"), "--prefill-price: '-1' is not valid"),
        (("--prefill-price", "1"), "prefill_price 1.0 is not valid where prefill stands on the"),
    ],
)
def test_bad_goals(command: Command, arguments: tuple[str, ...], message: str) -> None:
    run = command("best", "--sku", "gb200", "--target", "100", *arguments)
    assert run.status == 2
    assert message in run.err
    assert run.out == ""
