"""Files of InferenceServices, rendered and loaded."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.offline import has_services, load_services, render
from gateway.config import ConfigError, load
from tests.autoscaler.inference.test_local import own
from tests.inferences import model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(name: str, *items: dict[str, Any]) -> Path:
    path = Path(name)
    path.write_text("\n---\n".join(map(json.dumps, items)))
    return path


def test_objects_and_the_configuration_are_printed(folder: Path) -> None:  # noqa: ARG001 (where it is)
    """As YAML that can be read again; the configuration can be loaded."""
    answer = render([written("x.yaml", own())], None)
    assert (answer.problems, answer.warnings) == ((), ())
    *objects, document = yaml.safe_load_all(answer.text)
    assert [item["kind"] for item in objects] == ["Deployment", "Service", "Service"]
    assert "# InferenceService models/flowers: Deployment\n" in answer.text
    path = Path("made.yaml")
    path.write_text(yaml.safe_dump(document))
    assert [route.name for route in load(path).routes] == ["models.flowers", "models.flowers.path"]


def test_runtimes_of_any_file_count(folder: Path) -> None:  # noqa: ARG001
    """Before those that come with Tidegate."""
    formats = [{"name": "sklearn", "autoSelect": True}]
    spec = {
        "supportedModelFormats": formats,
        "containers": [{"name": "kserve-container", "image": "own:1"}],
    }
    runtime = {"kind": "ClusterServingRuntime", "metadata": {"name": "own"}, "spec": spec}
    paths = [written("x.yaml", model()), written("runtimes.yaml", runtime)]
    deployment = next(yaml.safe_load_all(render(paths, None).text))
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "own:1"


def test_the_section_of_a_configuration_holds(folder: Path) -> None:  # noqa: ARG001
    """Without one, that of a configuration that says nothing."""
    Path("tidegate.yaml").write_text("inference_services: {domain: flowers.example, gateway_host: none}")
    path = written("x.yaml", own())
    assert "flowers-models.flowers.example" in render([path], load(Path("tidegate.yaml"))).text
    assert "flowers-models.example.com" in render([path], None).text


def test_one_that_is_refused_does_not_keep_the_others_back(folder: Path) -> None:  # noqa: ARG001
    """It is told, with its place."""
    wrong = own()
    wrong["metadata"] = {"name": "iris"}
    wrong["spec"]["explainer"] = {}
    answer = render([written("x.yaml", wrong, own())], None)
    assert [str(problem).partition(": ")[0] for problem in answer.problems] == [
        "x.yaml:1 InferenceService default/iris spec.explainer"
    ]
    assert "models/flowers" in answer.text
    assert "iris" not in answer.text


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([{"kind": "ConfigMap"}], "x.yaml: holds no InferenceService"),
        (
            [own(), own()],
            "x.yaml:3 InferenceService models/flowers: is given twice, first at x.yaml:1",
        ),
    ],
)
def test_files_that_cannot_be_rendered_are_refused(
    folder: Path,  # noqa: ARG001
    items: list[dict[str, Any]],
    told: str,
) -> None:
    """In a line that says why."""
    with pytest.raises(ConfigError) as refused:
        render([written("x.yaml", *items)], None)
    assert str(refused.value) == told


def test_manifests_are_told_from_a_configuration() -> None:
    """By an InferenceService among them; what is broken is told by who loads it."""
    assert has_services(json.dumps(own()).encode())
    assert not has_services(b"# InferenceService\nbackends: {}")
    assert not has_services(b"InferenceService: [")
    assert not has_services(b"InferenceService \xff")


def test_a_file_is_loaded_to_run_here(folder: Path) -> None:
    """Its bytes are what is watched."""
    path = written("x.yaml", own(command=["python", "serve.py", "9000"]))
    (folder / "serve.py").touch()
    config = load_services(path)
    (backend,) = config.backends.values()
    assert backend.target.command == ("python", "serve.py", "{port}")
    assert config.path == path


def test_what_cannot_run_here_is_refused_with_all_that_is_wrong(folder: Path) -> None:  # noqa: ARG001
    """A program that is not there as well, which is told without a line."""
    path = written("x.yaml", own(command=None), {**model(), "metadata": {"name": "iris"}})
    with pytest.raises(ConfigError) as refused:
        load_services(path)
    assert [problem.line for problem in refused.value.problems] == [1, 3]
    with pytest.raises(ConfigError) as refused:
        load_services(written("x.yaml", own(command=["/no/such", "9000"])))
    (problem,) = refused.value.problems
    assert (problem.line, "/no/such" in problem.text) == (None, True)


def test_what_is_not_done_of_a_file_that_runs_here_is_told(folder: Path) -> None:
    """At each load, as warnings of the configuration are."""
    (folder / "serve.py").touch()
    item = own(command=["python", "serve.py", "9000"])
    item["spec"]["predictor"] |= {"canaryTrafficPercent": 10, "minReplica": 2}
    told = load_services(written("x.yaml", item)).warnings
    assert [(problem.line, problem.where.split()[-1]) for problem in told] == [
        (1, "spec.predictor.minReplica"),
        (1, "spec.predictor.canaryTrafficPercent"),
    ]
    item["spec"]["predictor"] |= {"canaryTrafficPercent": 100, "minReplica": None}
    assert load_services(written("x.yaml", item)).warnings == ()
