"""Prices of machines: dated sets, each of one source for all machines."""

from datetime import date
from functools import lru_cache

from presets.errors import unknown_name
from presets.facts import Fact, Text
from presets.files import read_preset
from presets.folders import data_files
from presets.frozen import Frozen
from presets.record import Record


class PriceSet(Record):
    """What a GPU-hour costs on each machine, by one source at one time.

    Attributes
    ----------
    name : str
        Year and month of the set.
    title : str
        Whose prices these are, and for whom.
    date : date
        Of the source.
    prices : dict of Fact
        Price of one GPU by machine; its alternatives are those of other buyers. [USD/h]
    """

    name: Text
    title: Text
    date: date
    prices: Frozen[str, Fact]


@lru_cache
def price_set_names() -> tuple[str, ...]:
    """List the sets of prices, the newest last.

    Examples
    --------
    >>> price_set_names()
    ('2026-04', '2026-07')
    """
    return tuple(data_files("prices"))


def load_prices(name: str | None = None) -> PriceSet:
    """Load a set of prices by name; None takes the newest.

    Raises
    ------
    UnknownNameError
        Where no set has the name.

    Examples
    --------
    >>> load_prices("2026-04").prices["gb200"].value
    2.21
    """
    name = price_set_names()[-1] if name is None else name
    if name not in price_set_names():
        raise unknown_name("prices", name, price_set_names())
    return _preset(name)


@lru_cache
def _preset(name: str) -> PriceSet:
    return read_preset(data_files("prices")[name], PriceSet)
