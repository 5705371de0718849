"""The `sticky` section: by what requests are told to come from one user, who then stays with one Backend of the split."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, field_validator, model_validator

from gateway.asked import Source
from gateway.config.matching import FieldName, Parameter, TokenName
from gateway.config.problems import fault, show
from gateway.config.section import Section
from gateway.config.tls import FileName
from gateway.config.units import Duration
from gateway.sticky import Cookie, Sticky


def check_cookie_path(value: str) -> str:
    if not value.startswith("/") or not value.isascii() or not value.isprintable() or ";" in value:
        raise fault(f"{show(value)} must begin with `/` and be without `;` and characters beyond ASCII")
    return value


def only_true(value: object) -> object:
    if value is not True:
        raise fault(f"must be true, or left out, got {show(value)}")
    return value


class StickyCookie(Section):
    """The cookie, which clients are given when they come without."""

    name: TokenName = "tidegate"
    max_age: Duration | None = None
    """How long clients keep it. When left out: until their session ends."""
    path: Annotated[str, AfterValidator(check_cookie_path)] = "/"
    same_site: Literal["lax", "strict", "none"] = "lax"
    secure: bool = False
    """It is sent over TLS only."""
    http_only: bool = True
    """Scripts cannot read it."""
    secret_file: FileName | None = None
    """A file whose content signs the value, so that nobody can make one up. Read with this file; a relative path starts from its folder."""

    @field_validator("secure")
    @classmethod
    def _secure_enough(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001  # as pydantic calls it
        if info.data.get("same_site") == "none" and not value:
            raise fault("must be true beside `same_site: none`: browsers refuse such a cookie otherwise")
        return value

    def built(self, secret: bytes) -> Cookie:
        parts = [f"Path={self.path}", f"SameSite={self.same_site.capitalize()}"]
        if self.max_age is not None:
            parts.append(f"Max-Age={round(self.max_age)}")
        parts += ["Secure"] * self.secure + ["HttpOnly"] * self.http_only
        return Cookie(self.name.encode(), "".join(f"; {part}" for part in parts).encode(), secret)


class StickyConfig(Section):
    """One of these."""

    header: FieldName | None = None
    """A header field's value."""
    cookie: StickyCookie | None = None
    client_address: Annotated[Literal[True], BeforeValidator(only_true)] | None = None
    """The client's, as `forwarded.trusted_proxies` tell it."""
    query: Parameter | None = None
    """A parameter of the target."""

    @model_validator(mode="after")
    def _one_key(self) -> "StickyConfig":
        given = [
            key for key in ("header", "cookie", "client_address", "query") if getattr(self, key) is not None
        ]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise fault(f"must have one of header, cookie, client_address or query, got {found}")
        return self

    def built(self, secret: bytes) -> Sticky:
        """`secret`: what `secret_file` holds, if one is named."""
        if self.cookie is not None:
            return Sticky(Source("cookie", self.cookie.name.encode()), self.cookie.built(secret))
        if self.header is not None:
            return Sticky(Source("header", self.header.encode()))
        return Sticky(
            Source("client_address") if self.query is None else Source("query", self.query.encode())
        )
