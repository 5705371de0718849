"""A list is read item by item as it would be in one go."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kube.pages import Page

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SPACES = st.sampled_from([None, 1, "\t"])


def read(text: str) -> dict[str, Any]:
    """All of it, as json.loads would return it."""
    page = Page(text)
    items = list(page.items())
    return {**page.rest, "items": items} if "items" not in page.rest else page.rest


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.lists(VALUES, max_size=4), SPACES, st.booleans())
def test_nothing_is_lost_whatever_the_order_and_the_spaces(
    rest: dict[str, Any], items: list[Any], indent: int | str | None, first: bool
) -> None:
    """The API server writes metadata first and no spaces, what stands before it may not."""
    listed = {"items": items}
    whole = {**listed, **rest, **listed} if first else {**rest, **listed}
    assert read(json.dumps(whole, indent=indent)) == whole


def test_the_rest_is_known_when_the_items_have_been_gone_through() -> None:
    """Not before: it may stand behind them."""
    page = Page('{"items":[1,2],"metadata":{"continue":"x"}}')
    items = page.items()
    assert next(items) == 1
    assert not page.rest
    assert list(items) == [2]
    assert page.rest == {"metadata": {"continue": "x"}}
    assert repr(page) == "<Page read up to 43 of 43>"


@pytest.mark.parametrize("text", ['{"items":null}', "{}", '{"kind":"PodList"}'])
def test_a_list_may_have_no_items(text: str) -> None:
    """As some write it, and as an object that is no list."""
    assert list(Page(text).items()) == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "<html>", '{"items":[1', '{"items":[1 2]}', '{"items":[1]', '{"items"}', "{1:2}", "{[]:2}"],
)
def test_what_is_no_json_object_is_refused(text: str) -> None:
    """A proxy's page, or an answer that was cut off."""
    with pytest.raises(ValueError, match=r"expected|Expecting"):
        list(Page(text).items())
