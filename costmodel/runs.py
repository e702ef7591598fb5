"""How measured runs of a kind were set up, as far as the model feels it.

Predictions take after them, so that they compare with measurements: the kernels of the experts,
and how many frontends route requests.
"""

from __future__ import annotations

import datetime
import math

from costmodel.results import Configuration
from presets import run_settings
from presets.engines import known_engine

MEASURED_LENGTHS = (1024, 8192)
"""Input lengths of the measured runs. [token]"""


def measured_frontends(sku: str, precision: str, date: datetime.date | None = None) -> int:
    """Count the frontends that routed requests in runs on a machine; 1 where none are known.

    Of the latest runs, or of those of a date.

    >>> measured_frontends("gb200", "fp4"), measured_frontends("b300", "fp4")
    (10, 1)
    >>> measured_frontends("gb200", "fp4", datetime.date(2025, 12, 9))
    1
    """
    settings = run_settings(sku, precision, None, "tp", None, date)
    return 1 if settings is None else settings.frontends


def frontends_of(configuration: Configuration, sku: str, precision: str) -> int:
    """Count the frontends of a deployment: as given, else as measured runs of its kind had.

    The runs of aggregated serving had one worker behind the engine's own server.
    """
    if configuration.frontends is not None:
        return configuration.frontends
    return 1 if configuration.is_aggregated else measured_frontends(sku, precision)


def is_early(engine: str, release: str | None, run: datetime.date | None) -> bool:
    """Tell whether a run was of a release of which `early_release` holds.

    >>> is_early("trtllm", "1.1.0rc2.post2", None), is_early("ours", "1.1.0", None)
    (True, False)
    """
    profile = known_engine(engine)
    return profile is not None and profile.is_early(release, run)


def expert_kernel(sku: str, precision: str, isl: int, decode_attention: str, mtp_depth: int) -> str:
    """Name the kernels that computed the experts of decode workers; blank where it is not known.

    Where the runs of a machine differ by their input length, those of the nearest length count.

    >>> expert_kernel("b300", "fp8", 1024, "dp", 0), expert_kernel("mi355x", "fp8", 1024, "dp", 0)
    ('trtllm', '')
    """
    nearest = min(MEASURED_LENGTHS, key=lambda length: abs(math.log(isl / length)))
    settings = run_settings(sku, precision, nearest, decode_attention, mtp_depth)
    return ("" if settings is None else settings.moe_backend or "").lower()
