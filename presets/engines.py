"""Inference engines: which release takes which options, and which image ships it."""

import datetime
import re
from functools import lru_cache
from typing import Annotated, Literal, get_args

from pydantic import Field

from presets.errors import InputError, UnknownNameError, shown, unknown_name
from presets.facts import Fact, Provenance, Text
from presets.files import read_preset
from presets.folders import data_files, engine_names
from presets.record import Record

ExchangeName = Literal["deepep_low_latency", "deepep_normal", "all_gather"]
"""Kernels that carry the experts' tokens across NVLink domains."""

EXCHANGE_NAMES: tuple[ExchangeName, ...] = get_args(ExchangeName)

RELEASE = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:rc(\d+))?(?:\.post(\d+))?", re.ASCII)
"""A release as PyPI writes it: 1.3.0rc29, 0.5.10.post1."""


class EngineReleases(Provenance):
    """Releases that take the same keys and options.

    Attributes
    ----------
    first, last : str, str or None
        The range, both included; without `last` it is open.
    traits : dict
        What differs between ranges, such as the name of an option.
    moe_backends : tuple of str
        MoE back-ends that can be chosen.
    """

    first: Text
    last: Text | None = None
    traits: dict[str, Text]
    moe_backends: tuple[Text, ...]


class EarlyReleases(Provenance):
    """Releases whose steps take longer than those of the releases since.

    Attributes
    ----------
    release_before : str
        First release that is not early.
    runs_before : date
        Day from which on a run whose release is not known is not taken as early.
    """

    release_before: Text
    runs_before: datetime.date


class MoeBackend(Provenance):
    """Which MoE back-end serves which experts.

    Attributes
    ----------
    role : {"prefill", "decode"}
    expert_format, kernel_profile, attention : str
        Of the weights, of the machine, of the worker.
    narrowest_ep : int
        From this width on. [GPU]
    backend : str
    """

    role: Literal["prefill", "decode"]
    expert_format: Literal["nvfp4", "mxfp4", "fp8", "bf16"]
    kernel_profile: Text
    attention: Literal["tp", "dp"]
    narrowest_ep: int
    backend: Text


class ShapeRule(Provenance):
    """What an engine demands of the shape of a worker.

    Attributes
    ----------
    name : str
    quantity : {"expert_part", "ep"}
        What is judged: the width of what each rank holds of a split expert, or EP. [1]
    precision : str or None
        For which it holds; None for all.
    multiple_of : int or None
        What the quantity must be a multiple of. [1]
    among : tuple of str
        What the quantity must be one of: numbers, or "ranks" of the worker.
    """

    name: Text
    quantity: Literal["expert_part", "ep"]
    precision: Literal["fp4", "fp8", "bf16"] | None = None
    multiple_of: int | None = None
    among: tuple[Text, ...] = ()


class EnvironmentRule(Provenance):
    """What both roles must have in their environment, and when.

    Attributes
    ----------
    name : str
    condition : {"kv_heads_split_unlike"}
        Prefill and decode split the KV heads of grouped attention over unlike many ranks.
    environment : dict
    """

    name: Text
    condition: Literal["kv_heads_split_unlike"]
    environment: dict[str, Text]


class EngineMachines(Provenance):
    """Machines that an engine has kernels for, by kernel profile."""

    kernel_profiles: tuple[Text, ...]


class CrossingExchange(Provenance):
    """How an engine carries the experts' tokens across NVLink domains.

    Attributes
    ----------
    kernels : tuple of str
        Of `EXCHANGE_NAMES`: those that it has.
    fp8_dispatch : bool
        Whether the input of FP8 experts is quantised before it is sent, not where it arrives.
    fp4_combine : bool
        Whether its low-latency kernels return the results of FP4 experts in FP4, not in BF16.
    two_batch_overlap : str or None
        Option with which a decode step runs as two half batches, one of which computes while
        low-latency kernels exchange the other's tokens; None where the engine has none.
    """

    kernels: tuple[ExchangeName, ...]
    fp8_dispatch: bool
    fp4_combine: bool
    two_batch_overlap: Text | None = None


class HandOver(Provenance):
    """How an engine sends a KV cache to another worker.

    Attributes
    ----------
    page_tokens : int
        Of each layer so many at once. [token]
    """

    page_tokens: Annotated[int, Field(ge=1, le=1_000_000)]


class EngineOptions(Provenance):
    """Names that an engine takes, as options or as keys of its file."""

    names: tuple[Text, ...]


class Engine(Record):
    """One engine.

    Attributes
    ----------
    name, title : str
        Name of the preset, and the name in print.
    runs_on : EngineMachines
        Which machines it has kernels for.
    default_release : str
        What is written for where nothing else is said; blank for an engine without recipes, as are
        image and tag.
    slots_besides_experts : bool
        Whether its recipes give the expert slots beyond one for each expert, not all of them.
    cache_as_written : bool
        Whether it gives a request memory as its cache is written, and puts it off where none is
        left; else room for its whole length from the start.
    image, tag : str
        Container repository, and its tag with "{release}" in it.
    releases : tuple of EngineReleases
        The ranges that are known, oldest first.
    early : EarlyReleases or None
        None where none are known.
    settings : dict of Fact
        What recipes set besides the configuration.
    moe_backends : tuple of MoeBackend
        Choices, the widest EP last.
    shape_rules : tuple of ShapeRule
        Asked by search, prediction, recipes and their check alike.
    environment_rules : tuple of EnvironmentRule
    exchange : CrossingExchange or None
        None gathers all tokens by NCCL, which every engine has.
    hand_over : HandOver or None
        None packs the cache of each layer before it is sent.
    refused : dict
        Options that it no longer takes, and what to give instead.
    options : EngineOptions or None
        Names that the newest range takes.
    """

    name: Text
    title: Text
    runs_on: EngineMachines
    slots_besides_experts: bool = False
    cache_as_written: bool = False
    default_release: str = ""
    image: str = ""
    tag: str = ""
    releases: tuple[EngineReleases, ...] = ()
    early: EarlyReleases | None = None
    settings: dict[str, Fact] = Field(default_factory=dict)
    moe_backends: tuple[MoeBackend, ...] = ()
    shape_rules: tuple[ShapeRule, ...] = ()
    environment_rules: tuple[EnvironmentRule, ...] = ()
    exchange: CrossingExchange | None = None
    hand_over: HandOver | None = None
    refused: dict[str, Text] = Field(default_factory=dict)
    options: EngineOptions | None = None

    @property
    def option_names(self) -> tuple[str, ...]:
        """Names that the newest range takes."""
        return () if self.options is None else self.options.names

    def releases_of(self, release: str) -> EngineReleases:
        """Find the range that a release belongs to.

        Raises
        ------
        InputError
            Where it is no release, or belongs to no range that is known.
        """
        number = release_number(release)
        for known in self.releases:
            upper = known.last is None or number <= release_number(known.last, after=True)
            if release_number(known.first) <= number and upper:
                return known
        ranges = ", ".join(
            f"{known.first} to {known.last}" if known.last else f"{known.first} and later"
            for known in self.releases
        )
        raise InputError(f"{self.title} {shown(release)} is not known; valid: {ranges}")

    def is_early(self, release: str | None, run: datetime.date | None) -> bool:
        """Tell whether a run was of an early release, by its release or else by its day.

        Examples
        --------
        >>> load_engine("trtllm").is_early("1.1.0rc2.post2", None)
        True
        >>> load_engine("trtllm").is_early(None, None)
        False
        """
        if self.early is None:
            return False
        if release is not None and is_release(release):
            return release_number(release) < release_number(self.early.release_before)
        return run is not None and run < self.early.runs_before

    def moe_backend(
        self, role: str, expert_format: str, kernel_profile: str, attention: str, ep: int
    ) -> str:
        """Choose the MoE back-end of a worker.

        Raises
        ------
        InputError
            Where none serves such experts.
        """
        fitting = [
            choice.backend
            for choice in self.moe_backends
            if (choice.role, choice.expert_format, choice.kernel_profile, choice.attention)
            == (role, expert_format, kernel_profile, attention)
            and choice.narrowest_ep <= ep
        ]
        if not fitting:
            raise InputError(
                f"precision: {self.title} has no MoE back-end for {expert_format} on "
                f"{kernel_profile}"
            )
        return fitting[-1]


def is_release(text: str) -> bool:
    """Tell whether a text is a release, as `release_number` takes it."""
    return len(text) <= 40 and RELEASE.fullmatch(text) is not None


def release_number(release: str, after: bool = False) -> tuple[int, ...]:
    """Turn a release into a number that orders releases.

    Parameters
    ----------
    release : str
        Such as "1.3.0rc29".
    after : bool
        Stand behind its post-releases as well.

    Raises
    ------
    InputError
        Where it is no release.

    Examples
    --------
    >>> release_number("1.3.0rc9") < release_number("1.3.0rc29") < release_number("1.3.0")
    True
    >>> release_number("1.2.0rc6.post1") <= release_number("1.2.0rc6", after=True)
    True
    """
    match = RELEASE.fullmatch(release) if len(release) <= 40 else None
    if match is None:
        raise InputError(f"release {shown(release)} is not valid; give one, such as 1.3.0rc29")
    major, minor, patch, candidate, post = match.groups()
    last = 10**9
    return (
        int(major),
        int(minor),
        int(patch),
        last if candidate is None else int(candidate),
        last if after else int(post or 0),
    )


@lru_cache
def load_engine(name: str) -> Engine:
    """Load an engine by name.

    Raises
    ------
    UnknownNameError
        Where no engine has the name.

    Examples
    --------
    >>> load_engine("trtllm").releases_of("1.3.0rc29").traits["depth_key"]
    'max_draft_len'
    """
    if name not in engine_names():
        raise unknown_name("engine", name, engine_names())
    return read_preset(data_files("engines")[name], Engine)


def known_engine(name: str) -> Engine | None:
    """Load an engine, where one of that name is known.

    >>> known_engine("vllm").title, known_engine("ours")
    ('vLLM', None)
    """
    try:
        return load_engine(name)
    except UnknownNameError:
        return None
