"""The TLS sections: the certificate that clients are shown, and how pods behind https URLs are verified.

Files are only named here. What is in them shows when they are loaded (`gateway.credentials`), on the machine that uses them.
"""

from typing import Annotated, Literal

from pydantic import PlainValidator, StringConstraints, ValidationInfo, WithJsonSchema, field_validator

from gateway.config.addresses import ServerName
from gateway.config.problems import fault, show
from gateway.config.section import Section
from gateway.config.units import default

FileName = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*\z")]
Version = Literal["1.2", "1.3"]


def parse_version(value: object) -> Version:
    """`"1.2"` or `"1.3"`; without quotes YAML reads a number, which says the same."""
    for version in ("1.2", "1.3"):
        if value == version or (isinstance(value, float) and str(value) == version):
            return version
    raise fault(f'must be "1.2" or "1.3", got {show(value)}')


MinVersion = Annotated[
    Version,
    PlainValidator(parse_version),
    WithJsonSchema({"enum": ["1.2", "1.3", 1.2, 1.3], "examples": ["1.2"]}),
]


class ListenerTls(Section):
    """TLS for clients. The files are read again when they change; connections that are open stay."""

    cert: FileName
    """The certificate, and those between it and its root, in PEM form. A relative path starts from this file's folder."""
    key: FileName
    """The certificate's private key, in PEM form and without a passphrase."""
    min_version: MinVersion = default("1.2")
    """The oldest version of TLS that clients may speak."""


class PodTls(Section):
    """How pods behind https URLs are verified."""

    verify: bool = True
    """false: any certificate will do, so that whoever can answer at the address gets the requests."""
    ca: FileName | None = None
    """The certificates to trust, in PEM form. A relative path starts from this file's folder. When left out: the system's."""
    server_name: ServerName | None = None
    """The name that the certificate must be for. When left out: the URL's host."""

    @field_validator("ca")
    @classmethod
    def _ca_is_used(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("verify") is False:
            raise fault("has no use beside `verify: false`: nothing is verified")
        return value
