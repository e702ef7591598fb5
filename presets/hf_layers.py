"""The layers of one config.json, by the rules of its architecture."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from presets.architectures import Architecture, Architectures, Fields, LayerRule
from presets.attention import (
    CompressedAttention,
    DeltaAttention,
    GqaAttention,
    MambaAttention,
    MlaAttention,
    SparseIndex,
)
from presets.checkpoint import Module
from presets.errors import shown
from presets.files import explained
from presets.hf_keys import Keys
from presets.model import DenseFeedForward, LayerGroup, Model, MoeFeedForward
from presets.parameters import attention_weights, expert_parameters, shared_parameters
from presets.record import Record

RECORDS: dict[str, type[Record]] = {
    "mla": MlaAttention,
    "gqa": GqaAttention,
    "delta": DeltaAttention,
    "mamba": MambaAttention,
    "compressed": CompressedAttention,
    "index": SparseIndex,
    "dense": DenseFeedForward,
    "moe": MoeFeedForward,
}
"""What the parts of a layer are, by the names that architectures have for them."""

ALONE = ("moe", "dense")
"""Feed-forward parts, where a layer is one part."""


class Layers:
    """The layers of one file.

    Attributes
    ----------
    count : int
        Layers, draft layers not counted. [1]
    kinds : list of (str, str)
        Attention of each layer by its name, and its feed-forward; "" for none.
    """

    def __init__(self, keys: Keys, known: Architectures, architecture: Architecture) -> None:
        self._keys, self._known, self._rules = keys, known, architecture
        rule = architecture.layers
        entries = keys.listed(rule.key) if rule.key else ()
        implied = entries and rule.of and keys.find("num_hidden_layers") is None
        self.count = len(entries) if implied else keys.layer_count("num_hidden_layers")
        parts = self._parts(rule, entries)
        dense = self._dense_layers()
        if set(ALONE) & set(rule.of.values()):
            self.kinds = [("", part) if part in ALONE else (part, "") for part in parts]
        else:
            self.kinds = [
                (part, "dense" if index in dense else "moe") for index, part in enumerate(parts)
            ]

    def groups(self) -> list[Fields]:
        """Fields of the layers that are alike, in the order in which they first come."""
        used = {name for pair in self.kinds for name in pair}
        attention = {name: self._attention(name) for name in self._rules.attention if name in used}
        readers = {"moe": self._moe, "dense": self._dense}
        feed_forward = {name: read() for name, read in readers.items() if name in used}
        return [
            {
                "count": count,
                "attention": attention.get(first),
                "feed_forward": feed_forward.get(second),
            }
            for (first, second), count in Counter(self.kinds).items()
        ]

    def draft(self) -> Fields | None:
        """Fields of the draft layers of the checkpoint, if any."""
        rule = self._rules.draft
        count = self._keys.quantity(rule.count) if rule else 0
        if rule is None or not count:
            return None
        attention = self._attention(rule.attention)
        return {"count": count, "attention": attention, "feed_forward": self._moe()}

    def modules(self, model: Model) -> Iterator[Module]:
        """Name what stands for each part of the model, layer by layer."""
        names = self._known.modules_of(self._rules)
        groups = dict(zip(Counter(self.kinds), model.groups, strict=True))
        for index, pair in enumerate(self.kinds):
            for part, module, weights in _parts_of(groups[pair], names, model.hidden):
                yield Module(part, f"layers.{index}.{module}", weights)
        if model.draft:
            yield Module("draft", names["draft"].format(layers=self.count), 1)

    def _parts(self, rule: LayerRule, entries: Sequence[object]) -> list[str]:
        """Name the part of each layer."""
        if not entries and not rule.usual:
            raise self._keys.fail(str(rule.key).split("|")[0], "is missing; it must be a list")
        if not entries:
            interval = max(self._keys.quantity(rule.interval), 1)
            return [rule.usual[-1 if index % interval == 0 else 0] for index in self._numbers()]
        if not rule.of:
            first, last = rule.usual
            there = {self._index(str(rule.key), entry) - rule.base for entry in entries}
            return [first if index in there else last for index in range(self.count)]
        if len(entries) < self.count:
            problem = f"has {len(entries)} entries for {self.count} layers"
            raise self._keys.fail(str(rule.key), problem)
        for entry in entries[: self.count]:
            if str(entry) not in rule.of:
                problem = f"holds {shown(entry)}; only {', '.join(rule.of)} are modelled"
                raise self._keys.fail(str(rule.key), problem)
        return [rule.of[str(entry)] for entry in entries[: self.count]]

    def _numbers(self) -> range:
        """Layers by number, from 1."""
        return range(1, self.count + 1)

    def _index(self, key: str, entry: object) -> int:
        if not isinstance(entry, int) or isinstance(entry, bool):
            raise self._keys.fail(key, f"holds {shown(entry)}; it must hold layers by their index")
        return entry

    def _dense_layers(self) -> set[int]:
        """Find the layers without experts, by index."""
        rule, keys = self._rules.dense, self._keys
        step = keys.quantity(rule.step)
        dense = {number - 1 for number in self._numbers() if number % step}
        dense |= set(range(keys.quantity(rule.first)))
        if rule.indices:
            dense |= {self._index(rule.indices, entry) for entry in keys.listed(rule.indices)}
        if rule.listed:
            listed = keys.listed(rule.listed)
            dense |= {index for index, entry in enumerate(listed) if entry == 0}
        return dense

    def _attention(self, name: str) -> Record:
        fields = self._rules.attention[name]
        return self._record(fields["kind"], fields)

    def _dense(self) -> Record:
        rule = self._rules.dense
        own = {"intermediate": rule.intermediate} if rule.intermediate else {}
        return self._record("dense", {"kind": "dense", "matrices": rule.matrices, **own})

    def _moe(self) -> Record:
        return self._record("moe", {"kind": "moe", **self._rules.moe})

    def _record(self, kind: str, fields: Fields) -> Record:
        """Make a record of its fields; what may be missing and is, is left to its default."""
        found: Fields = {}
        specs = self._known.kinds.get(kind, {}) | fields
        for name, spec in specs.items():
            if name == "kind":
                found[name] = spec
            elif isinstance(spec, dict):
                found[name] = self._record(name, spec)
            elif (value := self._keys.quantity(spec)) is not None:
                found[name] = value
        try:
            return RECORDS[kind].model_validate(found)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            problem = explained(first, RECORDS[kind])
            raise self._keys.fail(*_in_keys(problem, first["loc"], specs)) from None


def _in_keys(problem: str, place: tuple[int | str, ...], specs: Fields) -> tuple[str, str]:
    """Name the key that is wrong, and say how in keys, where a record of them is not valid."""
    names = {
        field: re.split(r"[|*/?]", spec)[0]
        for field, spec in specs.items()
        if isinstance(spec, str) and field != "kind"
    }
    if place:
        return names.get(str(place[0]), str(place[0])), problem
    # Of two that disagree the first that is named.
    said = re.sub(r"\b(\w+) (?=\d)", lambda found: f"{names.get(found[1], found[1])} ", problem)
    return said.split(" ")[0], said


def _parts_of(group: LayerGroup, names: Fields, hidden: int) -> Iterator[tuple[str, str, int]]:
    """Part, module and weights of what one layer has."""
    if group.attention is not None:
        weights = attention_weights(group.attention, hidden)
        first, last = names[group.attention.kind]
        yield "attention", first, weights.whole + weights.split
        yield "attention_output", last, weights.output
    part = group.feed_forward
    if isinstance(part, MoeFeedForward):
        yield "experts", names["experts"], part.experts * expert_parameters(part, hidden)
        if part.shared_intermediate:
            yield "shared_expert", names["shared_expert"], shared_parameters(part, hidden)
    elif part is not None:
        yield "dense", names["dense"], part.matrices * hidden * part.intermediate
