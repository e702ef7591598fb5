from pathlib import Path

import pytest

from presets import Alternative, DataFileError, Fact
from presets.files import data_names, read_preset, read_text


def test_text_up_to_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbfabc")
    assert read_text(path, 6) == "abc"
    with pytest.raises(DataFileError, match="is longer than 5 bytes"):
        read_text(path, 5)


def test_a_preset_that_is_not_toml_or_lacks_a_field(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("value = ")
    with pytest.raises(DataFileError, match="toml: is not TOML"):
        read_preset(path, Alternative)
    path.write_text('value = 1\nsource = "a"')
    with pytest.raises(DataFileError, match="toml, key date: is missing"):
        read_preset(path, Alternative)
    path.write_text('value = nan\nsource = "a"\ndate = 2026-01-01')
    with pytest.raises(DataFileError, match="key value: nan is not valid; it must be a finite"):
        read_preset(path, Alternative)


@pytest.mark.parametrize("escape", ["\\u001b[2J", "\\u0000", "a\\nb", "\\u0085b", "\\u007f"])
def test_control_characters_are_refused(tmp_path: Path, escape: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'value = 1\nsource = "made up {escape}c"\ndate = 2026-01-01')
    with pytest.raises(DataFileError, match=r"key source: must not hold control characters$"):
        read_preset(path, Alternative)


@pytest.mark.parametrize("text", ["Gauß, Noël", "\N{SLIGHTLY SMILING FACE}", "东京"])
def test_letters_of_all_scripts_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'value = 1\nsource = "{text}"\ndate = 2026-01-01', encoding="utf-8")
    assert read_preset(path, Alternative).source == text


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "1" * 5_000])
def test_toml_that_would_exhaust_the_parser(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(DataFileError, match="is not TOML") as caught:
        read_preset(path, Alternative)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_offers_the_closest_where_the_record_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    fact = 'value = 1\nunit = "s"\nsource = "a"\ndate = 2026-01-01\nkind = "measured"\n'
    path.write_text(fact + "notes = 1")
    with pytest.raises(DataFileError, match="key notes: is not a known key; did you mean 'note'"):
        read_preset(path, Fact)
    path.write_text(fact + "[[alternatives]]\n" + fact)
    with pytest.raises(DataFileError, match=r"key alternatives\.0\.unit: is not a known key$"):
        read_preset(path, Fact)


def test_names_are_sorted_and_of_one_folder() -> None:
    assert data_names("hardware") == tuple(sorted(data_names("hardware")))
    assert "kimi-k2" in data_names("models")
    assert data_names("nowhere") == ()
