"""Quantities with their units, as files and options hold them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.errors import DataFileError
from presets.quantities import LONGEST, quantity, read_quantities, valid_quantity

READ = [
    ("400Gb/s", "GB/s", 50), ("400 Gbps", "GB/s", 50), ("50GB/s", "GB/s", 50),
    ("0.9TB/s", "GB/s", 900), ("1e3", "GB/s", 1000), ("2000ms", "s", 2), ("2 min", "s", 120),
    ("5000ns", "us", 5), ("1.5us", "us", 1.5), ("5 \N{MICRO SIGN}s", "us", 5),
    ("0.0096s", "ms", 9.6), ("1,024.5 ms", "ms", 1024.5), ("$3.10", "USD/h", 3.1),
    ("3.10 USD", "USD/h", 3.1), ("USD 3.10/h", "USD/h", 3.1), ("3.1$/hr", "USD/h", 3.1),
    ("$3.10 per GPU-hour", "USD/h", 3.1), ("2kW", "W", 2000), ("180GB", "GB", 180),
    ("1GiB", "GB", 1.073741824), ("8k", "tokens", 8192), ("8K tokens", "tokens", 8192),
    ("1M", "token", 1048576), ("1,024", "GPUs", 1024), ("72 GPUs", "GPU", 72),
    ("95%", "probability", 0.95), ("90 req/min", "requests/s", 1.5),
    ("125 tok/s/user", "tok/s/user", 125), ("1_000", "worker", 1000),
]  # fmt: skip
REFUSED = [
    ("400gb/s", "GB/s", "may be bits or bytes: Gb/s or GB/s"),
    ("50GB", "GB/s", "'GB' is no unit of GB/s"),
    ("50MHz", "GB/s", "'MHz' is no unit of GB/s"),
    ("$3", "GB/s", "no unit of GB/s"),
    ("8k", "GPU", "'k' is no unit of GPU"),
    ("9,6", "ms", "has a decimal comma, for which write 9.6"),
    ("1,02,3", "ms", "has commas that part no thousands"),
    ("1e999", "s", "is not finite"),
    ("\u20ac3", "USD/h", "is not valid"),
    ("5mW", "GB", "'mW' is no unit of GB"),
    *(
        (text, "s", "is not valid")
        for text in ("", " ", "nan", "inf", "-inf", "0x10", "\u0663", "two")
    ),
    ("1" * (LONGEST + 1), "s", "is not valid"),
]


@pytest.mark.parametrize(("text", "unit", "value"), READ)
def test_a_quantity_is_read(text: str, unit: str, value: float) -> None:
    assert quantity(text, unit) == value


@pytest.mark.parametrize(("text", "unit", "reason"), REFUSED)
def test_what_is_no_such_quantity_is_refused(text: str, unit: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        quantity(text, unit)


@given(st.text(max_size=80), st.sampled_from(["GB/s", "s", "USD/h", "token", "GPU", "switch"]))
def test_any_text_is_a_finite_number_or_refused(text: str, unit: str) -> None:
    try:
        value = quantity(text, unit)
    except ValueError:
        return
    assert isinstance(value, int | float)
    assert math.isfinite(value)


@given(
    st.floats(1e-6, 1e6),
    st.sampled_from([("GB/s", "Gb/s", 8), ("s", "ms", 1e3), ("W", "kW", 1e-3)]),
)
def test_both_ways_to_write_it_are_the_same(value: float, units: tuple[str, str, float]) -> None:
    unit, other, times = units
    assert quantity(f"{value * times!r}{other}", unit) == pytest.approx(value, rel=1e-12)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.lists(st.integers())))
def test_what_is_no_text_stays(value: object) -> None:
    assert quantity(value, "s") is value


def test_a_key_is_named_with_its_value_and_what_is_valid() -> None:
    units = {"nic_gb_s": "GB/s", "gpus": "GPU"}
    read = read_quantities({"nic_gb_s": "400Gb/s", "name": "400Gb/s"}, units, "a.yaml")
    assert read == {"nic_gb_s": 50, "name": "400Gb/s"}
    with pytest.raises(DataFileError) as caught:
        read_quantities({"gpus": "many"}, units, "a.yaml", "pool")
    assert str(caught.value) == "a.yaml, key pool.gpus: 'many' is not valid; give a number, in GPU"
    assert valid_quantity("GB/s") == "such as 50, 50GB/s or 400Gb/s"
