"""What all tests share.

Hypothesis draws the same cases in every run, so that a check is green or red for the code and not
for the draw, nor for how busy the machine is. `pytest --hypothesis-profile=default` draws new ones.

Tests marked `many_cases` run lines that other tests run too, over and over: to count them would
make these tests take half as long again. Where it is asked which test runs which line
(`--cov-context`), they are counted as all others are.

Side by side (`--numprocesses`) a process takes whole files, those with most work first, and one
takes all those of recipes: they look at the same recipes, which each process would make anew.
"""

import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

RECIPES = "tests/recipes/"

MANY = 15
"""Tests marked `many_cases` take about so many times as long as others. [1]"""

# What is printed is as wide as COLUMNS says; here it is what a pipe gets.
os.environ.pop("COLUMNS", None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    dearest_first(items)
    if config.getoption("--cov-context", default=None):
        return
    for item in items:
        if item.get_closest_marker("many_cases"):
            item.add_marker("no_cover")


def dearest_first(items: list[pytest.Item]) -> None:
    """Put files with much work before others, so that no process is left with them at the end."""
    work = Counter[str]()
    for item in items:
        work[scope(item.nodeid)] += MANY if item.get_closest_marker("many_cases") else 1
    items.sort(key=lambda item: -work[scope(item.nodeid)])


def scope(test: str) -> str:
    """What one process takes as a whole."""
    return RECIPES if test.startswith(RECIPES) else test.split("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadFileScheduling  # only where tests run side by side

    config.option.loadscopereorder = False  # as sorted above
    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = scope
    return scheduler
