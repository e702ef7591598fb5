import subprocess
import sys

import costmodel
from costmodel import *  # noqa: F403


def test_all_is_sorted_and_complete() -> None:
    assert costmodel.__all__ == sorted(costmodel.__all__)
    assert set(costmodel.__all__) == set(costmodel._MODULE_OF)
    assert set(costmodel.__all__) <= set(dir(costmodel))


def test_every_name_can_be_imported() -> None:
    assert set(costmodel.__all__) <= set(globals())


def test_import_pulls_in_no_solver() -> None:
    code = "import sys, costmodel; print(sorted({'scipy', 'ortools', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
