"""What moves an answer most: frozen records."""

from __future__ import annotations

from typing import Any, Literal

from moeplan.answers.best import Asked
from moeplan.answers.record import Answer
from presets.frozen import Frozen
from presets.record import Record

Measure = Literal["cost", "ratio"]


class Swing(Record):
    """What an answer comes to with one thing lower and higher, the search repeated with each.

    Attributes
    ----------
    name, unit : str
        Machine, if it is of one, and what is changed; such as "gb200.nic_bandwidth".
    low, base, high : float or None
        Values that it takes, in the unit; None where it has no such value.
    at_low, at_high : float or None
        What the measure comes to with each; None where it has none, or nothing meets the target.
    moves_by : float or None
        Larger change of the logarithm of the measure; None where something is out of reach. [1]
    """

    name: str
    unit: str
    low: float | None
    base: float | None
    high: float | None
    at_low: float | None
    at_high: float | None
    moves_by: float | None


class Map(Record):
    """The measure over any two of these things.

    Attributes
    ----------
    names : (str, str)
        Of the rows and the columns.
    units : (str, str)
    rows, columns : tuple of float
        Values, rising, in the unit of each.
    values : tuple of tuple of float or None
        The measure by row and column; None where nothing meets the target.
    """

    names: tuple[str, str]
    units: tuple[str, str]
    rows: tuple[float, ...]
    columns: tuple[float, ...]
    values: tuple[tuple[float | None, ...], ...]


class Tornado(Answer):
    """What moves the cost of a machine, or the ratio of the costs of two, most.

    Attributes
    ----------
    measure : {"cost", "ratio"}
        Cost of the machine [USD per million tokens], or how many times cheaper the first is [1].
    machines : tuple of str
        Labels.
    target_tok_s_per_user : float
        [token/s]
    base : float
        The measure as asked.
    swings : tuple of Swing
        The one that moves it most first.
    left_out : tuple of str
        What has no other value that can be asked, such as a length outside the data.
    map : Map or None
        Over two of them, where asked for.
    by : float
        Factor by which figures are made lower and higher. [1]
    questions : dict
        What was asked of each machine.
    version : str
        Of the package that answered.
    """

    measure: Measure
    machines: tuple[str, ...]
    target_tok_s_per_user: float
    base: float
    swings: tuple[Swing, ...]
    left_out: tuple[str, ...] = ()
    map: Map | None
    by: float
    questions: Frozen[str, Asked]
    version: str

    def to_rows(self) -> list[dict[str, Any]]:
        """One row per swing, or per cell of the map where there is one."""
        asked = {
            "machines": " ".join(self.machines),
            "target_tok_s_per_user": self.target_tok_s_per_user,
            "measure": self.measure,
            "measure_base": self.base,
        }
        end = {"version": self.version}
        if self.map is None:
            return [asked | swing.to_json() | end for swing in self.swings]
        first, second = self.map.names
        return [
            asked | {first: row, second: column, "value": value} | end
            for row, values in zip(self.map.rows, self.map.values, strict=True)
            for column, value in zip(self.map.columns, values, strict=True)
        ]

    def _gist(self) -> str:
        asked = f"{' over '.join(self.machines)} at {self.target_tok_s_per_user:g} tok/s/user"
        return f"{self.measure} of {asked}: {self.base:.4g}, most by {self.swings[0].name}"
