import re
import tomllib
from datetime import date

import pytest
from pydantic import ValidationError

from presets import (
    Alternative,
    DataFileError,
    Fact,
    Hardware,
    UnknownNameError,
    hardware_names,
    load_hardware,
)
from presets.files import validated
from presets.folders import DATA

UNITS = {
    "gpus_per_domain": "GPU",
    "gpus_per_node": "GPU",
    "scale_up_rate": "B/s",
    "scale_up_latency": "s",
    "scale_out_rate": "B/s",
    "scale_out_latency": "s",
    "hbm_bytes": "B",
    "hbm_rate": "B/s",
    "flops_bf16": "FLOP/s",
    "flops_fp8": "FLOP/s",
    "flops_fp4": "FLOP/s",
    "price_usd_per_hour": "USD/h",
    "power_watts": "W",
    "nic_kernel_factor": "1",
    "nic_hand_over_start": "s",
    "nic_hand_over_efficiency": "1",
    "nic_descriptor_time": "s",
}


@pytest.mark.parametrize("name", hardware_names())
def test_every_fact_has_value_unit_source_date_and_kind(name: str) -> None:
    content = tomllib.loads((DATA / "hardware" / f"{name}.toml").read_text())
    facts = content["facts"] | {
        f"flops.{key}": each for key, each in content["facts"].pop("flops").items()
    }
    for fact, table in facts.items():
        for field in ("value", "unit", "source", "date", "kind"):
            assert str(table.get(field, "")).strip(), f"{name}: {fact} has no {field}"
        for alternative in table.get("alternatives", []):
            for field in ("value", "source", "date", "note"):
                assert str(alternative.get(field, "")).strip(), f"{name}: {fact} has no {field}"


@pytest.mark.parametrize("name", hardware_names())
def test_every_fact_is_positive_in_its_unit_and_not_from_the_future(name: str) -> None:
    for fact, content in load_hardware(name).facts.items():
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
    ("name", "domain", "node", "scale_up", "nic", "hbm", "hbm_rate", "price", "power"),
    [
        ("h100", 8, 8, 450, 50, 80, 3350, 1.17, 1730),
        ("h200", 8, 8, 450, 50, 141, 4800, 1.22, 1730),
        ("h20", 8, 8, 450, 25, 96, 4000, 1.17, 1430),
        ("h800", 8, 8, 200, 50, 80, 3350, 1.17, 1730),
        ("vr-nvl72", 72, 4, 1800, 200, 288, 22000, 3.57, 3300),
        ("mi455x", 72, 4, 1800, 300, 432, 19600, 3.57, 3300),
        ("tpu7x", 64, 4, 600, 12.5, 206.158430208, 7380, 1.21, 1207),
        ("trainium3", 144, 4, 1280, 50, 154.618822656, 4900, 1.21, 1560),
        ("b200", 8, 8, 900, 50, 180, 8000, 1.73, 2170),
        ("b300", 8, 8, 900, 100, 268, 8000, 2.26, 2170),
        ("gb200", 72, 4, 900, 50, 192, 8000, 1.86, 2100),
        ("gb300", 72, 4, 900, 100, 288, 8000, 2.31, 2100),
        ("mi300x", 8, 8, 448, 50, 192, 5300, 0.95, 1790),
        ("mi325x", 8, 8, 448, 50, 256, 6000, 1.10, 2180),
        ("mi350x", 8, 8, 537.6, 50, 288, 8000, 1.50, 2180),
        ("mi355x", 8, 8, 537.6, 50, 288, 8000, 1.50, 2650),
    ],
)
def test_figures_are_those_of_the_sources(
    name: str,
    domain: int,
    node: int,
    scale_up: float,
    nic: float,
    hbm: float,
    hbm_rate: float,
    price: float,
    power: float,
) -> None:
    machine = load_hardware(name)
    assert machine.gpus_per_domain.value == domain
    assert machine.gpus_per_node.value == node
    assert machine.scale_up_rate.value == scale_up * 1e9
    assert machine.scale_out_rate.value == nic * 1e9
    assert machine.hbm_bytes.value == hbm * 1e9
    assert machine.hbm_rate.value == hbm_rate * 1e9
    assert machine.price_usd_per_hour.value == price
    assert machine.power_watts.value == power


@pytest.mark.parametrize(
    ("name", "kernel_profile", "scale_up", "rates"),
    [
        ("h100", "hopper", "switch", (989, 1979)),
        ("h200", "hopper", "switch", (989, 1979)),
        ("h20", "hopper", "switch", (148, 296)),
        ("h800", "hopper", "switch", (989, 1979)),
        ("vr-nvl72", "blackwell", "switch", (4000, 16700, 35000)),
        ("mi455x", "cdna4", "switch", (10000, 20000, 40000)),
        ("tpu7x", "tpu", "torus", (2300, 4600)),
        ("trainium3", "trainium", "switch", (671, 2517, 2517)),
        ("b200", "blackwell", "switch", (2250, 4500, 9000)),
        ("b300", "blackwell", "switch", (2250, 4500, 13500)),
        ("gb200", "blackwell", "switch", (2500, 5000, 10000)),
        ("gb300", "blackwell", "switch", (2500, 5000, 15000)),
        ("mi300x", "cdna3", "mesh", (1307, 2615)),
        ("mi325x", "cdna3", "mesh", (1307, 2615)),
        ("mi350x", "cdna4", "mesh", (2306, 4614, 9227)),
        ("mi355x", "cdna4", "mesh", (2516, 5033, 10066)),
    ],
)
def test_kernels_and_tensor_rates(
    name: str, kernel_profile: str, scale_up: str, rates: tuple[float, ...]
) -> None:
    machine = load_hardware(name)
    assert (machine.kernel_profile, machine.scale_up) == (kernel_profile, scale_up)
    formats = ("bf16", "fp8", "fp4")[: len(rates)]
    assert {each: fact.value / 1e12 for each, fact in machine.flops.items()} == dict(
        zip(formats, rates, strict=True)
    )


def test_all_machines_multiply_in_bf16() -> None:
    machine = load_hardware("h100")
    content = machine.model_dump() | {"flops": {"fp8": machine.flops["fp8"].model_dump()}}
    with pytest.raises(DataFileError, match="flops: bf16 is missing"):
        validated(Hardware, content)


def test_a_fact_can_be_supposed_to_be_otherwise() -> None:
    machine = load_hardware("mi350x")
    other = machine.supposing({"flops_fp8": 4e15, "hbm_rate": 7e12})
    assert (other.flops["fp8"].value, other.hbm_rate.value) == (4e15, 7e12)
    assert other.flops["fp8"].source == machine.flops["fp8"].source
    assert (
        other.supposing({name: machine.facts[name].value for name in ("flops_fp8", "hbm_rate")})
        == machine
    )


def test_scale_up_is_faster_and_nearer_than_the_network() -> None:
    for name in hardware_names():
        machine = load_hardware(name)
        # H800 has the slowest scale-up of those that are sold, MI455X the quickest NICs.
        least = {"h800": 3.9, "mi455x": 5.9}.get(name, 8)
        assert machine.scale_up_rate.value > least * machine.scale_out_rate.value
        assert machine.scale_up_latency.value < machine.scale_out_latency.value


def test_b200_records_what_other_sources_say() -> None:
    machine = load_hardware("b200")
    assert [other.value for other in machine.scale_out_rate.alternatives] == [100e9]
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
