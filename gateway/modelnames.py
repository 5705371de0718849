"""The name of the model that a request is for: where it stands, and another one in its place.

Core. In a path as KServe has it, /v1/models/NAME[:verb|/…] and /v2/models/NAME[/…], which goes before the body, since it says where the
request goes at the pod as well; else in the `model` of a JSON body. To put another name there changes these bytes alone.
"""

import json
from collections.abc import Mapping
from re import compile as pattern
from urllib.parse import quote, unquote

Found = Mapping[str, tuple[int, int]]
"""Where the values of members of a body begin and end, as `jsonscan` tells."""
MEMBER = "model"

_PATH = pattern(rb"/(?:v1/models/([^/:?]+)|v2/models/([^/?]+))(?=[/:?]|\Z)")


def in_target(target: bytes) -> str | None:
    """The name in a path, without its percent-encoding."""
    place = _place(target)
    return None if place is None else unquote(target[place[0] : place[1]].decode("latin-1"))


def in_body(body: bytes, found: Found) -> str | None:
    """The name in a body; None when there is none, or what stands there is no text."""
    place = found.get(MEMBER)
    value = b"" if place is None else body[place[0] : place[1]]
    return json.loads(value) if value.startswith(b'"') else None


def put_into_target(target: bytes, name: str) -> bytes:
    """`target` with another name in its path."""
    place = _place(target)
    return (
        target if place is None else target[: place[0]] + quote(name, safe="").encode() + target[place[1] :]
    )


def put_into_body(body: bytes, found: Found, name: str) -> bytes:
    """`body` with another name in its `model`."""
    begin, end = found[MEMBER]
    return body[:begin] + json.dumps(name).encode() + body[end:]


def _place(target: bytes) -> tuple[int, int] | None:
    found = _PATH.match(target)
    return found and found.span(found.lastindex or 0)
