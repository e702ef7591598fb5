"""What an option is, and how its value is read: from what was given, text or not, and checked.

The checks come with pydantic, which ``--help`` does without: a reader imports them when it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Read = Callable[[str, Any], Any]
"""From the name of an option, for messages, and what was given to its value."""


def read_text(name: str, value: Any) -> Any:
    """Read text that is not blank."""
    from moeplan import numbers  # the checks come with pydantic, which --help does without

    return numbers.text(name, value)


def read_one_of(valid: Sequence[str]) -> Read:
    """Read one of some words."""

    def read(name: str, value: Any) -> Any:
        from moeplan import numbers  # as above

        return numbers.one_of(name, value, valid)

    return read


def read_whole(low: int, high: int, unit: str) -> Read:
    """Read a whole number between two, such as ``8k``."""

    def read(name: str, value: Any) -> Any:
        from moeplan import numbers  # as above

        return numbers.whole_number(name, value, low, high, unit)

    return read


def read_positive(unit: str) -> Read:
    """Read a number above 0 in a unit."""

    def read(name: str, value: Any) -> Any:
        from moeplan import numbers  # as above

        return numbers.positive_number(name, value, unit)

    return read


def read_ttft(name: str, value: Any) -> Any:
    """Read a limit on TTFT [s], such as ``500ms``."""
    from moeplan import numbers  # as above

    return numbers.ttft_limit(name, value)


def read_percentile(name: str, value: Any) -> Any:
    """Read a percentile over requests."""
    from moeplan import numbers  # as above

    return numbers.percentile(name, value)


def read_acceptance(name: str, value: Any) -> Any:
    """Read chances that drafts are kept, by depth."""
    from moeplan import numbers  # as above

    return numbers.acceptance(name, value)


def read_share(name: str, value: Any) -> Any:
    """Read a share of 1."""
    from moeplan import numbers  # as above

    return numbers.share(name, value)


def read_price(name: str, value: Any) -> Any:
    """Read a price [USD/h], with a note where it is far from what is paid."""
    from moeplan import numbers  # as above

    return numbers.noted_price(name, value)


def read_price_set(name: str, value: Any) -> Any:
    """Read a dated set of prices."""
    from moeplan import numbers  # as above
    from presets import price_set_names

    return numbers.one_of(name, value, price_set_names())


def read_switch(name: str, value: Any) -> Any:
    """Read yes or no."""
    from moeplan import numbers  # as above

    return numbers.switch(name, value)


def read_cluster_file(name: str, value: Any) -> Any:
    """Read a cluster: its file, what stands in one, or a cluster itself."""
    from moeplan import numbers  # as above
    from presets import ClusterPools, ClusterSpec, read_cluster
    from presets.files import validated

    if isinstance(value, ClusterSpec | ClusterPools):
        return value
    if isinstance(value, Mapping):
        return validated(ClusterPools if "pools" in value else ClusterSpec, value)
    return read_cluster(numbers.file_name(name, value))


def read_machine(name: str, value: Any) -> Any:
    """Read a machine: its file, what stands in one, or a machine itself."""
    from moeplan import numbers  # as above
    from presets import Hardware, load_machine
    from presets.machine_file import machine_of

    if isinstance(value, Hardware):
        return value
    if isinstance(value, Mapping):
        return machine_of(value)
    return load_machine(numbers.file_name(name, value))


def read_file(name: str, value: Any) -> Any:
    """Read the name of a file."""
    from moeplan import numbers  # as above

    return numbers.file_name(name, value)


class Option(NamedTuple):
    """What is known of one option beside its type and default.

    Attributes
    ----------
    help : str
        One sentence, for people.
    metavar : str
        What stands for its value; empty for a switch.
    read : callable
        Checks what was given, as text or as a value, and makes it a value.
    key : str
        Under which the question of an answer has it, with its unit where that is no count.
    """

    help: str
    metavar: str
    read: Read
    key: str
