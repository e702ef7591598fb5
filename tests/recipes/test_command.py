"""``moeplan recipe`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import moeplan
from moeplan.recipes.directory import write_recipe
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.writing import RECORD, recipe_names
from tests.recipes.samples import answers, good
from tests.samples import MEASURED, Command


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(MEASURED))
    return str(path)


def test_a_target_becomes_a_recipe_that_passes(command: Command, tmp_path: Path) -> None:
    folder = str(tmp_path / "out")
    done = command(
        "recipe", "--sku", "gb200", "--target", "125", "--format", "dynamo", "--output", folder
    )
    assert done.status == 0, done.err
    assert "every check passed" in done.out
    assert "2 workers x 4 GPUs" in done.out
    checked = command("recipe", "check", folder)
    assert checked.status == 0
    assert "every check passes" in " ".join(checked.out.split())
    assert all(len(line) <= 100 for line in (done.out + checked.out).splitlines())


@pytest.mark.parametrize("format_name", FORMATS)
def test_json_says_what_was_written(
    command: Command, tmp_path: Path, config: str, format_name: str
) -> None:
    folder = tmp_path / "out"
    done = command(
        *("recipe", "--sku", "b200", "--config", config, "--format", format_name),
        *("--output", str(folder), "--json"),
    )
    assert done.status == 0, done.err
    content = done.json
    assert content["files"] == sorted(path.name for path in folder.iterdir())
    assert content["recipe"] == json.loads((folder / RECORD).read_text())
    assert content["recipe"]["config"] == MEASURED | {
        "serving": "disaggregated",
        "prefill_attention": "dp",
        "frontends": 1,
        "draft": "mtp",
        "decode_attention_tp": 1,
        "prefill_stages": 1,
        "exchange": None,
    }
    checked = command("recipe", "check", str(folder), "--json").json
    assert checked["status"] == "passed"
    assert {each["status"] for each in checked["checks"]} == {"passed"}


def test_an_answer_of_best_names_machine_and_workload(command: Command, tmp_path: Path) -> None:
    answer = next(each for each in answers("b200") if each.target_tok_s_per_user == 60)
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(answer.to_json()))
    folder = tmp_path / "out"
    arguments = ("recipe", "--config", str(path), "--format", "slurm", "--output", str(folder))
    assert command(*arguments).status == 0
    record = json.loads((folder / RECORD).read_text())
    assert record["machine"]["sku"] == "b200"
    assert answer.config is not None
    assert record["config"] == answer.config.model_dump()
    assert record["prediction"]["tok_s_per_user"] == pytest.approx(
        answer.prediction.tok_s_per_user if answer.prediction else 0
    )
    assert command(*arguments, "--isl", "2048", "--force").status == 0
    assert json.loads((folder / RECORD).read_text())["served"]["isl"] == 2048


def test_the_safe_choice_becomes_a_recipe_that_says_so(command: Command, tmp_path: Path) -> None:
    folder, asked = tmp_path / "out", ("--sku", "b200", "--target", "75", "--max-ttft", "2")
    write = ("recipe", *asked, "--safe", "--format", "slurm", "--output", str(folder))
    done = command(*write)
    assert done.status == 0, done.err
    assert "The configuration is the safe choice." in done.out
    assert command("recipe", "check", str(folder)).status == 0
    record = json.loads((folder / RECORD).read_text())
    answer = moeplan.best("b200", 75.0, moeplan.Options(max_ttft=2.0))
    choice = answer.safe_choice
    assert choice is not None
    assert choice.config is not None
    assert choice.config != answer.config
    assert record["config"] == choice.config.model_dump()
    assert record["safe"] == {
        "confidence": 0.9,
        "target_tok_s_per_user": 75.0,
        "max_ttft_s": 2.0,
        "chance_to_meet": choice.chance_to_meet,
    }
    readme = (folder / "README.md").read_text()
    assert "chance to meet each limit is 90 % or more (75 tok/s/user: 9" in readme
    assert "; a mean TTFT of 2 s: " in readme
    assert command(*[word for word in write if word != "--safe"], "--force").status == 0
    assert json.loads((folder / RECORD).read_text())["safe"] is None
    assert "safe choice" not in (folder / "README.md").read_text()


def test_no_safe_choice_is_no_recipe(command: Command, tmp_path: Path, config: str) -> None:
    folder = tmp_path / "out"
    rest = ("--format", "slurm", "--output", str(folder))
    none = command("recipe", "--sku", "gb300", "--target", "60", "--safe", *rest)
    assert none.status == 1
    assert "there is no safe choice: " in none.err
    assert "machine gb300" in none.err
    both = command("recipe", "--sku", "b200", "--config", config, "--safe", *rest)
    assert both.status == 2
    assert both.err == "Error: --safe goes with --target; leave it or --config out\n"
    assert not folder.exists()


def test_a_recipe_names_the_prices_of_its_cost(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    asked = ("recipe", "--sku", "b200", "--target", "75")
    write = (*asked, "--format", "vllm", "--output", str(folder), "--force")
    for more, prices, said in (
        ((), "2026-07", "Cost at $1.73 per GPU-hour (prices of 2026-07)."),
        (("--prices", "2026-04"), "2026-04", "Cost at $1.95 per GPU-hour (prices of 2026-04)."),
        (("--price", "2.5"), None, "Cost at $2.50 per GPU-hour."),
    ):
        assert command(*write, *more).status == 0
        assert json.loads((folder / RECORD).read_text())["machine"]["prices"] == prices
        assert said in (folder / "README.md").read_text()


def test_choices_reach_the_files(command: Command, tmp_path: Path, config: str) -> None:
    folder = tmp_path / "out"
    done = command(
        *("recipe", "--sku", "b200", "--config", config, "--format", "dynamo"),
        *("--output", str(folder), "--name", "r1", "--namespace", "serving"),
        *("--model-path", "/models/a b", "--served-name", "r1", "--claim", "weights"),
        *("--image", "registry:5000/team/runtime:mine", "--node-selector", "pool=b200"),
        *("--node-selector", "x/y=", "--pull-secret", "pull", "--token-secret", "token"),
        *("--engine-version", "1.2.1"),
    )
    assert done.status == 0, done.err
    text = (folder / "deployment.yaml").read_text()
    for wanted in (
        "name: r1",
        "namespace: serving",
        '"/models/a b"',
        "claimName: weights",
        '"registry:5000/team/runtime:mine"',
        "pool: b200",
        'x/y: ""',
        "name: pull",
        "name: token",
        'runtimeVersionOverride: "1.6.1"',
    ):
        assert wanted in text
    assert "num_nextn_predict_layers: 2" in (folder / "decode-engine.yaml").read_text()
    assert command("recipe", "check", str(folder)).status == 0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"--format": None}, "--format: none is given; give dynamo, sglang"),
        ({"--format": "helm"}, "unknown --format 'helm'"),
        ({"--output": None}, "--output: no folder is given"),
        ({"--output": " "}, "--output: no folder is given"),
        ({"--config": None}, "--target, --config and --plan: give one of them"),
        ({"--target": "100"}, "--target, --config and --plan: give one of them"),
        ({"--config": "none.json"}, "none.json: cannot be read"),
        ({"--config": ""}, "--config: '' is not valid"),
        ({"--sku": "b2000"}, "unknown hardware 'b2000'"),
        ({"--sku": None}, "--sku: no machine is named"),
        (
            {"--engine-version": "1.1.0"},
            "--engine-version: TensorRT-LLM '1.1.0' is not known; valid",
        ),
        ({"--engine-version": "new"}, "--engine-version: release 'new' is not valid"),
        ({"--format": "sglang", "--claim": "pvc"}, "--claim: is of Kubernetes"),
        ({"--engine-version": "1.2.1"}, "--engine-version: no image is known to ship"),
        ({"--name": "A_b"}, "--name: 'A_b' is not valid; give lower-case"),
        ({"--name": ""}, "--name: '' is not valid"),
        ({"--name": "a" * 44}, "check names: deployment.yaml: metadata.name"),
        ({"--image": "a b"}, "--image: 'a b' is not valid"),
        ({"--model-path": "../a"}, "--model-path: '../a' is not valid"),
        ({"--served-name": "a b"}, "--served-name: 'a b' is not valid"),
        ({"--namespace": "a.b"}, "--namespace: 'a.b' is not valid"),
        ({"--claim": "a/b"}, "--claim: 'a/b' is not valid"),
        ({"--node-selector": "pool"}, "--node-selector: 'pool' is not valid; give KEY=VALUE"),
        ({"--node-selector": "a b=c"}, "--node-selector: 'a b' is not valid"),
        ({"--pull-secret": "A"}, "--pull-secret: 'A' is not valid"),
        ({"--isl": "0"}, "--isl: '0' is not valid"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    command: Command,
    tmp_path: Path,
    config: str,
    changes: dict[str, str | None],
    problem: str,
) -> None:
    given: dict[str, str | None] = {
        "--sku": "b200",
        "--config": config,
        "--format": "dynamo",
        "--output": str(tmp_path / "out"),
    }
    given |= changes
    words = [
        word for pair in given.items() if pair[1] is not None for word in pair if word is not None
    ]
    done = command("recipe", *words)
    assert done.status == 2
    assert done.err.startswith("Error: ")
    assert problem in done.err
    assert done.err.count("\n") == 1
    assert not done.out
    assert [each.name for each in tmp_path.iterdir()] == ["config.json"]


def test_a_target_out_of_reach(command: Command, tmp_path: Path) -> None:
    done = command(
        *("recipe", "--sku", "h200", "--target", "300", "--format", "vllm"),
        *("--output", str(tmp_path / "out")),
    )
    assert done.status == 1
    assert "300 tok/s/user" in done.err
    assert not list(tmp_path.iterdir())


def test_what_an_engine_has_no_option_for_is_refused(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(MEASURED | {"decode_ep": 4}))
    arguments = (
        "recipe",
        "--sku",
        "b200",
        "--config",
        str(path),
        "--output",
        str(tmp_path / "out"),
    )
    done = command(*arguments, "--format", "vllm")
    assert done.status == 2
    assert (
        "decode_ep 4 cannot be set; vLLM spreads experts over all ranks or none; give 1 or 8"
        in done.err
    )
    assert command(*arguments, "--format", "trtllm").status == 0


def test_workers_that_do_not_fill_servers_are_refused(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    slots = {"decode_ep": 12, "eplb_slots": 264}
    wide = {"decode_gpus_per_worker": 12, "decode_workers": 1} | slots
    path.write_text(json.dumps(MEASURED | wide))
    done = command(
        *("recipe", "--sku", "b200", "--config", str(path), "--format", "slurm"),
        *("--output", str(tmp_path / "out")),
    )
    assert done.status == 2
    assert "a worker of 12 GPUs does not fill servers of 8 GPUs" in done.err


def test_files_are_not_overwritten_without_force(
    command: Command, tmp_path: Path, config: str
) -> None:
    folder = str(tmp_path / "out")
    arguments = ("recipe", "--sku", "b200", "--config", config, "--output", folder, "--format")
    assert command(*arguments, "vllm").status == 0
    refused = command(*arguments, "slurm")
    assert refused.status == 2
    assert "with --force" in refused.err
    assert (tmp_path / "out" / "router.sh").exists()
    assert command(*arguments, "slurm", "--force").status == 0
    assert not (tmp_path / "out" / "router.sh").exists()


def test_a_spoilt_recipe_fails_and_names_the_field(
    command: Command, tmp_path: Path, config: str
) -> None:
    folder = tmp_path / "out"
    command(
        *("recipe", "--sku", "b200", "--config", config, "--format", "trtllm"),
        *("--output", str(folder)),
    )
    engine = folder / "decode.yaml"
    engine.write_text(engine.read_text().replace("max_num_tokens: 192", "max_num_tokens: 8"))
    done = command("recipe", "check", str(folder))
    assert done.status == 1
    assert "1 problem" in done.out
    assert "decode.yaml: max_num_tokens" in done.out
    assert not done.err
    told = command("recipe", "check", str(folder), "--json").json
    assert told["status"] == "failed"
    failed = [each for each in told["checks"] if each["status"] == "failed"]
    assert [each["name"] for each in failed] == ["tokens"]
    assert failed[0]["findings"][0]["severity"] == "error"


def test_a_large_graph_is_a_warning(command: Command, tmp_path: Path, config: str) -> None:
    folder = tmp_path / "out"
    command(
        *("recipe", "--sku", "b200", "--config", config, "--format", "trtllm"),
        *("--output", str(folder)),
    )
    engine = folder / "decode.yaml"
    engine.write_text(engine.read_text().replace("- 64\n", "- 128\n"))
    done = command("recipe", "check", str(folder))
    assert done.status == 0
    assert "goes up to 128; the largest batch is 64" in done.out
    assert "warned" in done.out


def test_what_is_unreadable_is_skipped(command: Command, tmp_path: Path, config: str) -> None:
    folder = tmp_path / "out"
    command(
        *("recipe", "--sku", "b200", "--config", config, "--format", "dynamo"),
        *("--output", str(folder)),
    )
    (folder / "deployment.yaml").write_text("a: [")
    (folder / "decode-engine.yaml").unlink()
    told = command("recipe", "check", str(folder), "--json").json
    status = {each["name"]: each["status"] for each in told["checks"]}
    assert (status["files"], status["schema"]) == ("failed", "failed")
    assert (status["sums"], status["topology"], status["release"]) == ("skipped",) * 3


@pytest.mark.parametrize("arguments", [("check",), ("diff", "a"), ("check", "none"), ("find",)])
def test_bad_input_of_the_other_commands(command: Command, arguments: tuple[str, ...]) -> None:
    done = command("recipe", *arguments)
    assert done.status == 2
    assert done.err.startswith("Error: ")


def test_a_diff_speaks_of_the_configuration(command: Command, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    first, second = good("dynamo"), good("sglang", "gb300")
    write_recipe("--output", before, first[1], force=False)
    write_recipe("--output", after, second[1], force=False)
    told = command("recipe", "diff", str(before), str(after), "--json").json
    changes = {(each["part"], each["key"]): each for each in told["changes"]}
    assert changes["machine", "sku"]["before"] == "gb200"
    assert changes["engine", "format"]["after"] == "sglang"
    assert changes["configuration", "prefill_gpus_per_worker"]["after"] == 2
    assert ("configuration", "decode_attention") not in changes
    assert told["failing"] == []
    report = command("recipe", "diff", str(before), str(after))
    assert report.status == 0
    assert "prefill_gpus_per_worker" in report.out
    same = command("recipe", "diff", str(before), str(before))
    assert "are of one configuration, machine and engine" in " ".join(same.out.split())
    (after / "decode.sh").write_text("exec true\n")
    assert "fails a check" in command("recipe", "diff", str(before), str(after)).out


def test_names_are_those_that_are_written() -> None:
    recipe, files = good("dynamo")
    assert set(recipe_names(recipe)) == set(files)
    assert isinstance(recipe.config, moeplan.Configuration)


def test_a_long_field_is_whole(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "recipe"
    _, files = good("dynamo")
    spoilt = files["deployment.yaml"].replace('nvidia.com/gpu: "4"', 'nvidia.com/gpu: "2"')
    write_recipe("--output", folder, files | {"deployment.yaml": spoilt}, force=False)
    out = command("recipe", "check", str(folder)).out
    found = out.partition("Found")[2]
    assert "…" not in found
    assert "spec.components.1.podTemplate.spec.containers.main.resources.limits.nvidia" in found
