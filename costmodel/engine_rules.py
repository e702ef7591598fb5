"""What an engine demands of a deployment: its rules as data, asked by whoever looks at one."""

from __future__ import annotations

from costmodel.results import Configuration, Scenario
from presets import Hardware, InputError
from presets.engines import CrossingExchange, ExchangeName, ShapeRule, known_engine, load_engine
from presets.errors import shown
from presets.folders import engine_names


def broken_rules(
    engine: str, precision: str, expert_width: int, gpus: int, ep: int
) -> list[ShapeRule]:
    """Rules of an engine that a worker breaks; parameters are those of `shape_problem`."""
    rules = _rules(engine, precision)
    return [rule for rule in rules if not _holds(rule, expert_width, gpus, ep)]


def shape_problem(
    engine: str, precision: str, expert_width: int, gpus: int, ep: int
) -> tuple[ShapeRule, str] | None:
    """Find the first rule of an engine that a worker breaks; None where it breaks none.

    Parameters
    ----------
    engine, precision : str
    expert_width : int
        Width of a routed expert. [1]
    gpus, ep : int
        Ranks of the worker, and those that share one copy of the experts. [GPU]

    Returns
    -------
    tuple or None
        The rule, and what is wrong, to be read after the name of the field of EP.

    Examples
    --------
    >>> shape_problem("vllm", "fp8", 1536, 8, 1)[1].partition(";")[0]
    '1 over 8 GPUs leaves each rank 192 of the 1536 columns of an expert'
    >>> shape_problem("vllm", "fp8", 1536, 8, 8) is None
    True
    """
    broken = broken_rules(engine, precision, expert_width, gpus, ep)
    if not broken:
        return None
    fitting = [
        str(each)
        for each in range(1, gpus + 1)
        if gpus % each == 0 and not broken_rules(engine, precision, expert_width, gpus, each)
    ]
    rule, title = broken[0], load_engine(engine).title
    if rule.quantity == "ep":
        why = f"cannot be set; {title} spreads experts over all ranks or none"
    else:
        part = f"{expert_width * ep / gpus:g}"
        why = (
            f"over {gpus} GPUs leaves each rank {part} of the {expert_width} columns of an expert; "
            f"{title} needs a multiple of {rule.multiple_of} in {precision}"
        )
    return rule, f"{ep} {why}; give {' or '.join(fitting) or 'other GPUs per worker'}"


def _rules(engine: str, precision: str) -> list[ShapeRule]:
    """Rules of an engine that weights of a precision have to keep."""
    return [rule for rule in load_engine(engine).shape_rules if rule.precision in (None, precision)]


def _holds(rule: ShapeRule, expert_width: int, gpus: int, ep: int) -> bool:
    """Whether a worker keeps a rule."""
    if rule.quantity == "ep":
        return ep in {gpus if each == "ranks" else int(each) for each in rule.among}
    parts = max(gpus // ep, 1)
    return parts == 1 or expert_width % (parts * (rule.multiple_of or 1)) == 0


def check_machine(engine: str, hardware: Hardware) -> None:
    """Refuse a machine that an engine has no kernels for; an engine without a profile runs on any.

    Raises
    ------
    InputError
        Naming the engines that have.
    """
    profile = known_engine(engine)
    if profile is None or _runs_on(engine, hardware):
        return
    others = ", ".join(each for each in engine_names() if _runs_on(each, hardware))
    raise InputError(
        f"engine: {profile.title} has no kernels for {hardware.name} "
        f"({hardware.kernel_profile}); valid: {others or 'none'}"
    )


def _runs_on(engine: str, hardware: Hardware) -> bool:
    return hardware.kernel_profile in load_engine(engine).runs_on.kernel_profiles


EXCHANGES: dict[str, str] = {
    "deepep_low_latency": "low_latency",
    "deepep_normal": "normal",
    "all_gather": "gather",
}
"""Field of `WorkerArrays` that says whether a worker may run each kernel across domains."""


def exchange_of(engine: str, exchange: str | None = None) -> dict[str, bool]:
    """Fields of `WorkerArrays` that say what an engine may send tokens across NVLink domains with.

    One kernel where it is named, else all that the engine has.

    >>> [name for name, has in exchange_of("vllm").items() if has]
    ['low_latency', 'normal', 'fp8_dispatch', 'two_batches']
    """
    kernels = kernels_of(engine)
    profile = _exchange(engine)
    return {
        **{
            field: name in kernels and exchange in (None, name) for name, field in EXCHANGES.items()
        },
        "fp8_dispatch": profile is not None and profile.fp8_dispatch,
        "fp4_combine": profile is not None and profile.fp4_combine,
        "two_batches": profile is not None and profile.two_batch_overlap is not None,
    }


def kernels_of(engine: str) -> tuple[ExchangeName, ...]:
    """List the kernels across NVLink domains that an engine has; NCCL's where nothing is known.

    >>> kernels_of("vllm"), kernels_of("another")
    (('deepep_low_latency', 'deepep_normal'), ('all_gather',))
    """
    profile = _exchange(engine)
    return ("all_gather",) if profile is None else profile.kernels


def _exchange(engine: str) -> CrossingExchange | None:
    known = known_engine(engine)
    return known.exchange if known else None


def check_engine_rules(configuration: Configuration, scenario: Scenario) -> None:
    """Refuse a configuration whose engine does not start.

    Raises
    ------
    InputError
        Naming the field, its value and what would be valid.
    """
    found = shape_problem(
        scenario.engine,
        scenario.precision,
        scenario.model.moe.intermediate,
        configuration.decode_gpus_per_worker,
        configuration.decode_ep,
    )
    if found is not None:
        raise InputError(f"decode_ep {found[1]}")
    check_exchange(configuration, scenario.engine)


def check_exchange(configuration: Configuration, engine: str) -> None:
    """Refuse a kernel across NVLink domains that an engine does not have.

    Raises
    ------
    InputError
        Naming the field, its value and what would be valid.
    """
    exchange, kernels = configuration.exchange, kernels_of(engine)
    if exchange not in (None, *kernels):
        raise InputError(
            f"exchange {shown(exchange)} is not valid; {engine} has {', '.join(kernels)}"
        )


def needed_environment(
    engine: str, kv_heads: int | None, prefill_ranks: int, decode_ranks: int
) -> dict[str, str]:
    """Tell what both roles must have in their environment.

    Parameters
    ----------
    engine : str
    kv_heads : int or None
        Of grouped attention; None for one that has no heads in its cache. [1]
    prefill_ranks, decode_ranks : int
        Ranks that attention is split over. [GPU]

    Examples
    --------
    >>> needed_environment("sglang", 4, 4, 8), needed_environment("sglang", None, 4, 8)
    ({'SGLANG_DISAGG_STAGING_BUFFER': '1'}, {})
    """
    if kv_heads is None or prefill_ranks == decode_ranks:
        return {}
    needed: dict[str, str] = {}
    for rule in load_engine(engine).environment_rules:
        needed |= rule.environment
    return needed
