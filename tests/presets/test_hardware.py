import re
import tomllib
from datetime import date

import pytest
from pydantic import ValidationError

from presets import Alternative, Fact, Hardware, UnknownNameError, hardware_names, load_hardware
from presets.files import DATA

FACTS = tuple(name for name in Hardware.model_fields if name not in ("name", "title", "generation"))

UNITS = {
    "gpus_per_domain": "GPU",
    "gpus_per_node": "GPU",
    "nvlink_rate": "B/s",
    "nvlink_latency": "s",
    "nic_rate": "B/s",
    "nic_latency": "s",
    "hbm_bytes": "B",
    "hbm_rate": "B/s",
    "flops_bf16": "FLOP/s",
    "flops_fp8": "FLOP/s",
    "flops_fp4": "FLOP/s",
    "price_usd_per_hour": "USD/h",
    "power_watts": "W",
}


def facts_of(name: str) -> dict[str, Fact]:
    machine = load_hardware(name)
    return {fact: getattr(machine, fact) for fact in FACTS if getattr(machine, fact) is not None}


@pytest.mark.parametrize("name", hardware_names())
def test_every_fact_has_value_unit_source_date_and_kind(name: str) -> None:
    content = tomllib.loads((DATA / "hardware" / f"{name}.toml").read_text())
    for fact, table in content["facts"].items():
        for field in ("value", "unit", "source", "date", "kind"):
            assert str(table.get(field, "")).strip(), f"{name}: {fact} has no {field}"
        for alternative in table.get("alternatives", []):
            for field in ("value", "source", "date", "note"):
                assert str(alternative.get(field, "")).strip(), f"{name}: {fact} has no {field}"


@pytest.mark.parametrize("name", hardware_names())
def test_every_fact_is_positive_in_its_unit_and_not_from_the_future(name: str) -> None:
    for fact, content in facts_of(name).items():
        assert content.value > 0, fact
        assert content.unit == UNITS[fact], fact
        assert date(2024, 1, 1) < content.date <= date.today(), fact
        for alternative in content.alternatives:
            # Another source may differ, not be in another unit.
            assert 0.15 < alternative.value / content.value < 7, fact


@pytest.mark.parametrize("name", hardware_names())
def test_the_name_is_that_of_the_file(name: str) -> None:
    assert load_hardware(name).name == name


@pytest.mark.parametrize(
    ("name", "domain", "node", "nvlink", "nic", "hbm", "hbm_rate", "price", "power"),
    [
        ("h100", 8, 8, 450, 50, 80, 3350, 1.17, 1730),
        ("h200", 8, 8, 450, 50, 141, 4800, 1.22, 1730),
        ("b200", 8, 8, 900, 50, 180, 8000, 1.73, 2170),
        ("b300", 8, 8, 900, 100, 268, 8000, 2.26, 2170),
        ("gb200", 72, 4, 900, 50, 192, 8000, 1.86, 2100),
        ("gb300", 72, 4, 900, 100, 288, 8000, 2.31, 2100),
    ],
)
def test_figures_are_those_of_the_sources(
    name: str,
    domain: int,
    node: int,
    nvlink: float,
    nic: float,
    hbm: float,
    hbm_rate: float,
    price: float,
    power: float,
) -> None:
    machine = load_hardware(name)
    assert machine.gpus_per_domain.value == domain
    assert machine.gpus_per_node.value == node
    assert machine.nvlink_rate.value == nvlink * 1e9
    assert machine.nic_rate.value == nic * 1e9
    assert machine.hbm_bytes.value == hbm * 1e9
    assert machine.hbm_rate.value == hbm_rate * 1e9
    assert machine.price_usd_per_hour.value == price
    assert machine.power_watts.value == power


@pytest.mark.parametrize(
    ("name", "bf16", "fp8", "fp4"),
    [
        ("h100", 989, 1979, None),
        ("h200", 989, 1979, None),
        ("b200", 2250, 4500, 9000),
        ("b300", 2250, 4500, 13500),
        ("gb200", 2500, 5000, 10000),
        ("gb300", 2500, 5000, 15000),
    ],
)
def test_tensor_rates(name: str, bf16: float, fp8: float, fp4: float | None) -> None:
    machine = load_hardware(name)
    assert machine.flops_bf16.value == bf16 * 1e12
    assert machine.flops_fp8.value == fp8 * 1e12
    assert (machine.flops_fp4 and machine.flops_fp4.value) == (fp4 and fp4 * 1e12)
    assert machine.generation == ("blackwell" if fp4 else "hopper")


def test_nvlink_is_faster_and_nearer_than_the_network() -> None:
    for name in hardware_names():
        machine = load_hardware(name)
        assert machine.nvlink_rate.value > 8 * machine.nic_rate.value
        assert machine.nvlink_latency.value < machine.nic_latency.value


def test_b200_records_what_other_sources_say() -> None:
    machine = load_hardware("b200")
    assert [other.value for other in machine.nic_rate.alternatives] == [100e9]
    assert [other.value for other in machine.hbm_rate.alternatives] == [7.7e12]
    assert [other.value for other in machine.hbm_bytes.alternatives] == [180 * 2**30]
    prices = [other.value for other in machine.price_usd_per_hour.alternatives]
    assert prices == [2.07, 3.70]


def test_an_unknown_machine_is_named_with_the_closest() -> None:
    with pytest.raises(
        UnknownNameError, match=re.escape("'gb20'; did you mean 'gb200'? Valid: b2")
    ):
        load_hardware("gb20")


@pytest.mark.parametrize("name", ["../models/kimi-k2", "", "b200.toml", "B200"])
def test_a_name_is_not_a_path(name: str) -> None:
    with pytest.raises(UnknownNameError):
        load_hardware(name)


GOOD = {"value": 1.0, "unit": "s", "source": "a", "date": date(2026, 1, 1), "kind": "measured"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("value", float("nan")),
        ("value", float("inf")),
        ("value", "fast"),
        ("unit", " "),
        ("source", ""),
        ("date", "yesterday"),
        ("kind", "guessed"),
        ("colour", "red"),
    ],
)
def test_a_fact_refuses_what_is_blank_or_no_number(field: str, value: object) -> None:
    assert Fact.model_validate(GOOD).value == 1.0
    with pytest.raises(ValidationError, match=field):
        Fact.model_validate(GOOD | {field: value})


@pytest.mark.parametrize("field", list(GOOD))
def test_a_fact_needs_every_field(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Fact.model_validate({key: value for key, value in GOOD.items() if key != field})


def test_facts_are_frozen_and_can_be_keys() -> None:
    fact = Fact.model_validate(GOOD)
    with pytest.raises(ValidationError, match="frozen"):
        fact.value = 2.0  # type: ignore[misc]
    assert fact.alternatives == ()
    assert {fact: 1}[Fact.model_validate(GOOD)] == 1
    assert Alternative(value=1, source="a", date=date(2026, 1, 1)).note == ""


def test_a_machine_is_read_once() -> None:
    assert load_hardware("h100") is load_hardware("h100")
