"""InferenceServices and ServingRuntimes in texts of manifests."""

import pytest

from autoscaler.inference.manifests import credentials, parse, runtimes, services
from autoscaler.inference.shapes import Fault
from gateway.config import ConfigError

TEXT = """\
kind: ConfigMap
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: flowers}
---
---
kind: List
items:
  - {kind: InferenceService, metadata: {name: iris, namespace: models}}
  - {kind: ServingRuntime, metadata: {name: own}}
"""


def test_what_counts_is_found_among_anything_else() -> None:
    """In documents and in lists, each with the line where it, or its list, begins."""
    found = parse("x.yaml", TEXT)
    titles = [(one.title, one.line) for one in services(found)]
    assert titles == [
        ("InferenceService default/flowers", 3),
        ("InferenceService models/iris", 8),
    ]
    assert [item["metadata"]["name"] for item in runtimes(found)] == ["own"]


BOMB = "a0: &a0 x\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9))
"""A few lines that are nine to the ninth values."""


def test_a_fault_is_told_with_its_place() -> None:
    """File, line, object and field."""
    (first, _) = services(parse("x.yaml", TEXT))
    told = first.problem(Fault("spec.predictor", "is empty", refused=True))
    assert str(told) == "x.yaml:3 InferenceService default/flowers spec.predictor: is empty"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: [", "x.yaml:1: not YAML: "),
        ("a: 1\n b: 2", "x.yaml:2: not YAML: "),
        ("kind: 2026-99-99", "x.yaml: not YAML that can be used: "),
        ("[" * 5000, "x.yaml: not YAML that can be used: "),
        ("kind: &a {b: *a}", "x.yaml: not YAML that can be used: more than 1,000,000 values"),
        (BOMB, "x.yaml: not YAML that can be used: more than 1,000,000 values"),
    ],
)
def test_what_is_no_yaml_is_refused_in_a_line(text: str, told: str) -> None:
    """With the line, where it is known."""
    with pytest.raises(ConfigError) as refused:
        parse("x.yaml", text)
    assert str(refused.value).startswith(told)
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize("text", ["", "a text", "- 1\n- {kind: 3}", "kind: List\nitems: 7"])
def test_what_is_no_object_is_none(text: str) -> None:
    """Whatever YAML holds."""
    assert services(parse("x.yaml", text)) == []


def test_credentials_are_found_among_the_objects() -> None:
    """What is not there is told; an account called `default` is everywhere."""
    account = "{kind: ServiceAccount, metadata: {name: fetcher}, secrets: [{name: keys}, {name: gone}]}"
    found = parse(
        "a.yaml", f"{account}\n---\n{{kind: Secret, metadata: {{name: keys}}, data: {{HF_TOKEN: eA==}}}}"
    )
    answer = credentials(found, "default", ("fetcher", ""))
    assert [(secret.name, set(secret.keys)) for secret in answer.secrets] == [("keys", {"HF_TOKEN"})]
    assert answer.problem.endswith("credentials: Secret gone")
    assert "ServiceAccount fetcher" in credentials(found, "other", ("fetcher", "")).problem
    assert not credentials(found, "default", ("default", "")).problem
