"""What most tests of the search share: the published scenario and a small space."""

import pytest

from costmodel.calibration import Calibration
from costmodel.calibration_file import load_calibration
from costmodel.results import Scenario
from optimizer import Space
from presets import load_model


@pytest.fixture(scope="session")
def scenario() -> Scenario:
    return Scenario(model=load_model("deepseek-r1-0528"))


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    return load_calibration()


@pytest.fixture(scope="session")
def small_space() -> Space:
    return Space(
        prefill_workers=(1, 2, 3, 5),
        prefill_gpus=(4, 8),
        decode_workers=(1, 2, 3),
        decode_gpus=(4, 8, 16, 32),
        mtp_depths=(0, 2),
        largest_batch=512,
        batch_ratio=1.2,
    )
