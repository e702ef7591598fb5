"""Configurations that no engine could start, refused in one sentence."""

from __future__ import annotations

from costmodel.results import Case, Configuration
from presets import ClusterSpec, InputError, Model
from presets.drafts import draft_model


def check_shape(
    configuration: Configuration,
    model: Model,
    cluster: ClusterSpec,
    prefill_cluster: ClusterSpec | None = None,
) -> None:
    """Refuse a configuration that no engine could start.

    Its prefill workers stand on `prefill_cluster`; None puts both roles on one cluster.

    Raises
    ------
    InputError
        Naming the field, its value and what would be valid.
    """
    if configuration.is_aggregated and prefill_cluster is not None:
        raise InputError(
            f"prefill_sku {prefill_cluster.sku} is not valid in aggregated serving, whose workers "
            "do both on one machine; leave it out"
        )
    _check_room(configuration, cluster, prefill_cluster)
    gpus, ep = configuration.decode_gpus_per_worker, configuration.decode_ep
    prefill = max(configuration.prefill_gpus_per_worker // configuration.prefill_stages, 1)
    problem = (
        experts_problem(model, gpus, ep, configuration.eplb_slots)
        or heads_problem(model, "decode", gpus, configuration.decode_attention)
        or heads_problem(model, "prefill", prefill, configuration.prefill_attention)
    )
    if problem is not None:
        raise InputError(problem)
    _check_groups(configuration, model, cluster)
    if configuration.mtp_depth:
        _check_draft(configuration, model)


def _check_groups(configuration: Configuration, model: Model, cluster: ClusterSpec) -> None:
    """Refuse groups of GPUs that share requests, or stages, into which no worker can be parted."""
    gpus, group = configuration.decode_gpus_per_worker, configuration.decode_attention_tp
    domain = int(cluster.hardware().gpus_per_domain.value)
    if group > 1 and configuration.decode_attention == "tp":
        raise InputError(
            f"decode_attention_tp {group} is not valid under decode_attention tp, where all GPUs "
            "of a worker share each request; leave it out, or give decode_attention dp"
        )
    valid = [n for n in range(1, gpus + 1) if gpus % n == model.heads % n == 0 and n <= domain]
    if group not in valid:
        raise InputError(
            f"decode_attention_tp {group} must divide decode_gpus_per_worker {gpus} and the "
            f"{model.heads} attention heads, inside a scale-up domain of {domain} GPUs; give "
            f"{' or '.join(map(str, valid))}"
        )
    stages, prefill = configuration.prefill_stages, configuration.prefill_gpus_per_worker
    if stages > 1 and (configuration.is_aggregated or prefill % stages):
        raise InputError(
            f"prefill_stages {stages} must divide prefill_gpus_per_worker {prefill}, of workers "
            "that only prefill; give 1"
        )
    if stages > model.layers:
        raise InputError(
            f"prefill_stages {stages} are more than the {model.layers} layers of {model.name}"
        )


def _check_draft(configuration: Configuration, model: Model) -> None:
    try:
        draft_model(model, configuration.draft)
    except InputError as error:
        depth = configuration.mtp_depth
        raise InputError(f"mtp_depth {depth}: {error}; without drafts use 0") from None


def experts_problem(model: Model, gpus: int, ep: int, eplb_slots: int) -> str | None:
    """Say why a decode worker cannot hold equal parts of the experts; None where it can.

    Parameters
    ----------
    model : Model
    gpus, ep : int
        Of the worker, and those that share one copy of the experts. [GPU]
    eplb_slots : int
        Expert slots of a layer; 0 for one each. [1]
    """
    if gpus % ep:
        return f"decode_ep {ep} must divide decode_gpus_per_worker {gpus}; give {_divisors(gpus)}"
    if model.moe.intermediate % (gpus // ep):
        return (
            f"decode_ep {ep} over {gpus} GPUs splits each expert {gpus // ep} ways, which must "
            f"divide its width {model.moe.intermediate}; give decode_ep {gpus}"
        )
    slots = eplb_slots or model.experts
    if slots < model.experts:
        return f"eplb_slots {slots} must be 0 or at least the {model.experts} experts"
    if slots % ep:
        fitting = -(-slots // ep) * ep
        return f"decode_ep {ep} must divide the {slots} expert slots; give eplb_slots {fitting}"
    return None


def heads_problem(model: Model, role: str, gpus: int, attention: str) -> str | None:
    """Say why the ranks of a worker cannot share the attention heads evenly; None where they can.

    Parameters
    ----------
    model : Model
    role : {"decode", "prefill"}
        Of the worker, for its keys.
    gpus : int
        [GPU]
    attention : {"tp", "dp"}
        Over heads, or over requests.
    """
    if attention == "dp" or model.heads % gpus == 0:
        return None
    return (
        f"{role}_gpus_per_worker {gpus} must divide the {model.heads} attention heads under "
        f"{role}_attention tp; give {_divisors(model.heads)}, or dp"
    )


def _check_room(
    configuration: Configuration, cluster: ClusterSpec, prefill_cluster: ClusterSpec | None
) -> None:
    asked = [(configuration.gpus, "", cluster)]
    if prefill_cluster is not None:
        asked = [
            (configuration.prefill_gpus, "prefill ", prefill_cluster),
            (configuration.decode_gpus, "decode ", cluster),
        ]
    for wanted, role, there in asked:
        if wanted > there.gpus:
            workers = " and ".join(
                f"{each}_workers {getattr(configuration, f'{each}_workers')} x "
                f"{each}_gpus_per_worker {getattr(configuration, f'{each}_gpus_per_worker')}"
                for each in ("prefill", "decode")
                if role.strip() in ("", each) and getattr(configuration, f"{each}_workers")
            )
            raise InputError(
                f"{workers}: the configuration asks for {wanted} {role}GPUs, but the {role}cluster "
                f"has {there.gpus}; use fewer or smaller workers, or gpus {wanted} in a cluster "
                "file"
            )


def _divisors(number: int) -> str:
    *others, last = [str(part) for part in range(1, number + 1) if number % part == 0]
    return f"{', '.join(others)} or {last}" if others else last


def check_memory(case: Case, limit: float, prefill_limit: float) -> None:
    """Refuse a worker whose weights leave no room for the KV cache of one request.

    Parameters
    ----------
    case
        The deployment.
    limit
        Requests whose KV cache fits, per rank (dp) or worker (tp). [1]
    prefill_limit
        Inputs whose KV cache fits, per rank of a prefill worker (dp) or worker (tp). [1]

    Raises
    ------
    InputError
        Naming the workers and the machine.
    """
    configuration, sku = case.configuration, case.cluster.sku
    gpus = configuration.decode_gpus_per_worker
    if prefill_limit < 1.0:
        raise InputError(
            f"prefill_gpus_per_worker {configuration.prefill_gpus_per_worker}: the weights leave "
            f"no room for one request in the memory of {case.prefill_on.sku}; use more GPUs per "
            "worker, a precision of fewer bits or a machine of more memory"
        )
    if limit < 1.0:
        raise InputError(
            f"decode_gpus_per_worker {gpus}: the weights leave no room for one request in the "
            f"memory of {sku}; use more GPUs per worker, a precision of fewer bits or a machine of "
            "more memory"
        )


def check_batch(configuration: Configuration, sku: str, batch_limit: int) -> None:
    """Refuse a batch whose KV cache does not fit, where an engine is told to hold it.

    Raises
    ------
    InputError
        Naming the largest batch that fits.
    """
    if configuration.max_batch > batch_limit:
        raise InputError(
            f"max_batch {configuration.max_batch} does not fit in the memory of {sku} at "
            f"{configuration.decode_gpus_per_worker} GPUs per worker; at most {batch_limit}"
        )
