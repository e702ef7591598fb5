"""What the tests of recipes share: the command in this process, and formats."""

from __future__ import annotations

import pytest

from moeplan.recipes.formats import FORMATS
from tests.samples import Command, runner


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``moeplan`` with the given arguments."""
    return runner(capsys)


@pytest.fixture(params=FORMATS)
def format_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
