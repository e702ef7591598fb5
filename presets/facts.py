"""A figure and where it comes from."""

import unicodedata
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, StringConstraints

from presets.record import Record

Kind = Literal["datasheet", "measured", "assumed"]


def _printable(text: str) -> str:
    """Refuse control characters, which a terminal would obey."""
    if not text.isprintable() and any(map(_is_control, text)):
        raise ValueError("must not hold control characters")
    return text


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter).startswith("C")


Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_printable)
]


class Alternative(Record):
    """What another source says of the same fact.

    Attributes
    ----------
    value : float
        In the unit of the fact.
    source, date, note : str, date, str
        As in `Fact`.
    """

    value: float
    source: Text
    date: date
    note: str = ""


class Fact(Record):
    """A figure with its unit, source, date and kind.

    Attributes
    ----------
    value : float
        The figure, in `unit`.
    unit : str
        SI, or USD/h, GPU, parameter.
    source : str
        Where the figure stands.
    date : date
        Date of the source; where it has none, the day it was read.
    kind : {"datasheet", "measured", "assumed"}
        What the figure rests on.
    note : str
        What a reader has to know besides.
    alternatives : tuple of Alternative
        What other sources say.
    """

    value: float
    unit: Text
    source: Text
    date: date
    kind: Kind
    note: str = ""
    alternatives: tuple[Alternative, ...] = ()


class Provenance(Record):
    """Where a group of figures comes from; the fields are those of `Fact`."""

    source: Text
    date: date
    kind: Kind
    note: str = ""
