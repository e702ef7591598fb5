import re
from datetime import date
from pathlib import Path

import pytest

from costmodel.calibration import (
    ABSENT,
    Calibration,
    Constant,
    calibration_of,
    constant_names,
    constants_of,
    flat_names,
)
from costmodel.calibration_file import (
    MAXIMUM_BYTES,
    format_calibration,
    load_calibration,
    read_calibration,
    shipped_calibration,
)
from costmodel.corpus_deviations import shared_constants
from costmodel.deviations import base_name
from presets import DataFileError

SHIPPED = shipped_calibration()


def changed(tmp_path: Path, old: str, new: str) -> Path:
    """Write the shipped file with one change."""
    text = format_calibration(SHIPPED)
    assert old in text
    path = tmp_path / "changed.toml"
    path.write_text(text.replace(old, new, 1))
    return path


def problem(path: Path) -> str:
    """Return the one sentence that a bad file gives; it names the file and has no traceback."""
    with pytest.raises(DataFileError) as caught:
        read_calibration(path)
    sentence = str(caught.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    return sentence


def test_constants_go_flat_and_back(plain: Calibration) -> None:
    flat = constants_of(plain)
    deviations = [name for name in shared_constants(SHIPPED).constants if "[" in name]
    assert sorted(flat) == sorted((*constant_names(), *deviations))
    assert flat["dispatch.latency"] == plain.dispatch.latency == 10e-6
    assert flat["hbm_efficiency"] == 0.5
    assert calibration_of(flat, plain.coverage) == plain


def test_each_constant_finds_its_own_field() -> None:
    # Were two names crossed, the numbers would come back in another order.
    numbered = {name: float(number) for number, name in enumerate(constant_names())}
    assert constants_of(calibration_of(numbered, SHIPPED.coverage)) == numbered


def test_a_missing_value_is_an_error() -> None:
    flat = constants_of(load_calibration())
    del flat["combine.latency"]
    with pytest.raises(KeyError, match=r"combine\.latency"):
        calibration_of(flat, SHIPPED.coverage)


@pytest.mark.parametrize("name", SHIPPED.constants)
def test_every_shipped_constant_says_where_it_comes_from(name: str) -> None:
    constant = SHIPPED.constants[name]
    texts = (constant.unit, constant.source, constant.informed_by, constant.meaning)
    assert all(text.strip() for text in texts)
    assert constant.date <= date.today()
    assert 0 < constant.low <= constant.prior <= constant.high
    assert constant.low <= constant.value <= constant.high
    assert (constant.kind == "calibrated") or constant.standard_error is None


def test_nothing_ships_that_the_model_does_not_read() -> None:
    assert {base_name(name) for name in SHIPPED.constants} == set(flat_names())
    assert {base_name(name) for name in set(SHIPPED.constants) - set(constant_names())} >= set(
        ABSENT
    )


def test_units_of_times_rates_and_sizes() -> None:
    for name, constant in SHIPPED.constants.items():
        base = base_name(name)
        last = base.rsplit(".", maxsplit=1)[-1]
        time = last.endswith(("_time", "latency", "_launch"))
        alone = base in ABSENT and name.count("=") == 1  # more traits are a factor on that
        if base != name and not alone:
            assert constant.unit == "1", name  # a factor
            continue
        if last.endswith("_bytes"):
            assert constant.unit == "B", name
        elif last == "seconds_per_byte":
            assert constant.unit == "s/B", name
        elif last == "copy_rate":
            assert constant.unit == "B/s", name
        elif time or last == "latency_per_doubling":
            assert constant.unit == "s", name
        else:
            assert constant.unit == "1", name


def test_the_shipped_calibration_is_the_default() -> None:
    assert load_calibration() == SHIPPED.calibration
    assert shipped_calibration() is SHIPPED


def test_a_user_s_file_is_read(tmp_path: Path) -> None:
    path = changed(tmp_path, 'engines = ["trtllm"]', 'engines = ["another"]')
    assert load_calibration(path).coverage.engines == ("another",)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "cannot be read" in problem(tmp_path / "none.toml")


def test_a_file_that_is_not_toml(tmp_path: Path) -> None:
    assert "is not TOML" in problem(changed(tmp_path, "[coverage]", "[coverage"))


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "1" * 5_000])
def test_a_file_that_would_exhaust_the_parser(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hostile.toml"
    path.write_text(text)
    assert "is not TOML" in problem(path)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8" in problem(path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text("format = 'something else'\n")
    assert "must say format = 'moeplan calibration 2'" in problem(path)
    path.write_text("format = 'moeplan calibration 2'\nconstants = 3\n")
    assert "has no table [constants]" in problem(path)


def test_an_oversized_file(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text("#" * (MAXIMUM_BYTES + 1))
    assert f"is longer than {MAXIMUM_BYTES} bytes" in problem(path)


def test_a_missing_constant(tmp_path: Path) -> None:
    text = format_calibration(SHIPPED)
    path = tmp_path / "short.toml"
    path.write_text(re.sub(r"\[constants\.step_time\].*?\n\n", "", text, flags=re.DOTALL))
    assert "step_time: is missing" in problem(path)


def test_an_unknown_constant(tmp_path: Path) -> None:
    path = changed(tmp_path, "[constants.step_time]", "[constants.step_tine]")
    sentence = problem(path)
    assert "step_tine" in sentence
    assert "did you mean 'step_time'?" in sentence


def hbm(field: str) -> str:
    """Find the line of one field of the first constant."""
    match = re.search(rf"^{field} = .*$", format_calibration(SHIPPED), flags=re.MULTILINE)
    assert match is not None
    return match[0]


@pytest.mark.parametrize(
    ("field", "given", "says"),
    [
        ("value", "1e9", "lies outside its bounds"),
        ("value", "1e-9", "lies outside its bounds"),
        ("value", "nan", "nan is not valid"),
        ("value", "inf", "inf is not valid"),
        ("value", "-0.5", "-0.5 is not valid"),
        ("value", "'high'", "'high' is not valid"),
        ("value", "'0.8'", "'0.8' is not valid; it must be a valid number"),
        ("value", "true", "True is not valid; it must be a valid number"),
        ("value", "1" + "0" * 400, "is not valid"),
        ("low", "false", "False is not valid; it must be a valid number"),
        ("low", "1e-300", "hbm_efficiency.low: 1e-300 lies outside the bounds of the constant"),
        ("high", "1e300", "hbm_efficiency.high: 1e+300 lies outside the bounds of the constant"),
        ("prior", "1e300", "prior 1e+300 lies outside its bounds"),
        ("spread", "1e300", "it must be less than or equal to 3"),
        ("spread", "0", "it must be greater than 0"),
        ("standard_error", "1e300", "it must be less than or equal to 3"),
        ("standard_error", "true", "True is not valid"),
        ("unit", "'us'", "hbm_efficiency.unit: 'us' is not valid; it must be '1'"),
        ("unit", "''", "must not be blank"),
        ("source", "''", "must not be blank"),
        ("date", "'soon'", "'soon' is not valid"),
        ("kind", "'guessed'", "'guessed' is not valid"),
    ],
)
def test_a_constant_that_cannot_be(tmp_path: Path, field: str, given: str, says: str) -> None:
    path = changed(tmp_path, hbm(field), f"{field} = {given}")
    assert says in problem(path)


@pytest.mark.parametrize("value", ["1e-300", "1e300"])
def test_a_file_s_own_bounds_are_not_trusted(tmp_path: Path, value: str) -> None:
    path = changed(tmp_path, hbm("low"), "low = 1e-300")
    text = path.read_text().replace(hbm("high"), "high = 1e300", 1)
    path.write_text(text.replace(hbm("value"), f"value = {value}", 1))
    says = f"key hbm_efficiency.value: {float(value)} lies outside the bounds of the constant, "
    assert f"{says}0.6 to 0.95" in problem(path)


def test_a_file_may_narrow_the_bounds_of_a_constant(tmp_path: Path) -> None:
    path = changed(tmp_path, hbm("low"), "low = 0.7")
    assert read_calibration(path).constants["hbm_efficiency"].low == 0.7


@pytest.mark.parametrize(
    ("key", "given", "says"),
    [
        ("isl", "[8192, 1024]", "[8192, 1024] is not valid; it must be the lower end"),
        ("isl", "[-1, 1024]", "coverage.isl.0: -1 is not valid"),
        ("osl", "[1024.5, 2048]", "coverage.osl.0: 1024.5 is not valid"),
        ("osl", "[true, 2048]", "coverage.osl.0: True is not valid"),
        ("osl", "['1024', 2048]", "coverage.osl.0: '1024' is not valid"),
        ("osl", "[1024]", "coverage.osl"),
        ("eplb_slots", "[9, 8]", "[9, 8] is not valid"),
        ("rows", "true", "coverage.rows: True is not valid"),
        ("crossing_gpus", "-4", "coverage.crossing_gpus: -4 is not valid"),
        ("skus", "[1]", "coverage.skus.0: 1 is not valid"),
    ],
)
def test_a_coverage_that_cannot_be(tmp_path: Path, key: str, given: str, says: str) -> None:
    text = format_calibration(SHIPPED).split("[coverage]")[1]
    match = re.search(rf"^{key} = .*$", text, flags=re.MULTILINE)
    assert match is not None
    assert says in problem(changed(tmp_path, f"\n{match[0]}\n", f"\n{key} = {given}\n"))


@pytest.mark.parametrize(
    "field", [name for name in Constant.model_fields if name != "standard_error"]
)
def test_a_constant_without_a_field(tmp_path: Path, field: str) -> None:
    sentence = problem(changed(tmp_path, f"{hbm(field)}\n", ""))
    assert f"key hbm_efficiency.{field}: is missing; give " in sentence


def test_a_constant_with_a_field_too_many(tmp_path: Path) -> None:
    path = changed(tmp_path, hbm("unit"), f"{hbm('unit')}\nunits = '1'")
    assert "units: is not a known key; did you mean 'unit'?" in problem(path)


def test_a_file_without_coverage(tmp_path: Path) -> None:
    path = tmp_path / "bare.toml"
    path.write_text(format_calibration(SHIPPED).split("[coverage")[0])
    assert "coverage" in problem(path)
    path.write_text(format_calibration(SHIPPED).replace("tp_gpus = ", "tp_gpu = ", 1))
    assert "coverage.tp_gpu" in problem(path)
