"""Reading the texts of a recipe into typed documents; every malformed field is a finding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from moeplan.recipes.command_line import Options, read_script, read_words
from moeplan.recipes.engine_file import EngineFile
from moeplan.recipes.parsed import Finding, Parsed, PlacedEngine, Setting, Worker
from moeplan.recipes.recipe import RoleName
from moeplan.recipes.yaml_text import bare_words
from presets import DataFileError
from presets.engines import Engine, load_engine
from presets.errors import closest_hint, shown
from presets.files import explained
from presets.yaml_file import parse_yaml

MOST_FINDINGS = 20
"""Most malformed fields of a document that are told. [1]"""

ModelT = TypeVar("ModelT", bound=BaseModel)
OptionsT = TypeVar("OptionsT", bound=Options)


def model_of(parsed: Parsed, place: str, content: object, model: type[ModelT]) -> ModelT | None:
    """Check content against its model; each malformed field becomes a finding."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        for each in error.errors(include_url=False)[:MOST_FINDINGS]:
            parts = [str(part) for part in each["loc"] if not str(part).startswith("constrained")]
            where = f"{place}: {'.'.join(parts)}" if parts else place
            parsed.findings.append(Finding("schema", where, explained(each, model)))
    return None


def yaml_of(parsed: Parsed, place: str, text: str) -> Any:
    """Parse one YAML document; what is not becomes a finding."""
    try:
        content = parse_yaml(text, Path())
    except DataFileError as error:
        parsed.findings.append(Finding("schema", place, str(error).removeprefix("., ")))
        return None
    for line, word in bare_words(text):
        problem = f"{word} without quotes is text to one reader and a boolean to another; quote it"
        parsed.findings.append(Finding("schema", f"{place}: line {line}", problem))
    if content is None:
        parsed.findings.append(Finding("schema", place, "is empty"))
    return content


def document(
    parsed: Parsed, files: Mapping[str, str], name: str, model: type[ModelT], *, needed: bool = True
) -> ModelT | None:
    """Read one YAML file of a recipe into its model."""
    if name not in files:
        if needed:
            parsed.findings.append(Finding("files", name, "is missing"))
        return None
    content = yaml_of(parsed, name, files[name])
    return None if content is None else model_of(parsed, name, content, model)


def engine_of(parsed: Parsed, role: RoleName, place: str, content: object) -> None:
    """Check the options of TensorRT-LLM and note them as those of a role."""
    if isinstance(content, dict):
        known = set(load_engine("trtllm").options.names) - set(EngineFile.model_fields)
        content = {key: value for key, value in content.items() if key not in known}
    engine = model_of(parsed, place, content, EngineFile)
    if engine is not None:
        parsed.engines[role] = PlacedEngine(place, engine)


def trtllm_worker(
    role: RoleName,
    placed: PlacedEngine,
    replicas: Setting | None,
    nodes: Setting | None,
    gpus_per_node: Setting | None,
    model: Setting | None,
) -> Worker:
    """Say in common words what an engine file sets."""
    engine = placed.engine
    world = (
        engine.tensor_parallel_size * engine.pipeline_parallel_size * engine.context_parallel_size
    )
    ep, tp = engine.moe_expert_parallel_size, engine.tensor_parallel_size
    split = placed.setting("moe_tensor_parallel_size")
    if split.value is None:  # the engine's own rule
        split = split._replace(value=tp // ep if tp % ep == 0 else 0)
    drafts, graph = engine.speculative_config, engine.cuda_graph_config
    depth = Setting(f"{placed.place}: speculative_config", 0)
    if drafts is not None:
        key = "num_nextn_predict_layers" if drafts.max_draft_len is None else "max_draft_len"
        depth = placed.setting("speculative_config", key)
    slots = placed.setting("moe_config", "load_balancer", "num_slots")
    largest = max(
        [*((graph.batch_sizes or []) if graph else []), graph.max_batch_size if graph else 0]
    )
    return Worker(
        role=role,
        replicas=replicas,
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        world=placed.setting("tensor_parallel_size")._replace(value=world),
        tp=placed.setting("tensor_parallel_size"),
        ep=placed.setting("moe_expert_parallel_size"),
        moe_tp=split,
        attention_dp=placed.setting("enable_attention_dp"),
        batch=placed.setting("max_batch_size"),
        tokens=placed.setting("max_num_tokens"),
        sequence=placed.setting("max_seq_len"),
        depth=depth._replace(value=depth.value or 0),
        slots=slots._replace(value=slots.value or 0),
        graph=Setting(f"{placed.place}: cuda_graph_config.batch_sizes", largest)
        if largest
        else None,
        model=model,
    )


def options_of(
    parsed: Parsed,
    place: str,
    words: list[str],
    model: type[OptionsT],
    engine: Engine | None = None,
) -> OptionsT | None:
    """Read the words of a command into its options.

    With an engine, options that it has and a recipe does not look at pass, and those that it no
    longer has are told with what to give instead.
    """
    values, stray, twice = read_words(words, model)
    for word in stray:
        parsed.findings.append(Finding("options", place, f"{shown(word)} follows no option"))
    for name in twice:
        parsed.findings.append(Finding("options", f"{place}: {name}", "stands twice"))
    known = {str(field.alias) for field in model.model_fields.values()}
    for name in sorted(set(values) - known):
        problem = _unknown(name, known, engine)
        if problem:
            parsed.findings.append(Finding("options", f"{place}: {name}", problem))
        del values[name]
    return model_of(parsed, place, values, model)


def _unknown(name: str, known: set[str], engine: Engine | None) -> str | None:
    """Say what is wrong with an option that the model does not have; None where nothing is."""
    if engine is None:
        return f"is not a known option; {closest_hint(name, known)}"
    if name in engine.refused:
        return f"is gone or ambiguous in {engine.title}; give {engine.refused[name]}"
    if name in engine.options.names:
        return None
    near = closest_hint(name, engine.options.names).partition("? Valid")[0]
    hint = f"; {near}?" if near.startswith("did you mean") else ""
    return f"is no option of {engine.title}{hint}"


def command_of(
    parsed: Parsed, files: Mapping[str, str], name: str
) -> tuple[list[str], dict[str, str]] | None:
    """Read the program of a script; words after ``exec``, and what it exports."""
    if name not in files:
        parsed.findings.append(Finding("files", name, "is missing"))
        return None
    try:
        return read_script(files[name])
    except ValueError as error:
        parsed.findings.append(Finding("schema", name, str(error)))
        return None


def program_of(
    parsed: Parsed, files: Mapping[str, str], name: str, program: tuple[str, ...]
) -> tuple[list[str], dict[str, str]] | None:
    """Read a script that must start a given program; gives the words behind it."""
    command = command_of(parsed, files, name)
    if command is None:
        return None
    words, exports = command
    if tuple(words[: len(program)]) != program:
        started = shown(" ".join(words[: len(program)]))
        problem = f"starts {started}; it must start {' '.join(program)!r}"
        parsed.findings.append(Finding("schema", name, problem))
        return None
    return words[len(program) :], exports
