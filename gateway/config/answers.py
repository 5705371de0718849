"""What a Route does instead of asking a pod, or this pod: the sections `redirect`, `respond`, `fallback` and `placeholder`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from gateway.answers import Fixed, Placeholder, Redirect
from gateway.config.problems import fault
from gateway.config.rewriting import Authority, FieldValue, Prefix, ResponseField, move
from gateway.config.section import Section
from gateway.config.units import Duration, between, default, format_duration, format_size
from gateway.http1 import BODYLESS, field_line
from gateway.routing import PathRule

LARGEST_BODY = 65536
"""Bytes; what is larger is a file, which a pod should serve."""


def _small(value: str) -> str:
    size = len(value.encode("utf-8", "surrogatepass"))
    if size > LARGEST_BODY:
        raise fault(f"must have {format_size(LARGEST_BODY)} at most, got {size} bytes")
    return value


Page = Annotated[str, AfterValidator(_small)]
Status = Annotated[int, Field(ge=200, le=599)]
Patience = Annotated[Duration, between(0.1, 3600.0, format_duration)]
Refresh = Annotated[Duration, between(1.0, 3600.0, format_duration)]
STARTING = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Starting</title>
<p>This is being started, and will be here in a moment.</p>
</html>
"""


def fixed(status: int, content_type: str, body: str, headers: dict[str, str]) -> Fixed:
    """A body of text, and fields."""
    lines = [field_line(name.encode(), value.encode()) for name, value in headers.items()]
    data = body.encode("utf-8", "surrogatepass")
    if data and "content-type" not in headers:
        lines.insert(0, field_line(b"content-type", content_type.encode()))
    return Fixed(status, tuple(lines), data)


class RedirectConfig(Section):
    """The same resource, elsewhere. What is left out stays as the client asked for it; the query always does."""

    scheme: Literal["http", "https"] | None = None
    host: Authority | None = None
    prefix: Prefix | None = None
    """In place of the path that the route matched; what comes behind it stays."""
    status: Literal[301, 302, 303, 307, 308] = 308
    """308 and 307 (for now) keep the method; 301 and 302 let clients make a POST a GET; 303 asks them to."""

    @model_validator(mode="after")
    def _elsewhere(self) -> "RedirectConfig":
        if self.scheme is None and self.host is None and self.prefix is None:
            raise fault("must have a `scheme`, a `host` or a `prefix`: it would lead to itself")
        return self

    def built(self, paths: tuple[PathRule, ...]) -> Redirect:
        scheme, host = (self.scheme or "").encode(), (self.host or "").encode()
        return Redirect(self.status, scheme, host, move(paths, self.prefix))


class RespondConfig(Section):
    """The same answer for everyone: maintenance, a robots.txt."""

    status: Status = 200
    content_type: FieldValue = "text/plain; charset=utf-8"
    headers: dict[ResponseField, FieldValue] = Field(default_factory=dict)
    body: Page = ""
    """Text, sent as UTF-8."""

    @field_validator("body")
    @classmethod
    def _may_have_one(cls, value: str, info: ValidationInfo) -> str:
        status = info.data.get("status")
        if value and status in BODYLESS:
            raise fault(f"must be left out: an answer with status {status} has none")
        return value

    def built(self) -> Fixed:
        return fixed(self.status, self.content_type, self.body, self.headers)


class FallbackConfig(Section):
    """Another Backend, for requests that their own cannot serve."""

    backend: str
    after: Patience = default("2s")
    """How long a request waits without any pod; where none can start, or the queue is full, it does not wait."""


class PlaceholderConfig(Section):
    """A page for browsers that would have to wait for a start; they ask again by themselves."""

    after: Patience = default("1s")
    """How long they wait without any pod."""
    status: Status = 503
    body: Page = STARTING
    """HTML, sent as UTF-8."""
    refresh: Refresh = default("5s")
    """When the browser asks again."""

    def built(self) -> Placeholder:
        seconds = f"{round(self.refresh)}"
        headers = {"refresh": seconds, "retry-after": seconds, "cache-control": "no-store"}
        return Placeholder(self.after, fixed(self.status, "text/html; charset=utf-8", self.body, headers))
