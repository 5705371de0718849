"""Custom resources are kept as their definition says."""

from typing import Any

import pytest

from tests.kube.errors import ApiError
from tests.kube.kinds import Resource
from tests.kube.structural import shape

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["count"],
            "properties": {
                "count": {"type": "integer", "minimum": 0, "maximum": 9},
                "mode": {"type": "string", "enum": ["a", "b"]},
                "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 3},
                "surge": {"x-kubernetes-int-or-string": True},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "ports": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "properties": {"protocol": {"type": "string", "default": "TCP"}},
                    },
                },
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
WIDGETS = Resource("example.com", "v1", "widgets", "Widget", custom=True, schema=SCHEMA)


def shaped(**spec: Any) -> dict[str, Any]:
    obj = {"metadata": {"name": "w"}, "spec": {"count": 1, **spec}}
    shape(WIDGETS, obj)
    found: dict[str, Any] = obj["spec"]  # type: ignore[assignment]
    return found


def test_what_is_not_in_the_schema_is_pruned() -> None:
    """At any depth, but not from maps."""
    found = shaped(unknown=1, labels={"a": "b"}, ports=[{"protocol": "UDP", "x": 1}])
    assert found == {"count": 1, "labels": {"a": "b"}, "ports": [{"protocol": "UDP"}]}


def test_defaults_are_filled_in() -> None:
    """Also in the items of lists."""
    assert shaped(ports=[{}])["ports"] == [{"protocol": "TCP"}]


def test_an_open_object_keeps_everything() -> None:
    """As the status of most."""
    obj = {"metadata": {"name": "w"}, "spec": {"count": 1}, "status": {"anything": 1}}
    shape(WIDGETS, obj)
    assert obj["status"] == {"anything": 1}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"count": "1"}, "must be of type integer"),
        ({"count": True}, "must be of type integer"),
        ({"count": 10}, "less than or equal to 9"),
        ({"count": -1}, "greater than or equal to 0"),
        ({"mode": "c"}, 'supported values: "a", "b"'),
        ({"name": "A"}, "should match"),
        ({"name": "abcd"}, "length"),
        ({"surge": 1.5}, "integer or string"),
        ({"labels": {"a": 1}}, "spec.labels.a in body must be of type string"),
        ({"ports": []}, "at least 1 items"),
        ({"ports": [1]}, r"spec.ports\[0\] in body must be of type object"),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused(spec: dict[str, Any], said: str) -> None:
    """With its place."""
    with pytest.raises(ApiError, match=said):
        shaped(**spec)


def test_what_is_missing_is_refused() -> None:
    """By its name."""
    obj: dict[str, Any] = {"metadata": {"name": "w"}, "spec": {}}
    with pytest.raises(ApiError, match=r"spec\.count: Required value"):
        shape(WIDGETS, obj)
