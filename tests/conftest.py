"""What all tests share.

Hypothesis draws the same cases in every run, so that a check is green or red for the code and not
for the draw, nor for how busy the machine is. `pytest --hypothesis-profile=default` draws new ones.

Tests marked `many_cases` run lines that other tests run too, over and over: to count them would
make these tests take half as long again. Where it is asked which test runs which line
(`--cov-context`), they are counted as all others are.

Side by side (`--numprocesses`) a process takes whole files, and one takes all those of recipes:
they look at the same recipes, which each process would make anew.
"""

import os
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

RECIPES = "tests/recipes/"

# What is printed is as wide as COLUMNS says; here it is what a pipe gets.
os.environ.pop("COLUMNS", None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--cov-context", default=None):
        return
    for item in items:
        if item.get_closest_marker("many_cases"):
            item.add_marker("no_cover")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadFileScheduling  # only where tests run side by side

    scheduler = LoadFileScheduling(config, log)
    by_file = scheduler._split_scope
    scheduler._split_scope = lambda test: RECIPES if test.startswith(RECIPES) else by_file(test)
    return scheduler
