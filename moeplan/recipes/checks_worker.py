"""Checks of what every engine is set to, whatever the format."""

from __future__ import annotations

from costmodel.engine_rules import needed_environment, shape_problem
from moeplan.recipes.benchmark import SHORTEST, WHOLE_OUTPUT
from moeplan.recipes.checks import Breaches, Check, differs
from moeplan.recipes.command_line import Options
from moeplan.recipes.parsed import Parsed, Setting, Unreadable, Worker
from moeplan.recipes.placement import spread_worker
from presets import InputError


def workers_of(parsed: Parsed) -> tuple[Worker, ...]:
    """Give the worker of each role, that of decode last.

    Raises
    ------
    Unreadable
        Where one could not be read.
    """
    if len(parsed.workers) < len(parsed.roles):
        raise Unreadable
    return tuple(parsed.workers[role] for role in parsed.roles)


def world(parsed: Parsed) -> Breaches:
    """GPUs of a worker are the ranks of its engine."""
    for worker in workers_of(parsed):
        if worker.nodes is None or worker.gpus_per_node is None:
            continue
        gpus = worker.nodes.value * worker.gpus_per_node.value
        if gpus != worker.world.value:
            yield (
                worker.gpus_per_node.field,
                f"is {worker.gpus_per_node.value} on {worker.nodes.value} nodes, {gpus} GPUs; "
                f"{worker.world.field} asks for {worker.world.value}",
            )


def sums(parsed: Parsed) -> Breaches:
    """Workers, and GPUs of each, are those of the configuration."""
    recipe = parsed.recipe
    for worker in workers_of(parsed):
        if worker.replicas is not None:
            yield from differs(
                worker.replicas, recipe.workers(worker.role), "as the configuration has"
            )
        yield from differs(worker.world, recipe.gpus(worker.role), "as the configuration has")


def nodes(parsed: Parsed) -> Breaches:
    """Find workers that neither fit a server nor fill whole ones."""
    machine = parsed.facts.machine
    if machine is None:
        raise Unreadable
    for worker in workers_of(parsed):
        try:
            spread = spread_worker(worker.world.value, machine)
        except InputError as error:
            yield worker.world.field, str(error)
            continue
        if worker.gpus_per_node is not None and worker.gpus_per_node.value > machine.gpus_per_node:
            yield (
                worker.gpus_per_node.field,
                f"is {worker.gpus_per_node.value}; a server of {machine.sku} has "
                f"{machine.gpus_per_node} GPUs",
            )
        elif worker.nodes is not None:
            yield from differs(worker.nodes, spread.nodes, f"for {worker.world.value} GPUs")


def experts(parsed: Parsed) -> Breaches:
    """Experts are spread and split over the ranks of a worker, as configured."""
    config = parsed.facts.config
    for worker in workers_of(parsed):
        ep, split, tp = worker.ep.value, worker.moe_tp.value, worker.tp.value
        if tp % ep:
            yield worker.ep.field, f"is {ep}; it must divide {tp}, the ranks of the worker"
        elif ep * split != tp:
            yield (
                worker.ep.field,
                f"is {ep}, and each expert is split {split} ways; their product must be {tp}, the "
                "ranks of the worker",
            )
        if config is not None and worker.role == "decode":
            yield from differs(worker.ep, config.decode_ep, "as the configuration has")


def engine_rules(parsed: Parsed) -> Breaches:
    """Find a shape that the engine does not start."""
    facts = parsed.facts
    if facts.engine is None or facts.precision is None or facts.expert_width is None:
        raise Unreadable
    for worker in workers_of(parsed):
        gpus, ep = worker.tp.value, worker.ep.value
        found = shape_problem(facts.engine, facts.precision, facts.expert_width, gpus, ep)
        if found is not None and gpus % ep == 0:
            yield worker.ep.field, f"of {found[1]}"


def environment(parsed: Parsed) -> Breaches:
    """Find what the engine needs in its environment, and a role lacks."""
    facts = parsed.facts
    ranks = [1 if worker.attention_dp.value else worker.tp.value for worker in workers_of(parsed)]
    if facts.engine is None:
        raise Unreadable
    for name, value in needed_environment(facts.engine, facts.kv_heads, *ranks).items():
        for role in parsed.roles:
            if parsed.environment.get(role, {}).get(name) != value:
                yield (
                    f"{parsed.commands[role]}: export {name}",
                    f"is not {value}; roles that split KV heads unlike hand them over slowly",
                )


def slots(parsed: Parsed) -> Breaches:
    """Every rank holds as many expert slots as every other."""
    config, count = parsed.facts.config, parsed.facts.experts
    for worker in workers_of(parsed):
        if config is not None:
            wanted = config.eplb_slots if worker.role == "decode" else 0
            yield from differs(worker.slots, wanted, "as the configuration has")
        if count is not None and 0 < worker.slots.value < count:
            yield worker.slots.field, f"is {worker.slots.value}; the model has {count} experts"
        held = worker.slots.value or count
        if held is not None and held % worker.ep.value:
            field = worker.slots.field if worker.slots.value else worker.ep.field
            yield field, f"{held} expert slots are not shared evenly by EP {worker.ep.value}"


def attention(parsed: Parsed) -> Breaches:
    """Attention is replicated or split as configured; what is split divides the heads."""
    heads, record = parsed.facts.heads, parsed.record
    if heads is None:
        raise Unreadable
    for worker in workers_of(parsed):
        if record is not None and worker.world.value > 1:
            wanted = record.attention_dp(worker.role)
            yield from differs(worker.attention_dp, wanted, "as the configuration has")
        if not worker.attention_dp.value and heads % worker.tp.value:
            yield (
                worker.attention_dp.field,
                f"{heads} attention heads are not split evenly by {worker.tp.value} ranks",
            )


def batch(parsed: Parsed) -> Breaches:
    """Decode takes as many requests as configured."""
    config = parsed.recipe.config
    yield from differs(workers_of(parsed)[-1].batch, config.max_batch, "as the configuration has")


def memory(parsed: Parsed) -> Breaches:
    """Find a largest batch whose cache does not fit, and that the load does not fill."""
    note = parsed.recipe.batch_note
    if note is not None:
        yield workers_of(parsed)[-1].batch.field, note


def tokens(parsed: Parsed) -> Breaches:
    """Find steps that hold less than they must."""
    prefill, decode = workers_of(parsed)[0], workers_of(parsed)[-1]
    batch = _batch_under_load(parsed, decode)
    need = batch * (1 + decode.depth.value)
    longest = parsed.facts.isl
    taken = f"a step of {batch} requests with {decode.depth.value} drafts each"
    if parsed.one_pool:
        need += 1 if decode.parts_inputs else longest or 0
        taken += f" and {'a part of an' if decode.parts_inputs else 'the longest'} input"
    elif prefill.tokens is not None and longest is not None and prefill.tokens.value < longest:
        yield prefill.tokens.field, f"is {prefill.tokens.value}; the longest input has {longest}"
    if decode.tokens is not None and decode.tokens.value < need:
        yield decode.tokens.field, f"is {decode.tokens.value}; {taken} needs {need}"


def _batch_under_load(parsed: Parsed, decode: Worker) -> int:
    """Count requests of a rank or worker: the largest batch, or fewer without a record [1]."""
    largest, users = int(decode.batch.value), parsed.load.get("concurrency")
    if parsed.record is not None or users is None or decode.replicas is None:
        return largest
    ranks = decode.world.value if decode.attention_dp.value else 1
    return min(largest, -(-int(users.value) // (max(int(decode.replicas.value), 1) * ranks)))


def sequence(parsed: Parsed) -> Breaches:
    """Find sequences that the longest request exceeds."""
    isl, osl = parsed.facts.isl, parsed.facts.osl
    if isl is None or osl is None:
        raise Unreadable
    for worker in workers_of(parsed):
        need, what = isl, "the longest input"
        if worker.role == "decode":
            need, what = isl + osl, "the longest input and output"
        if worker.sequence.value < need:
            yield worker.sequence.field, f"is {worker.sequence.value}; {what} take {need} tokens"


def drafts(parsed: Parsed) -> Breaches:
    """Whoever prefills fills the cache of the draft layers that decode reads."""
    workers, config = workers_of(parsed), parsed.facts.config
    decode = workers[-1]
    wanted, why = decode.depth.value, f"as {decode.depth.field} has"
    if config is not None:
        wanted, why = config.mtp_depth, "on every role, as the configuration has"
    for worker in workers:
        yield from differs(worker.depth, wanted, why)
        if worker.depth.value == wanted:
            yield from differs(worker.head, decode.head.value, f"as {decode.head.field} has")
    if config is None or not decode.depth.value:
        return
    if config.draft == "eagle3" and not decode.head.value:
        yield decode.head.field, "is missing; an EAGLE-3 head drafts, as the configuration has"
    if config.draft != "eagle3" and decode.head.value:
        yield decode.head.field, f"names a head; the configuration has draft {config.draft}"


def model(parsed: Parsed) -> Breaches:
    """One checkpoint, one name."""
    prefill, decode = workers_of(parsed)[0], workers_of(parsed)[-1]
    if prefill.model is not None and decode.model is not None:
        yield from differs(decode.model, prefill.model.value, f"as {prefill.model.field} has")
    places = [parsed.commands[role] for role in parsed.roles if role in parsed.commands]
    names = [
        Setting(f"{place}: --served-model-name", name)
        for place in places
        if (name := getattr(parsed.get(place, Options), "served_model_name", None)) is not None
    ]
    for other in names[1:]:
        yield from differs(other, names[0].value, "as the other role has")
    if names and "model" in parsed.load:
        yield from differs(parsed.load["model"], names[0].value, "as the workers serve it")


def load(parsed: Parsed) -> Breaches:
    """Find a benchmark that measures something else than what was predicted."""
    if not parsed.load:
        raise Unreadable
    recipe = parsed.recipe
    for name, wanted in (
        ("concurrency", recipe.config.concurrency),
        ("isl", recipe.served.isl),
        ("osl", recipe.served.osl),
    ):
        yield from differs(parsed.load[name], wanted, "as the recipe was predicted")
    for name, needed, why in (
        ("random_range_ratio", SHORTEST, "the shortest length over the nominal one"),
        ("random_corpus_style", "sglang", "which says what the ratio is of"),
        ("streaming", True, "without which no first token is seen"),
    ):
        if name in parsed.load:
            yield from differs(parsed.load[name], needed, why)
    extra = parsed.load.get("extra_inputs")
    if extra is not None and WHOLE_OUTPUT not in (extra.value or []):
        yield extra.field, f"lacks {WHOLE_OUTPUT[0]}; outputs would end early"
    requests = parsed.load.get("request_count")
    if requests is not None and requests.value < recipe.config.concurrency:
        yield requests.field, f"is {requests.value}; give {recipe.config.concurrency} or more"


def graphs(parsed: Parsed) -> Breaches:
    """Find recorded batches above the largest batch: memory for nothing."""
    for worker in workers_of(parsed):
        if worker.graph is not None and worker.graph.value > worker.batch.value:
            yield (
                worker.graph.field,
                f"goes up to {worker.graph.value}; the largest batch is {worker.batch.value}",
            )


WORKER_CHECKS: tuple[Check, ...] = (
    Check("files", "every file of the format is there"),
    Check("schema", "every document has known fields only, each of its type"),
    Check("options", "every option of a command is one that the program takes, once"),
    Check("world-size", "GPUs per pod x nodes = tensor x pipeline x context parallel", world),
    Check("sums", "workers and their GPUs are those of the configuration", sums),
    Check("nodes", "a worker fits its server, or fills whole servers", nodes),
    Check("experts", "expert tp x EP = tp, and EP is that of the configuration", experts),
    Check("engine", "the engine takes the shape of every worker", engine_rules),
    Check(
        "environment",
        "both roles have what the engine needs to hand KV heads over",
        environment,
        warns=True,
        two_pools=True,
    ),
    Check("slots", "EP divides the expert slots, at least one per expert", slots),
    Check(
        "attention",
        "attention of every role is as configured, and tp divides the heads",
        attention,
    ),
    Check("batch", "the largest batch is that of the configuration", batch),
    Check("memory", "the KV cache of the largest batch fits", memory, warns=True),
    Check(
        "tokens",
        "a step holds the batch with its drafts, or the longest input; in one pool both",
        tokens,
    ),
    Check("sequence", "the longest sequence holds input and output", sequence),
    Check("drafts", "every role drafts as deep as the configuration", drafts),
    Check("model", "every role serves one checkpoint under one name", model),
    Check("load", "the load is that of the configuration and the workload", load),
    Check("cuda-graph", "no recorded batch is above the largest batch", graphs, warns=True),
)
"""Checks of every format."""
