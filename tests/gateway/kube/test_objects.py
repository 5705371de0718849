"""Selectors in both forms, and finding those that choose an object."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kube.objects import (
    Index,
    Labelled,
    Requirement,
    Selector,
    condition,
    epoch,
    parse_selector,
    rfc3339,
    selector_of,
)

LABELS = {"app": "iris", "tier": "gold", "version": "v1"}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("app=iris", True),
        ("app==iris", True),
        ("app=iris,tier=silver", False),
        ("tier in (gold, silver),app=iris", True),
        ("tier notin (gold,silver)", False),
        ("zone notin (a)", True),
        ("app!=iris", False),
        ("zone!=a", True),
        ("version", True),
        ("!version", False),
        ("!zone", True),
        ("", False),
    ],
)
def test_a_selector_is_read_from_text(text: str, chosen: bool) -> None:
    """As a scale's status has it; none chooses nothing, not everything."""
    assert parse_selector(text).matches(LABELS) is chosen


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ({"key": "tier", "operator": "In", "values": ["gold"]}, True),
        ({"key": "tier", "operator": "NotIn", "values": ["gold"]}, False),
        ({"key": "tier", "operator": "Exists"}, True),
        ({"key": "zone", "operator": "DoesNotExist"}, True),
        ({"key": "zone", "operator": "Near"}, False),
    ],
)
def test_a_selector_is_read_from_a_mapping(expression: dict[str, object], chosen: bool) -> None:
    """All terms must hold; an operator that is unknown holds for nothing."""
    mapping = {"matchLabels": {"app": "iris"}, "matchExpressions": [expression]}
    assert selector_of(mapping).matches(LABELS) is chosen
    assert not selector_of({**mapping, "matchLabels": {"app": "other"}}).matches(LABELS)


def test_no_selector_chooses_nothing() -> None:
    """A mistake must not take in a whole namespace."""
    assert not selector_of(None).matches(LABELS)


KEYS, VALUES = st.sampled_from("abc"), st.sampled_from("xyz")
TERMS = st.builds(
    Requirement,
    KEYS,
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.frozensets(VALUES, min_size=1),
)
SELECTORS = st.lists(TERMS, max_size=3).map(lambda terms: Selector(tuple(terms)))


@given(st.dictionaries(st.integers(0, 5), SELECTORS), st.dictionaries(KEYS, VALUES), st.data())
def test_the_index_finds_exactly_those_that_match(
    selectors: dict[int, Selector], labels: dict[str, str], data: st.DataObject
) -> None:
    """Also after some were replaced or taken out."""
    index: Index[int] = Index()
    for owner, selector in selectors.items():
        index.put(owner, selector)
    for owner in data.draw(st.lists(st.sampled_from(sorted(selectors)), unique=True)) if selectors else ():
        selectors[owner] = data.draw(SELECTORS)
        assert index.put(owner, selectors[owner]) in (True, False)
        if data.draw(st.booleans()):
            del selectors[owner]
            index.put(owner, None)
    assert index.find(labels) == {owner for owner, one in selectors.items() if one.matches(labels)}


def test_the_index_tells_whether_something_changed() -> None:
    """So that a namespace is not looked through for nothing."""
    index: Index[str] = Index()
    assert index.put("a", parse_selector("app=iris"))
    assert not index.put("a", parse_selector("app=iris"))
    assert index.put("a", None)
    assert not index.put("a", None)
    assert repr(index) == "<Index of 0 selectors>"


def test_a_label_that_all_select_by_is_not_looked_for() -> None:
    """Charts give one to all that they install; it stands first, as labels are sorted."""
    index: Index[int] = Index()
    for number in range(100):
        index.put(number, parse_selector(f"app=model,name=m{number}"))
    tried = []

    class Labels(dict[str, str]):
        def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
            tried.append(key)
            return super().get(key, default)

    assert index.find(Labels(app="model", name="m7")) == {7}
    assert len(tried) <= 4


@given(
    st.dictionaries(st.text("abcd", min_size=1, max_size=2), st.dictionaries(KEYS, VALUES)),
    SELECTORS,
    st.data(),
)
def test_objects_that_a_selector_chooses_are_among_those_found(
    objects: dict[str, dict[str, str]], selector: Selector, data: st.DataObject
) -> None:
    """Also after their labels have changed, or they have gone."""
    labelled = Labelled()
    for name, labels in objects.items():
        labelled.put(name, (), labels.items())
    for name in data.draw(st.lists(st.sampled_from(sorted(objects)), unique=True)) if objects else ():
        now = data.draw(st.dictionaries(KEYS, VALUES))
        labelled.put(name, objects[name].items(), now.items())
        objects[name] = now
    found = labelled.find(selector)
    chosen = {name for name, labels in objects.items() if selector.matches(labels)}
    assert found is None or chosen <= found <= objects.keys()
    for name, labels in objects.items():
        labelled.put(name, labels.items(), ())
    assert repr(labelled) == "<Labelled by 0 labels>"


def test_objects_are_found_by_the_label_that_fewest_have() -> None:
    """And not at all by what objects may lack."""
    labelled = Labelled()
    for number in range(10):
        labelled.put(f"pod-{number}", (), {"app": "model", "name": f"m{number // 2}"}.items())
    assert labelled.find(parse_selector("app=model,name=m1")) == {"pod-2", "pod-3"}
    assert labelled.find(parse_selector("app=model,name in (m1,m4)")) == {"pod-2", "pod-3", "pod-8", "pod-9"}
    assert labelled.find(parse_selector("app=other")) == set()
    assert labelled.find(parse_selector("app!=model")) is None


@pytest.mark.parametrize(
    ("timespec", "text"),
    [("seconds", "1970-01-01T00:01:00Z"), ("microseconds", "1970-01-01T00:01:00.500000Z")],
)
def test_times_are_written_as_the_api_has_them(
    timespec: Literal["seconds", "microseconds"], text: str
) -> None:
    """A Time to the second, a MicroTime with all of its six digits."""
    assert rfc3339(60.5, timespec) == text


def test_times_and_conditions_are_read() -> None:
    """What is missing is zero, or None."""
    assert epoch("1970-01-01T00:01:00Z") == 60.0
    assert epoch(None) == 0.0
    item = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert condition(item, "Ready") == {"type": "Ready", "status": "True"}
    assert condition(item, "Other") is condition({}, "Ready") is None
