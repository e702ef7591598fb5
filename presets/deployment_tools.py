"""What deploys engines beside their own commands: Dynamo, and the job files of srtctl."""

from functools import lru_cache
from typing import Literal

from presets.facts import Fact, Provenance, Text
from presets.files import read_preset
from presets.folders import DATA
from presets.record import Record

DEPLOYMENT = DATA / "deployment"


class DynamoRelease(Provenance):
    """One release of Dynamo, and the engine releases that its images ship."""

    name: Text
    engines: dict[str, Text]


class Architecture(Provenance):
    """Processor of the servers of a machine, as Kubernetes names it."""

    value: Literal["amd64", "arm64"]


class Dynamo(Record):
    """Dynamo on Kubernetes.

    Attributes
    ----------
    image : str
        Container repository of the TensorRT-LLM runtime; tags are releases.
    default_release : str
    aiperf_release : str
        Release of the load generator whose options are written.
    releases : tuple of DynamoRelease
        The newest first.
    limits : dict of Fact
        What admission refuses beyond.
    architectures : dict of Architecture
        By machine.
    """

    image: Text
    default_release: Text
    aiperf_release: Text
    releases: tuple[DynamoRelease, ...]
    limits: dict[str, Fact]
    architectures: dict[str, Architecture]

    def shipping(self, engine: str, release: str) -> DynamoRelease | None:
        """Find the release whose image ships an engine release; None where none is known to."""
        return next((each for each in self.releases if each.engines.get(engine) == release), None)


class JobFile(Provenance):
    """The recipe file of srtctl: its keys by section, and what is there without them.

    Attributes
    ----------
    release : str
        Of srtctl.
    default_dynamo : str
        Release of Dynamo that is installed unless the file says otherwise.
    default_gpus_per_node : int
        [GPU]
    sections : dict
        Kind of each key, such as "whole?", by section; the file itself is "".
    """

    release: Text
    default_dynamo: Text
    default_gpus_per_node: int
    sections: dict[str, dict[str, Text]]


@lru_cache
def load_dynamo() -> Dynamo:
    """Load what is known of Dynamo.

    Examples
    --------
    >>> load_dynamo().architectures["gb200"].value
    'arm64'
    """
    return read_preset(DEPLOYMENT / "dynamo.toml", Dynamo)


@lru_cache
def load_srtctl() -> JobFile:
    """Load the keys that srtctl reads.

    Examples
    --------
    >>> load_srtctl().sections["dynamo"]["install"]
    'flag'
    """
    return read_preset(DEPLOYMENT / "srtctl.toml", JobFile)
