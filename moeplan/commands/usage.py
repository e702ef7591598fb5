"""What is said of a command line that is none: which option or argument, and what would do."""

from __future__ import annotations

import difflib
from typing import Any

from presets.errors import InputError, shortened, shown


def usage_error(error: Any, context: Any) -> InputError:
    """Say in one sentence what is wrong with a command line, and what would do.

    Parameters
    ----------
    error : Exception
        Of usage. Such have no public class; they are known by ``format_message``.
    context : Context
        Of the command that refuses; it has the command and how it was typed.
    """
    parameter, option = getattr(error, "param", None), getattr(error, "option_name", None)
    known = {name: each for each in context.command.params for name in each.opts}
    if parameter is not None:
        name = parameter.opts[0] if _is_option(parameter) else parameter.metavar
        return InputError(f"{name}: none is given; give {_way(parameter, context)}")
    if option in known:
        if known[option].is_flag:
            return InputError(f"{option}: takes no value; give {option} alone")
        return InputError(f"{option}: has no value; give {_way(known[option], context)}")
    if option is not None:
        near = difflib.get_close_matches(
            option.strip("-"), [each.strip("-") for each in known], 1, 0.65
        )
        meant = f"did you mean '--{near[0]}'? " if near else ""
        listed = f"{context.command_path} --help lists the valid ones"
        return InputError(f"unknown option {shown(option)}; {meant}{listed}")
    path, commands = context.command_path, getattr(context.command, "commands", None)
    if commands:
        valid = ", ".join(sorted(commands))
        return InputError(
            f"{path}: no command is given; give {valid}, as in {path} {min(commands)}"
        )
    problem = " ".join(map(shortened, error.format_message().rstrip(".").split()))
    return InputError(f"{path}: {problem[:1].lower()}{problem[1:]}; {_fewer(context)}")


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _way(parameter: Any, context: Any) -> str:
    """Write a parameter as it is typed."""
    if _is_option(parameter):
        return f"{parameter.opts[0]} {parameter.metavar}"
    pieces = context.command.collect_usage_pieces(context)
    return " ".join([context.command_path, *(piece for piece in pieces if piece != "[OPTIONS]")])


def _fewer(context: Any) -> str:
    """Say what would do where an argument is one too many."""
    parameters = context.command.params
    takes = " ".join(each.metavar for each in parameters if not _is_option(each))
    options = [_way(each, context) for each in parameters if _is_option(each) and each.metavar]
    named = f", or name its option, such as {options[0]}" if options else ""
    return f"it takes {takes or 'none'}; leave it out{named}"
