import subprocess
import sys
from types import ModuleType

import presets


def test_all_is_sorted_and_names_every_public_member() -> None:
    public = {
        name
        for name, value in vars(presets).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert presets.__all__ == sorted(presets.__all__)
    assert set(presets.__all__) == public


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
