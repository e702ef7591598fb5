"""A dictionary that stays as it is, for fields of frozen records."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """A dictionary that refuses changes and can be hashed.

    >>> fixed = FrozenDict({"a": 1})
    >>> hash(fixed) == hash(FrozenDict(a=1)), fixed == {"a": 1}
    (True, True)
    >>> fixed["a"] = 2
    Traceback (most recent call last):
    TypeError: an answer cannot be changed; make a copy with dict(...)
    """

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("an answer cannot be changed; make a copy with dict(...)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        """Hash the items, whatever their order."""
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the dictionary that it holds."""
        return (type(self), (dict(self),))


Frozen = Annotated[dict[K, V], AfterValidator(FrozenDict)]
"""Field of a frozen record: a dictionary that cannot be changed either."""
