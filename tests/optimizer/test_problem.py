import math
from typing import Any

import pytest

from optimizer import Limits
from presets import InputError


@pytest.mark.parametrize("target", [0, -1.0, math.nan, math.inf, "125", None, True])
def test_target_must_be_a_positive_number(target: Any) -> None:
    with pytest.raises(InputError, match=r"target .* is not valid; give a positive finite number"):
        Limits(target)


@pytest.mark.parametrize("ttft", [0, -0.2, math.nan, math.inf, "1"])
def test_ttft_must_be_a_positive_number(ttft: Any) -> None:
    with pytest.raises(InputError, match=r"max_ttft .* is not valid"):
        Limits(125, max_ttft=ttft)


@pytest.mark.parametrize("gpus", [0, -8, 7.5, True, "72"])
def test_gpus_must_be_a_positive_whole_number(gpus: Any) -> None:
    with pytest.raises(InputError, match=r"max_gpus .* is not valid"):
        Limits(125, max_gpus=gpus)


def test_defaults_are_the_published_budget_and_no_ttft_limit() -> None:
    assert Limits(50.0) == Limits(target=50.0, max_gpus=72, max_ttft=None)
