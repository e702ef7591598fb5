"""Drafts: the models that guess tokens ahead, and how many of their guesses are kept."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from presets.attention import GqaAttention
from presets.errors import InputError, shown
from presets.facts import Fact, Provenance, Text
from presets.files import read_preset
from presets.folders import DATA
from presets.frozen import Frozen
from presets.model import DenseFeedForward, DraftModel, LayerGroup, Model
from presets.record import Record

Draft = Literal["none", "mtp", "eagle3", "dspark"]
"""What drafts: nothing, the checkpoint's own layers, an EAGLE-3 head, a DSpark block drafter."""

TextKind = Literal["random", "coding", "maths"]
"""What is written, as far as drafts of it were measured; `random` is what benchmarks send."""

DRAFTS: tuple[Draft, ...] = ("none", "mtp", "eagle3", "dspark")
TEXTS: tuple[TextKind, ...] = ("random", "coding", "maths")

DEEPEST = 16
"""Deepest draft that is read; public recipes go to 8. [token]"""

TO_90 = 1.645
"""Standard deviations from the middle to either end of a 90 % interval. [1]"""

Depth = Annotated[int, Field(ge=1, le=DEEPEST)]


class AcceptanceEntry(Provenance):
    """Measured acceptance lengths of one kind of draft with some models of one architecture.

    Attributes
    ----------
    models : tuple of str
    draft, text : str
    lengths : dict of int to float
        Tokens kept per step, the one that is no draft included, by depth. [token]
    """

    models: tuple[Text, ...]
    draft: Literal["mtp", "eagle3", "dspark"]
    text: TextKind
    lengths: Frozen[Depth, Annotated[float, Field(ge=1, le=DEEPEST + 1)]]


class _Acceptances(Record):
    texts: Frozen[TextKind, Fact]
    spreads: Frozen[Literal["measured", "other_text", "other_model"], Fact]
    entries: tuple[AcceptanceEntry, ...]


class _GenericDrafts(Record):
    eagle3: "GenericHead"


class GenericHead(Provenance):
    """An EAGLE-3 head for a model whose own is not known.

    Attributes
    ----------
    head_dim, kv_heads : int
        Of its attention; as many query heads as fill the width of the model. [1]
    widening : float
        Width of its feed-forward over that of the model. [1]
    joined, vocab : int
        As in `DraftModel`.
    """

    head_dim: int
    kv_heads: int
    widening: float
    joined: int
    vocab: int


class Acceptance(NamedTuple):
    """Drafts kept of a step, by depth, and how sure that is.

    Attributes
    ----------
    rates : tuple of float
        Share of steps that keep the first draft, the second, and so on. [1]
    spread : float
        Standard deviation of the logarithm of the tokens kept. [1]
    deepest : int
        Depth up to which it was measured with this model and kind; 0 where it is of others. [1]
    source : str
    """

    rates: tuple[float, ...]
    spread: float
    deepest: int
    source: str

    def kept(self, depth: int) -> float:
        """Drafts kept of a step of so many [token]."""
        return math.fsum(self.rates[:depth])

    def interval(self, length: float, depth: int) -> tuple[float, float]:
        """Both ends of the 90 % interval of the tokens kept per step [token]."""
        wide = math.exp(TO_90 * self.spread)
        return max(length / wide, 1.0), min(length * wide, depth + 1.0)


def with_draft(given: Any) -> Any:
    """Fill in what drafts: the checkpoint's layers if nothing is said, nothing without a depth.

    >>> [with_draft({"mtp_depth": depth, "draft": None})["draft"] for depth in (2, 0)]
    ['mtp', 'none']
    """
    if not isinstance(given, Mapping):
        return given
    draft = given.get("draft")
    if draft is None or (draft in DRAFTS and str(given.get("mtp_depth")) == "0"):
        return {**given, "draft": "none" if str(given.get("mtp_depth")) == "0" else "mtp"}
    return given


def check_draft(draft: Draft, depth: int) -> None:
    """Refuse a depth where nothing drafts.

    Raises
    ------
    ValueError
        Naming the keys and what would be valid.
    """
    if draft == "none" and depth:
        raise ValueError(f"mtp_depth is {depth}; it must be 0 where draft is none")


def default_draft(model: Model) -> Draft:
    """Name what drafts where nothing is said: the layers of the checkpoint, if there are any."""
    return "mtp" if model.draft else "none"


def draft_model(model: Model, draft: Draft) -> DraftModel | None:
    """Architecture of what drafts for a model; None without drafts.

    Raises
    ------
    InputError
        Where the model has no such draft.

    Examples
    --------
    >>> from presets import load_model
    >>> draft_model(load_model("deepseek-r1"), "mtp").joined
    2
    >>> draft_model(load_model("kimi-k2.5"), "eagle3").vocab
    32000
    """
    if draft == "none":
        return None
    if draft == "mtp" and model.draft:
        own = model.provenance
        return DraftModel(
            layers=model.draft,
            joined=2,
            in_checkpoint=True,
            source=own.source,
            date=own.date,
            kind=own.kind,
        )
    if draft != "mtp" and draft in model.draft_models:
        return model.draft_models[draft]
    if draft == "eagle3":
        return _generic_head(model)
    known = [name for name in DRAFTS if name in ("none", "eagle3") or _has(model, name)]
    raise InputError(
        f"draft {shown(draft)} is not known of {model.name}; valid: {', '.join(known)}"
    )


def _has(model: Model, draft: Draft) -> bool:
    return bool(model.draft) if draft == "mtp" else draft in model.draft_models


def _generic_head(model: Model) -> DraftModel:
    generic = read_preset(DATA / "drafts.toml", _GenericDrafts).eagle3
    heads = -(-model.hidden // generic.head_dim)
    heads = -(-heads // generic.kv_heads) * generic.kv_heads
    attention = GqaAttention(heads=heads, kv_heads=generic.kv_heads, head_dim=generic.head_dim)
    feed_forward = DenseFeedForward(intermediate=round(model.hidden * generic.widening))
    return DraftModel(
        layers=LayerGroup(count=1, attention=attention, feed_forward=feed_forward),
        joined=generic.joined,
        vocab=generic.vocab,
        source=generic.source,
        date=generic.date,
        kind=generic.kind,
        note=generic.note,
    )


@lru_cache
def _acceptances() -> _Acceptances:
    return read_preset(DATA / "acceptance.toml", _Acceptances)


def acceptance_entries() -> tuple[AcceptanceEntry, ...]:
    """Load the measured acceptance lengths."""
    return _acceptances().entries


@lru_cache
def acceptance_of(model: str, draft: Draft, text: TextKind = "random") -> Acceptance:
    """Drafts that a model keeps of one kind, at inputs and outputs of about 1024 tokens.

    As measured; of another text of the same model, times what such texts differ by; else in the
    mean of the other models with that kind of draft.

    Raises
    ------
    InputError
        Where nothing drafts.

    Examples
    --------
    >>> r1 = acceptance_of("deepseek-r1-0528", "mtp")
    >>> [round(r1.kept(depth), 3) for depth in (1, 2, 3, 5)], r1.deepest
    ([0.774, 1.17, 1.331, 1.438], 3)
    """
    known = _acceptances()
    of_kind = [entry for entry in known.entries if entry.draft == draft]
    if not of_kind:
        raise InputError(f"draft {shown(draft)} keeps nothing; valid: {', '.join(DRAFTS[1:])}")
    own = {entry.text: entry for entry in of_kind if model in entry.models}
    if text in own:
        return _measured(own[text], known.spreads["measured"].value)
    if own:
        entry = max(own.values(), key=lambda one: len(one.lengths))
        ratio = known.texts[text].value / known.texts[entry.text].value
        found = _measured(entry, known.spreads["other_text"].value)
        source = f"{found.source}; drafts of {entry.text}, those of {text} are {ratio:.2f} times"
        return found._replace(rates=_bounded(found.rates, ratio), source=source)
    names = sorted({entry.models[0] for entry in of_kind})
    columns = zip(*(acceptance_of(name, draft, text).rates for name in names), strict=True)
    rates = [math.fsum(column) / len(names) for column in columns]
    source = f"mean of {', '.join(names)}: none of {model} was measured"
    return Acceptance(tuple(rates), known.spreads["other_model"].value, 0, source)


def given_acceptance(rates: tuple[float, ...]) -> Acceptance:
    """Drafts kept by rates of one's own, of which the last falls on as those before do."""
    return Acceptance(_extended(list(rates)), 0.0, DEEPEST, "given")


def rate_of_length(length: float, depth: int) -> float:
    """Rate at which each draft is kept after the ones before, for a length at a depth [1].

    Solves ``1 + p + p^2 + ... + p^depth = length``.

    Examples
    --------
    >>> round(rate_of_length(1.75, 2), 6)
    0.5
    """
    return _falling(1.0, length - 1.0, depth)


def _measured(entry: AcceptanceEntry, spread: float) -> Acceptance:
    return Acceptance(rates_of(entry.lengths), spread, max(entry.lengths), entry.source)


def rates_of(lengths: Mapping[int, float]) -> tuple[float, ...]:
    """Rates of every depth from the lengths of some.

    No draft is kept more often than the one before: depths that would have it so are left out, as
    single runs scatter. Between two of the rest the rates fall by one ratio; beyond the last, by
    that of all before in the mean.

    Examples
    --------
    >>> [round(rate, 3) for rate in rates_of({1: 1.8, 3: 2.56})[:4]]
    [0.8, 0.476, 0.284, 0.169]
    """
    rates: list[float] = []
    for depth in _concave(lengths):
        before = rates[-1] if rates else 1.0
        steps = depth - len(rates)
        more = lengths[depth] - 1.0 - math.fsum(rates)
        ratio = _falling(before, more, steps)
        rates += [before * ratio**step for step in range(1, steps + 1)]
    return _extended(rates)


def _concave(lengths: Mapping[int, float]) -> list[int]:
    """Depths, rising, from each of which to the next a draft adds less than before."""
    hull: list[tuple[int, float]] = [(0, 1.0)]
    for depth in sorted(lengths):
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(
            hull[-2], (depth, lengths[depth])
        ):
            hull.pop()
        hull.append((depth, lengths[depth]))
    return [depth for depth, _ in hull[1:]]


def _slope(start: tuple[int, float], end: tuple[int, float]) -> float:
    return (end[1] - start[1]) / (end[0] - start[0])


def _falling(first: float, total: float, steps: int) -> float:
    """Ratio q of ``first (q + q^2 + ... + q^steps) = total``, from 0 to 1."""
    if total <= 0.0 or first <= 0.0:
        return 0.0
    low, high = 0.0, 1.0
    if steps == 1:
        return min(total / first, 1.0)
    for _ in range(60):
        middle = (low + high) / 2.0
        reached = first * math.fsum(middle**step for step in range(1, steps + 1))
        low, high = (middle, high) if reached < total else (low, middle)
    return high


def _extended(rates: list[float]) -> tuple[float, ...]:
    """Rates up to the deepest draft."""
    first, last = rates[0], rates[-1]
    ratio = last if len(rates) == 1 else (last / max(first, 1e-9)) ** (1.0 / (len(rates) - 1))
    more = (last * ratio**step for step in range(1, DEEPEST - len(rates) + 1))
    return (*rates[:DEEPEST], *more)


def _bounded(rates: tuple[float, ...], factor: float) -> tuple[float, ...]:
    return tuple(min(rate * factor, 1.0) for rate in rates)
