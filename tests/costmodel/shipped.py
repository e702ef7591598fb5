"""Constants and rows as shipped."""

from collections.abc import Sequence

from costmodel.calibration import constants_of
from costmodel.calibration_file import shipped_calibration
from costmodel.observations import (
    configuration_key,
)
from presets import ServingRow, serving_rows

SHIPPED = shipped_calibration()


FLAT = constants_of(SHIPPED.calibration)


ROWS = serving_rows()


def distinct(rows: Sequence[ServingRow]) -> list[ServingRow]:
    """One row of each configuration."""
    return list({configuration_key(row): row for row in rows}.values())


GB200 = distinct([row for row in ROWS if row.sku == "gb200" and row.precision == "fp4"])
