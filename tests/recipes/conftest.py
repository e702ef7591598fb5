"""What the tests of recipes share: the command in this process, and formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from moeplan.cli import main
from moeplan.recipes.recipe import FORMATS, Format


@dataclass(frozen=True)
class Run:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Run ``moeplan`` with the given arguments."""

    def run(*arguments: str) -> Run:
        capsys.readouterr()
        status = main(arguments)
        printed = capsys.readouterr()
        return Run(status, printed.out, printed.err)

    return run


@pytest.fixture(params=FORMATS)
def format_name(request: pytest.FixtureRequest) -> Format:
    name: Format = request.param
    return name
