"""What the tests of the command share: the command in this process, and answers found once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import moeplan
from optimizer import Space
from tests.samples import MEASURED, Command, runner

ROOT = Path(__file__).parents[2]
MEASUREMENTS = ROOT / "presets" / "data" / "measurements"


BestOf = Callable[[str, float], moeplan.Best]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``moeplan`` with the given arguments."""
    return runner(capsys)


@cache
def small_space() -> Space:
    """Few deployments, wide ones among them."""
    return Space(
        prefill_workers=(1, 2, 4),
        decode_workers=(1, 2, 4),
        decode_gpus=(4, 8, 32),
        mtp_depths=(0, 2),
        largest_batch=64,
        batch_ratio=1.5,
    )


@cache
def answer(sku: str, target: float) -> moeplan.Best:
    """Best of the small space, found once."""
    return moeplan.best(sku, target, space=small_space())


@pytest.fixture
def best_of() -> BestOf:
    return answer


@pytest.fixture
def space() -> Space:
    return small_space()


@pytest.fixture
def measurements() -> Mapping[str, Path]:
    """Shipped tables as files, by name."""
    return {path.stem: path for path in MEASUREMENTS.glob("*.csv")}


@pytest.fixture
def configuration() -> dict[str, Any]:
    """A deployment that was measured on both machines' engines."""
    return dict(MEASURED)
