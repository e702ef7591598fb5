import tomllib
from datetime import date
from pathlib import Path

import pytest

from presets import (
    DataFileError,
    UnknownNameError,
    hardware_names,
    load_hardware,
    load_prices,
    price_set_names,
)
from presets.folders import DATA, VARIABLE
from presets.hardware import Hardware

SOLD = {
    "b200",
    "b300",
    "gb200",
    "gb300",
    "h100",
    "h200",
    "mi300x",
    "mi325x",
    "mi350x",
    "mi355x",
}
"""Machines that both editions of the source price."""


@pytest.mark.parametrize("name", price_set_names())
def test_a_set_is_dated_and_has_known_machines(name: str) -> None:
    found = load_prices(name)
    assert found.name == name == f"{found.date:%Y-%m}"
    assert found.date <= date.today()
    assert SOLD <= set(found.prices) <= set(hardware_names())


@pytest.mark.parametrize("name", price_set_names())
def test_every_price_has_value_unit_source_date_and_kind(name: str) -> None:
    content = tomllib.loads((DATA / "prices" / f"{name}.toml").read_text(encoding="utf-8"))
    for sku, fact in content["prices"].items():
        for field in ("value", "unit", "source", "date", "kind", "note"):
            assert str(fact.get(field, "")).strip(), f"{name}: {sku} has no {field}"
        assert fact["unit"] == "USD/h"
        assert fact["value"] > 0
        assert fact["date"] == content["date"]
        for other in fact["alternatives"]:
            for field in ("value", "source", "date", "note"):
                assert str(other.get(field, "")).strip(), f"{name}: {sku} has no {field}"
            assert 0.5 < other["value"] / fact["value"] < 3


def test_the_newest_set_is_what_machines_cost() -> None:
    newest = load_prices()
    assert newest.date == max(load_prices(name).date for name in price_set_names())
    for sku in newest.prices:
        assert load_hardware(sku).price_usd_per_hour == newest.prices[sku]


@pytest.mark.parametrize("sku", sorted(set(hardware_names()) - set(load_prices().prices)))
def test_a_machine_that_no_set_prices_says_its_own(sku: str) -> None:
    content = tomllib.loads((DATA / "hardware" / f"{sku}.toml").read_text(encoding="utf-8"))
    price = content["facts"]["price_usd_per_hour"]
    assert price["kind"] == "assumed"
    assert load_hardware(sku).price_usd_per_hour.value == price["value"]


def test_figures_of_april_are_those_of_the_published_comparison() -> None:
    prices = {sku: fact.value for sku, fact in load_prices("2026-04").prices.items()}
    assert prices == {
        "b200": 1.95,
        "b300": 2.34,
        "gb200": 2.21,
        "gb300": 2.652,
        "h100": 1.30,
        "h200": 1.41,
        "mi300x": 1.12,
        "mi325x": 1.28,
        "mi350x": 1.48,
        "mi355x": 1.48,
    }


@pytest.mark.parametrize("name", ["2026-05", "", "../hardware/b200"])
def test_an_unknown_set_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"alid: 2026-04, 2026-07"):
        load_prices(name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data with one machine, of another name than any that has a price."""
    text = (DATA / "hardware" / "b200.toml").read_text(encoding="utf-8")
    (tmp_path / "hardware").mkdir()
    mine = text.replace('name = "b200"', 'name = "mine"')
    (tmp_path / "hardware" / "mine.toml").write_text(mine, encoding="utf-8")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr("presets.hardware.hardware_names", lambda: ("mine",))
    return tmp_path / "hardware" / "mine.toml"


def load(name: str) -> Hardware:
    """Load past the cache, which other tests share."""
    return load_hardware.__wrapped__(name)


def test_a_machine_of_ones_own_may_give_its_price(folder: Path) -> None:
    with pytest.raises(DataFileError, match="price_usd_per_hour: is missing"):
        load("mine")
    own = '\n[facts.price_usd_per_hour]\nvalue = 4.5\nunit = "USD/h"\nsource = "a quote"\n'
    with folder.open("a", encoding="utf-8") as file:
        file.write(f'{own}date = 2026-11-01\nkind = "assumed"\n')
    assert load("mine").price_usd_per_hour.value == 4.5
