"""Several pools of machines in one file: each a cluster of its own, chosen by name or machine."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from presets.cluster import ClusterSpec
from presets.errors import InputError, closest_hint, shown
from presets.facts import Text
from presets.frozen import Frozen
from presets.record import Record

MOST_POOLS = 64


class ClusterPools(Record):
    """Pools of machines, between which KV is handed over and nothing else is sent.

    Attributes
    ----------
    pools : dict of ClusterSpec
        By name.
    """

    pools: Annotated[Frozen[Text, ClusterSpec], Field(min_length=1, max_length=MOST_POOLS)]

    def chosen(self, name: str | None, sku: str | None, option: str = "pool") -> str:
        """Find the pool that is named, or else the only one, of a machine where that is named.

        Parameters
        ----------
        name, sku : str or None
            Name of the pool, and of its machine.
        option : str
            What names the pool, in messages.

        Raises
        ------
        InputError
            Where there is none, or more than one.

        Examples
        --------
        >>> from presets import default_cluster
        >>> pools = {"rack": default_cluster("gb200", 72), "servers": default_cluster("b200", 64)}
        >>> ClusterPools(pools=pools).chosen(None, "b200")
        'servers'
        """
        if name is not None and name not in self.pools:
            raise InputError(
                f"{option}: the cluster has no pool {shown(name)}; {closest_hint(name, self.pools)}"
            )
        named = [each for each in self.pools if name in (None, each)]
        found = [each for each in named if sku in (None, self.pools[each].sku)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise InputError(
                f"{option}: {shown(sku)} is not the machine of {self._listed(named)}; name another "
                "machine or pool"
            )
        raise InputError(
            f"{option}: the cluster has {self._listed(found)}; name one by --pool NAME, and by "
            "--prefill-pool NAME one for prefill where that is another"
        )

    def _listed(self, names: list[str]) -> str:
        parts = [f"{name!r} ({self.pools[name].gpus} x {self.pools[name].sku})" for name in names]
        return f"the pool{'s' * (len(parts) > 1)} {' and '.join(parts)}"
