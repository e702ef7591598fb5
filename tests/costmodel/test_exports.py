import subprocess
import sys
from types import ModuleType

import costmodel
from costmodel import *  # noqa: F403


def test_all_is_sorted_and_names_every_public_member() -> None:
    public = {
        name
        for name, value in vars(costmodel).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    # A function hides the module of its name.
    assert costmodel.__all__ == sorted(costmodel.__all__)
    assert set(costmodel.__all__) == public


def test_every_name_can_be_imported() -> None:
    assert set(costmodel.__all__) <= set(globals())


def test_import_pulls_in_no_solver() -> None:
    code = "import sys, costmodel; print(sorted({'scipy', 'ortools', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
