import subprocess
import sys

import pytest

import presets


def test_all_is_sorted_and_complete() -> None:
    assert presets.__all__ == sorted(presets.__all__)
    assert set(presets.__all__) == set(presets._MODULE_OF)
    assert set(presets.__all__) <= set(dir(presets))


@pytest.mark.parametrize("name", presets.__all__)
def test_every_name_can_be_imported(name: str) -> None:
    assert getattr(presets, name).__name__ == name


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'presets' has no attribute 'load_modle'"):
        _ = presets.load_modle


def test_import_reads_no_data_and_pulls_in_no_heavy_library() -> None:
    code = (
        "import sys, presets\n"
        "heavy = {'networkx', 'scipy', 'ortools', 'typer', 'rich'} & set(sys.modules)\n"
        "from presets.hardware import load_hardware\n"
        "from presets.measurements import serving_rows\n"
        "read = load_hardware.cache_info().currsize + serving_rows.cache_info().currsize\n"
        "print(sorted(heavy), read)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] 0\n"
