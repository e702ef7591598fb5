"""The keys of one config.json, each checked as it is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from presets.architectures import Quantity
from presets.errors import DataFileError, shown

LARGEST = 10_000_000
"""Largest count that a key may hold. [1]"""

MOST_LAYERS = 1000
"""Longest list that has an entry for each layer. [1]"""

_MISSING = object()


class Keys:
    """The keys of one config.json.

    Those of the language model come first, where the file keeps them in a table of their own.
    """

    def __init__(self, content: dict[str, Any], path: Path) -> None:
        text = content.get("text_config")
        self._content = content | text if isinstance(text, dict) else content
        self._path = path

    def fail(self, key: str, problem: str) -> DataFileError:
        """Build the error of one key."""
        return DataFileError(problem, self._path, key=key)

    def find(self, key: str) -> Any:
        """Look up a key, with dots into tables; None where it is missing or null."""
        value = self._find(key)
        return None if value is _MISSING else value

    def _find(self, key: str) -> Any:
        value: Any = self._content
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                return _MISSING
            value = value[part]
        return value

    def count(self, key: str, low: int = 1) -> int:
        """Read a whole number of `low` or more."""
        value = self._find(key)
        valid = f"it must be a whole number from {low} to {LARGEST}"
        if value is None or value is _MISSING:
            raise self.fail(key, f"{'is null' if value is None else 'is missing'}; {valid}")
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= LARGEST:
            raise self.fail(key, f"is {shown(value)}; {valid}")
        return value

    def layer_count(self, key: str) -> int:
        """Read a number of layers, of `MOST_LAYERS` or fewer."""
        value = self.count(key)
        if value > MOST_LAYERS:
            raise self.fail(key, f"is {value}; it must be a whole number from 1 to {MOST_LAYERS}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Read true or false; a missing key takes the default."""
        value = self._find(key)
        if value is _MISSING:
            return default
        if not isinstance(value, bool):
            raise self.fail(key, f"is {shown(value)}; it must be true or false")
        return value

    def text(self, key: str, default: str) -> str:
        """Read text that is not blank, else the default."""
        value = self.find(key)
        return value if isinstance(value, str) and value.strip() else default

    def must_be(self, key: str, valid: object) -> None:
        """Refuse a key that is there and says something that is not modelled."""
        value = self.find(key)
        if value not in (valid, None):
            raise self.fail(key, f"is {shown(value)}; only {shown(valid)} is modelled")

    def listed(self, keys: str) -> Sequence[object]:
        """List the entries of the first of some keys that is there and not empty, none without any.

        Text is a list of its letters.
        """
        for key in keys.split("|"):
            value = self.find(key)
            if value is None or value == []:
                continue
            if not isinstance(value, list | str):
                raise self.fail(key, f"is {shown(value)}; it must be a list")
            if len(value) > MOST_LAYERS:
                raise self.fail(key, f"has {len(value)} entries; at most {MOST_LAYERS} are read")
            return value
        return ()

    def quantity(self, spec: Quantity) -> Any:
        """Evaluate what an architecture says of a field; None where that may be missing and is."""
        if not isinstance(spec, str):
            return spec
        ways = spec.split("|")
        chosen = next((way for way in ways if all(map(self._there, _factors(way)))), ways[0])
        if not any(sign in chosen for sign in "*/"):
            return self._factor(chosen)
        result = 1
        for sign, factor in zip(_signs(chosen), _factors(chosen), strict=True):
            if result == 0:  # what none is a part of need not be there
                break
            value = self._factor(factor)
            result = result * value if sign == "*" else result // value
        return result

    def _there(self, factor: str) -> bool:
        return factor.isdigit() or "?" in factor or self.find(factor) is not None

    def _factor(self, factor: str) -> Any:
        if factor.isdigit():
            return int(factor)
        key, optional, default = factor.partition("?")
        if optional and self.find(key) is None:
            return int(default) if default else None
        return self.count(key, low=0 if default == "0" else 1)


def _factors(way: str) -> list[str]:
    return way.replace("/", "*").split("*")


def _signs(way: str) -> str:
    return "*" + "".join(letter for letter in way if letter in "*/")
