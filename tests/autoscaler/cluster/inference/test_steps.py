"""What is left to write."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.cluster.inference.kinds import DOCUMENTS
from autoscaler.cluster.inference.steps import Step, difference, document_item, document_steps, over, steps_to
from autoscaler.inference.shapes import WANTED

Object = dict[str, Any]
DOCUMENT = {"backends": {"a": {"target": {"deployment": "a"}}}, "routes": []}


def made(seal: str = "1", kind: str = "Deployment", name: str = "iris", **spec: Any) -> Object:
    about: Object = {"name": name, "namespace": "models", "annotations": {WANTED: seal}, "labels": {}}
    return {"kind": kind, "metadata": about, "spec": spec}


def there(item: Object, **metadata: Any) -> Object:
    return {**item, "metadata": {**item["metadata"], "resourceVersion": "7", "uid": "u", **metadata}}


def said(steps: Any) -> list[str]:
    return [str(step) for step in steps]


def test_what_is_as_wanted_is_left_alone() -> None:
    """It has all that we set, whatever else the server has put in."""
    live = there(made(replicas=3, strategy={"type": "RollingUpdate"}))
    assert said(steps_to([made()], [live])) == []


_VALUES = st.recursive(
    st.sampled_from(["a", "b", 0, 1, True, None]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["type", "selector", "ports"]), _VALUES, min_size=1), st.data())
def test_what_another_hand_changed_is_put_back_once(spec: Object, data: st.DataObject) -> None:
    """Whatever it was; and whatever an API server makes of a write is left as it is from then on."""
    item = made(kind="Service", **spec)
    key = data.draw(st.sampled_from(sorted(spec)))
    changed = data.draw(_VALUES.filter(lambda value: value != spec[key]))
    live = there(made(kind="Service", **{**spec, key: changed}))
    altered = difference(live, item)
    if altered:
        assert said(steps_to([item], [live])) == ["replace service models/iris"]
    assert said(steps_to([item], [live], {altered})) == []
    [back] = steps_to([item], [there(made(kind="Service", other=1))])
    assert said(steps_to([item], [there(back.body)])) == []


def test_objects_are_made_replaced_and_at_last_deleted() -> None:
    """In that order, so that what takes over is there first."""
    wanted = [made(name="new"), made("2", name="other")]
    live = [there(made(name="old")), there(made("1", name="other"))]
    assert said(steps_to(wanted, live)) == [
        "create deployment models/new",
        "replace deployment models/other",
        "delete deployment models/old",
    ]


def test_what_is_going_already_is_not_deleted_again() -> None:
    """Its pods may take a while."""
    assert said(steps_to([], [there(made(), deletionTimestamp="2026-01-01T00:00:00Z")])) == []


def test_a_replaced_deployment_keeps_its_count() -> None:
    """It is the autoscaler's; and the write is bound to what was seen."""
    item = over(there(made(replicas=3)), made("2", template={}))
    assert item["spec"] == {"template": {}, "replicas": 3}
    assert item["metadata"]["resourceVersion"] == "7"


def test_a_replaced_service_keeps_its_addresses() -> None:
    """Unless it becomes one of another type."""
    live = there(made(kind="Service", type="ClusterIP", clusterIP="10.0.0.1", clusterIPs=["10.0.0.1"]))
    same = over(live, made("2", "Service", type="ClusterIP"))
    assert same["spec"] == {"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}
    other = over(live, made("2", "Service", type="ExternalName"))
    assert other["spec"] == {"type": "ExternalName"}


def test_labels_and_annotations_of_others_stay() -> None:
    """Ours that are not wanted any more go."""
    others = {"team": "blue", "tidegate.dev/budget": "3", WANTED: "1"}
    item = over(there(made(), annotations=others), made("2"))
    assert item["metadata"]["annotations"] == {"team": "blue", WANTED: "2"}


def test_a_document_is_written_once() -> None:
    """It says whose it is, and is read as it was."""
    [step] = document_steps(("models", "iris"), "tidegate", DOCUMENT, [])
    assert step == Step("create", DOCUMENTS, document_item(("models", "iris"), "tidegate", DOCUMENT))
    assert yaml.safe_load(step.item["data"]["tidegate.yaml"]) == DOCUMENT
    assert step.item["metadata"]["name"] == "isvc.models.iris"
    assert said(document_steps(("models", "iris"), "tidegate", DOCUMENT, [there(step.item)])) == []


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({**DOCUMENT, "routes": [{"name": "x"}]}, ["replace configmap tidegate/isvc.models.iris"]),
        (None, ["delete configmap tidegate/isvc.models.iris"]),
    ],
    ids=["changed", "none"],
)
def test_a_document_follows(document: Object | None, words: list[str]) -> None:
    """What is wanted."""
    live = there(document_item(("models", "iris"), "tidegate", DOCUMENT))
    assert said(document_steps(("models", "iris"), "tidegate", document, [live])) == words


def test_a_document_under_another_name_goes() -> None:
    """There is one for each InferenceService."""
    live = there(document_item(("models", "iris"), "tidegate", DOCUMENT))
    stray = {**live, "metadata": {**live["metadata"], "name": "stray"}}
    steps = document_steps(("models", "iris"), "tidegate", DOCUMENT, [live, stray])
    assert said(steps) == ["delete configmap tidegate/stray"]


def test_a_long_name_makes_a_name_that_the_api_takes() -> None:
    """Namespace and name are at most 63 and 253 long."""
    item = document_item(("n" * 63, "i" * 253), "tidegate", DOCUMENT)
    assert len(item["metadata"]["name"]) <= 253
