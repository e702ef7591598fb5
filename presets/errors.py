"""The exceptions that every room raises for what it expects to go wrong.

MoeplanError
├── InputError              bad input (also a ValueError): the command exits 2
│   ├── UnknownNameError    a name that no preset has
│   ├── DataFileError       a file that does not say what it must
│   └── MissingPackageError a library that is not installed (also an ImportError)
├── InfeasibleError         nothing meets the limits: the command exits 1
└── ShadowedError           moeplan's packages are not its own (also an ImportError): exits 2
"""

from collections.abc import Iterable
from pathlib import Path

LONGEST_SHOWN = 60
"""Longest value of a user that a message repeats. [character]"""

LONGEST_PATH = 300
"""Longest name of a file that a message repeats. [character]"""

LONGEST_MESSAGE = 1000
"""Longest message; what is longer loses its middle. [character]"""


LONGEST_LIST = 400
"""Longest list of what is valid; where one is meant it stands for what is longer. [character]"""


class MoeplanError(Exception):
    """Any failure that moeplan foresees; its text is one sentence for the reader.

    Whatever the text repeats of a user's, it is one line that a terminal only prints.
    """

    def __init__(self, text: str) -> None:
        super().__init__(shortened(escaped(" ".join(text.split())), LONGEST_MESSAGE))


class InputError(MoeplanError, ValueError):
    """Bad input: the text names the field, its value and what is valid."""


class UnknownNameError(InputError):
    """A name that no preset has: the text offers the closest and lists the valid ones."""


class DataFileError(InputError):
    """A malformed file: the text names the path and, where known, the line and the place.

    Parameters
    ----------
    problem : str
        What is wrong and what is valid.
    path : Path or str, optional
        The file.
    line : int, optional
        Line in the file, counted from 1.
    column : str, optional
        Column of a table.
    key : str, optional
        Key of a file of keys and values.
    """

    def __init__(
        self,
        problem: str,
        path: Path | str = "",
        line: int | None = None,
        column: str | None = None,
        key: str | None = None,
    ) -> None:
        self.path, self.line, self.column, self.key = path, line, column, key
        place = [shortened(str(path), LONGEST_PATH)] if path else []
        place += [f"line {line}"] if line is not None else []
        place += [f"column {shortened(column)}"] if column is not None else []
        place += [f"key {shortened(key)}"] if key is not None else []
        super().__init__(f"{', '.join(place)}: {problem}" if place else problem)


class MissingPackageError(InputError, ImportError):
    """What was asked for needs a library that is not installed: the text says how to install it."""


class InfeasibleError(MoeplanError):
    """No configuration meets the limits: the text names the limit that failed."""


class ShadowedError(MoeplanError, ImportError):
    """A package of moeplan is hidden by another of its name: the text says how to get out."""


class InputWarning(UserWarning):
    """Input that is valid but hardly meant: the text says what was understood."""


def shown(value: object) -> str:
    """Write a value into a message, short and on one line.

    Examples
    --------
    >>> shown("b200")
    "'b200'"
    >>> shown("x" * 1000)[-26:]
    "xxxxxxx' (1002 characters)"
    """
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write a whole number of thousands of digits
        text = "a number too long to print"
    return text if len(text) <= LONGEST_SHOWN else f"{shortened(text)} ({len(text)} characters)"


def escaped(text: str) -> str:
    r"""Write what a terminal would obey, or not show, as its escape sequence; lines stay lines.

    Whatever of a user's is printed comes through here: errors, tables, and what is piped.

    Examples
    --------
    >>> escaped("\x1b[31mred")
    '\\x1b[31mred'
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text
    )


def shortened(text: str, longest: int = LONGEST_SHOWN) -> str:
    """Take the middle out of a text that is too long.

    Examples
    --------
    >>> shortened("abcdefghijklmnopqrstuvwxyz", 11)
    'abcd...wxyz'
    """
    if len(text) <= longest:
        return text
    head = (longest - 3 + 1) // 2
    return f"{text[:head]}...{text[len(text) - (longest - 3 - head) :]}"


def closest_hint(name: object, valid: Iterable[str]) -> str:
    """Say which valid name is meant and which there are.

    Examples
    --------
    >>> closest_hint("gb20", ["b200", "gb200"])
    "did you mean 'gb200'? Valid: b200, gb200"
    >>> closest_hint("tpu", ["b200", "gb200"])
    'valid: b200, gb200'
    """
    import difflib  # only errors need it

    names = sorted(valid)
    given = name[:LONGEST_SHOWN].lower() if isinstance(name, str) else ""
    # The start of a name means that name, however long its tail.
    near = [name for name in names if len(given) > 2 and name.startswith(given)]
    near = near or difflib.get_close_matches(given, names, n=1)
    listed = ", ".join(names)
    if near:
        valid = f" Valid: {listed}" if len(listed) <= LONGEST_LIST else ""
        return f"did you mean {near[0]!r}?{valid}"
    return f"valid: {shortened(listed, LONGEST_LIST)}"


def unknown_name(what: str, name: object, valid: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not among the valid ones.

    Parameters
    ----------
    what : str
        The sort of thing that is named, such as "hardware".
    name : object
        The name as given.
    valid : iterable of str
        The names that exist.

    Examples
    --------
    >>> str(unknown_name("hardware", "gb20", ["b200", "gb200"]))
    "unknown hardware 'gb20'; did you mean 'gb200'? Valid: b200, gb200"
    """
    return UnknownNameError(f"unknown {what} {shown(name)}; {closest_hint(name, valid)}")
