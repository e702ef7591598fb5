"""The precision that a checkpoint has, module by module, and those that it could be given."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from fnmatch import translate
from pathlib import Path
from typing import Any, NamedTuple

from presets.errors import DataFileError, escaped, shown
from presets.precision import Precision, Precisions

MOST_PATTERNS = 500
"""Most entries of a list of modules that are patterns, but for a star at the end. [1]"""

LONGEST_PATTERN = 200
"""Longest such entry. [character]"""


class Format(NamedTuple):
    """A number format of weights."""

    title: str
    precision: str  # its name in `Precisions`
    bits: float  # of a weight, scales included [bit]
    multiplied: float | None = None  # what experts multiply; None as their weights [bit]


BF16 = Format("BF16", "bf16", 16.0)
NVFP4 = Format("NVFP4, one FP8 scale per 16 weights", "fp4", 4.5)
MXFP4 = Format("MXFP4, one 8-bit scale per 32 weights", "fp4", 4.25, 8.25)
FP8 = Format("FP8", "fp8", 8.0)
FP8_BLOCKS = Format("FP8, one 32-bit scale per 128 x 128", "fp8", 8.00195)

ALGORITHMS = {
    "NVFP4": NVFP4,
    "W4A16_NVFP4": NVFP4._replace(title="NVFP4 weights, multiplied in BF16", multiplied=16.0),
    "MXFP4": MXFP4,
    "MXFP8": Format("MXFP8, one 8-bit scale per 32 weights", "fp8", 8.25),
    "FP8": FP8,
    "FP8_PB_WO": FP8_BLOCKS,
    "FP8_PER_CHANNEL_PER_TOKEN": FP8,
    "W4A16_AWQ": Format("INT4, one 16-bit scale per 128 weights", "int4", 4.125, 16.0),
}
"""Formats by the names that `quant_algo` has for them."""

MIXED = "MIXED_PRECISION"

METHODS = ("fp8", "mxfp4", "modelopt", "compressed-tensors", "gptq", "awq")
"""Values of `quant_method` that are read."""


class Module(NamedTuple):
    """A module that stands for a part of the model in one layer."""

    part: str  # field of `Precision`
    name: str  # without what stands before ``layers.``
    weights: int  # of that part in that layer [1]


class Checkpoint(NamedTuple):
    """The precision of a checkpoint, None where nothing is said, and all that are offered."""

    name: str | None
    precisions: Precisions


def read_checkpoint(
    config: Mapping[str, Any],
    beside: Mapping[str, Any] | None,
    modules: Iterable[Module],
    path: Path,
) -> Checkpoint:
    """Read how a checkpoint is quantised.

    A quantised checkpoint is offered as it is, in BF16, and in FP4 where it is wider or INT4: what
    is narrow is not made wider but for BF16. One that says nothing is offered at all.

    Parameters
    ----------
    config : mapping
        Content of the config.json.
    beside : mapping or None
        Content of the ``hf_quant_config.json`` beside it.
    modules : iterable of Module
        What stands for each part.
    path : Path
        Of the config.json, for messages.

    Raises
    ------
    DataFileError
        Where the quantisation is malformed or not known.
    """
    scheme = _scheme(config, beside, path)
    if scheme is None:
        return Checkpoint(
            None, Precisions(fp4=_assumed(NVFP4), fp8=_assumed(FP8_BLOCKS), bf16=_assumed(BF16))
        )
    found: defaultdict[str, list[tuple[Format, int]]] = defaultdict(list)
    for module in modules:
        found[module.part].append((scheme.format_of(module), module.weights))
    experts = max(found["experts"], key=lambda each: each[1])[0]
    own = _own(experts, found, path)
    offered = {"bf16": _assumed(BF16), experts.precision: own}
    if experts.precision in ("fp8", "int4"):
        offered["fp4"] = _assumed(NVFP4)
    return Checkpoint(experts.precision, Precisions.model_validate(offered))


def _own(
    experts: Format,
    found: Mapping[str, list[tuple[Format, int]]],
    path: Path,
) -> Precision:
    """Average the bits of each part over its weights."""
    bits = {
        part: round(sum(form.bits * weights for form, weights in each) / sum(w for _, w in each), 6)
        for part, each in found.items()
    }
    narrow = any(form != BF16 for each in found.values() for form, _ in each)
    return Precision(
        source=escaped(f"quantization of {path}"),
        date=date.today(),
        kind="datasheet",
        note=f"experts in {experts.title}",
        experts=bits["experts"],
        shared_expert=bits.get("shared_expert", BF16.bits),
        dense=bits.get("dense", BF16.bits),
        attention=bits["attention"],
        attention_output=bits["attention_output"],
        router=16,
        embedding=16,
        lm_head=16,
        draft=bits.get("draft", BF16.bits),
        kv_cache=8 if narrow else 16,
        expert_input=experts.multiplied,
    )


def _assumed(form: Format) -> Precision:
    """Lay out a precision as common checkpoints have it: BF16 around the layers.

    NVFP4 is laid out as NVIDIA does for DeepSeek R1: attention but for its last projection and
    draft layers stay in BF16.
    """
    wide = BF16.bits if form == NVFP4 else form.bits
    return Precision(
        source="Layout of common checkpoints, whichever the config.json is of",
        date=date(2026, 11, 23),
        kind="assumed",
        note=form.title if form != BF16 else "BF16 throughout",
        experts=form.bits,
        shared_expert=form.bits,
        dense=form.bits,
        attention=wide,
        attention_output=form.bits,
        router=16,
        embedding=16,
        lm_head=16,
        draft=wide,
        kv_cache=16 if form == BF16 else 8,
    )


class Scheme:
    """Which module has which format.

    Attributes
    ----------
    base : Format
        Of what is in no list.
    """

    def __init__(
        self,
        base: Format,
        listed: Mapping[str, Format],
        excluded: "Patterns",
        experts: Format | None,
    ) -> None:
        self.base, self._listed, self._excluded, self._experts = base, listed, excluded, experts

    def format_of(self, module: Module) -> Format:
        """Tell the format of a module."""
        parts = module.name.split(".")
        for end in range(len(parts), 0, -1):  # a module that holds it stands for it
            if form := self._listed.get(".".join(parts[:end])):
                return form
        if self._experts is not None and module.part in ("experts", "draft"):
            return self._experts
        return BF16 if self._excluded.match(module.name) else self.base


def _scheme(
    config: Mapping[str, Any], beside: Mapping[str, Any] | None, path: Path
) -> Scheme | None:
    inner = config.get("text_config")
    places = [config.get("quantization_config")]
    places += [inner.get("quantization_config")] if isinstance(inner, dict) else []
    places += [beside.get("quantization")] if beside else []
    given = next((place for place in places if place), None)
    if given is None:
        return None
    if not isinstance(given, dict):
        problem = f"is {shown(given)}; it must be keys and values"
        raise DataFileError(problem, path, key="quantization_config")
    mixed = given.get("quant_algo") == MIXED
    listed = _listed(given, path)
    # In a mixed checkpoint the lists of modules say what another method left as it was.
    excluded = Patterns([] if mixed else _excluded(given, path), path)
    # Nothing but experts is ever in that format.
    narrow = given.get("quant_method") == "mxfp4" or config.get("expert_dtype") == "fp4"
    experts = MXFP4 if narrow else None
    return Scheme(_base(given, mixed, path), listed, excluded, experts)


def _base(given: Mapping[str, Any], mixed: bool, path: Path) -> Format:
    """Tell the format of what is in no list."""
    algorithm, method = given.get("quant_algo"), given.get("quant_method")
    if mixed:
        return _fp8(given) if method == "fp8" else BF16
    if algorithm is not None:
        return _algorithm(algorithm, path)
    if method == "fp8":
        return _fp8(given)
    if method == "mxfp4":
        return BF16
    if method in ("gptq", "awq"):
        return _integer(given.get("bits"), given.get("group_size"), path)
    if method in ("compressed-tensors", "modelopt"):
        return _group(given, path)
    problem = f"is {shown(method)}, which is not read; valid: {', '.join(METHODS)}"
    raise DataFileError(problem, path, key="quantization_config.quant_method")


def _algorithm(name: object, path: Path) -> Format:
    form = ALGORITHMS.get(name) if isinstance(name, str) else None
    if form is None:
        problem = f"{shown(name)} is not read; valid: {', '.join((*ALGORITHMS, MIXED))}"
        raise DataFileError(problem, path, key="quant_algo")
    return form


def _fp8(given: Mapping[str, Any]) -> Format:
    return FP8_BLOCKS if given.get("weight_block_size") == [128, 128] else FP8


def _integer(bits: object, group: object, path: Path) -> Format:
    if bits != 4 or not isinstance(group, int) or group < 1:
        problem = (
            f"has {shown(bits)} bits in groups of {shown(group)}; only 4 bits in groups are read"
        )
        raise DataFileError(problem, path, key="quantization_config")
    return Format(f"INT4, one 16-bit scale per {group} weights", "int4", 4.0 + 16.0 / group, 16.0)


def _group(given: Mapping[str, Any], path: Path) -> Format:
    """Read the one group of a checkpoint of compressed-tensors."""
    groups = given.get("config_groups")
    found = list(groups.values()) if isinstance(groups, dict) else []
    weights = found[0].get("weights") if found and isinstance(found[0], dict) else None
    if not isinstance(weights, dict):
        raise DataFileError("has no weights", path, key="quantization_config.config_groups")
    bits, size = weights.get("num_bits"), weights.get("group_size")
    if weights.get("type") == "int":
        return _integer(bits, size, path)
    if bits == 4:
        return MXFP4 if size == 32 else NVFP4
    if bits == 8:
        return FP8_BLOCKS if weights.get("strategy") == "block" else FP8
    problem = f"has weights of {shown(bits)} bits; only 4 and 8 are read"
    raise DataFileError(problem, path, key="quantization_config.config_groups")


def _listed(given: Mapping[str, Any], path: Path) -> dict[str, Format]:
    """Read the modules that have a format of their own."""
    layers = given.get("quantized_layers") or {}
    if not isinstance(layers, dict):
        raise DataFileError("must be keys and values", path, key="quantized_layers")
    return {
        _inside(name): _algorithm(each.get("quant_algo"), path)
        for name, each in layers.items()
        if isinstance(each, dict)
    }


def _excluded(given: Mapping[str, Any], path: Path) -> list[str]:
    """Read the modules that are not quantised."""
    names: list[str] = []
    for key in ("ignore", "exclude_modules", "modules_to_not_convert", "ignored_layers"):
        listed = given.get(key) or []
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise DataFileError(f"is {shown(listed)}; it must be a list of text", path, key=key)
        names += listed
    return names


_BEFORE_LAYERS = re.compile(r"^(?:language_model\.|model\.|backbone\.)+")


def _inside(name: str) -> str:
    """Take off what stands before the language model's own modules."""
    return _BEFORE_LAYERS.sub("", name)


class Patterns:
    """Modules by name: of a module or one that holds it, with stars, or ``re:`` and an expression.

    Raises
    ------
    DataFileError
        Where they are more, longer or harder to match than checkpoints have them.
    """

    def __init__(self, names: Iterable[str], path: Path) -> None:
        self._exact: set[str] = set()
        self._starts: set[str] = set()
        patterns: set[str] = set()
        for name in names:
            plain = name if name.startswith("re:") else _inside(name)
            if not re.search(r"[*?\[]|^re:", plain):
                self._exact.add(plain)
            elif re.fullmatch(r"[^*?\[]+\*", plain) and not plain.startswith("re:"):
                self._starts.add(plain[:-1])
            else:
                patterns.add(plain)
        if len(patterns) > MOST_PATTERNS:
            problem = f"{len(patterns)} patterns of modules; at most {MOST_PATTERNS} are read"
            raise DataFileError(problem, path, key="quantization_config")
        self._expressions = [_expression(pattern, path) for pattern in sorted(patterns)]

    def match(self, name: str) -> bool:
        """Tell whether a module is among them."""
        parts = name.split(".")
        for start in range(len(parts)):
            tail = ".".join(parts[start:])
            if any(tail[:end] in self._starts for end in range(1, len(tail) + 1)):
                return True
            if any(
                ".".join(parts[start:end]) in self._exact
                for end in range(start + 1, len(parts) + 1)
            ):
                return True
        return any(expression.match(f"model.{name}") for expression in self._expressions)


_SLOW = re.compile(r"\)[*+{]|\\[1-9]|\(\?")


def _expression(pattern: str, path: Path) -> re.Pattern[str]:
    """Compile one pattern; those that a short name could keep busy for long are refused."""
    own = pattern.removeprefix("re:")
    hard = pattern != own and (_SLOW.search(own) or len(re.findall(r"[*+{]", own)) > 3)
    if hard or len(pattern) > LONGEST_PATTERN:
        raise DataFileError(
            f"{shown(pattern)} is not read: a pattern has at most {LONGEST_PATTERN} characters "
            "and three repeats, none of a group",
            path,
            key="quantization_config",
        )
    try:
        # A star may stand for what is before the layers, and a pattern for all that a module holds.
        return re.compile(own) if pattern != own else re.compile(translate(f"*{own}*"))
    except re.error as error:
        raise DataFileError(f"{shown(pattern)}: {error}", path, key="quantization_config") from None
