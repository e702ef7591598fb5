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
