"""The TLS sections: what they take, and what they must have to do with the rest."""

from collections.abc import Callable, Iterable
from typing import Any

import jsonschema
import pytest

from gateway.config import Address, Config, PodTls, json_schema

Loaded = Callable[[str], Config]
Refused = Callable[[str], list[str]]


def backend(target: str) -> str:
    return f"backends: {{a: {{target: {target}}}}}"


@pytest.mark.parametrize("written", ['"1.2"', "1.2", '"1.3"', "1.3"])
def test_a_version_may_be_written_as_a_number(loaded: Loaded, written: str) -> None:
    """YAML reads one where the quotes are left out, and it says the same."""
    config = loaded(f"tls: {{cert: a.crt, key: a.key, min_version: {written}}}")
    assert config.tls is not None
    assert config.tls.min_version == written.strip('"')


def test_a_listener_has_the_defaults(loaded: Loaded) -> None:
    """Plain HTTP; with certificates TLS 1.2 and newer."""
    assert loaded("").tls is None
    tls = loaded("tls: {cert: a.crt, key: a.key}").tls
    assert tls is not None
    assert (tls.cert, tls.key, tls.min_version) == ("a.crt", "a.key", "1.2")


@pytest.mark.parametrize(
    ("tls", "problems"),
    [
        ("{}", [": required key 'cert' is missing", ": required key 'key' is missing"]),
        ("{cert: '', key: k}", [".cert: must not be empty"]),
        ("{cert: c, key: 5}", ['.key: must be text, got 5: quote it, "5"']),
        ('{cert: c, key: "a\\0b"}', [".key: 'a\\x00b' holds a NUL character"]),
        ('{cert: c, key: k, min_version: "1.1"}', ['.min_version: must be "1.2" or "1.3", got \'1.1\'']),
        ("{cert: c, key: k, min_version: 1.1}", ['.min_version: must be "1.2" or "1.3", got 1.1']),
        ("{cert: c, key: k, min_version: 1}", ['.min_version: must be "1.2" or "1.3", got 1']),
        ("{cert: c, key: k, min_version: true}", ['.min_version: must be "1.2" or "1.3", got true']),
        ("{cert: c, key: k, ca: x}", [": unknown key 'ca' (there are: cert, key, min_version)"]),
    ],
)
def test_a_mistake_in_the_listeners_section_is_named(refused: Refused, tls: str, problems: list[str]) -> None:
    """With its place."""
    told = refused(f"tls: {tls}")
    assert len(told) == len(problems)
    assert all(line.startswith(f"x.yaml:1 tls{text}") for line, text in zip(told, problems, strict=True))


def test_pods_behind_https_are_verified_unless_told_otherwise(loaded: Loaded) -> None:
    """Against the system's CAs, by the URL's host; the port is 443."""
    target = loaded(backend("{urls: [https://models.example.com]}")).backends["a"].target
    assert target.urls == (Address("models.example.com", 443, secure=True),)
    assert (target.secure, target.tls) == (True, None)
    assert (PodTls().verify, PodTls().ca, PodTls().server_name) == (True, None, None)


@pytest.mark.parametrize(
    "target",
    ["{urls: [http://a]}", "{deployment: d, port: 80}", "{command: [x, '{port}']}"],
)
def test_other_pods_are_spoken_to_in_plain_http(loaded: Loaded, target: str) -> None:
    """TLS is for URLs that say so."""
    assert not loaded(backend(target)).backends["a"].target.secure


@pytest.mark.parametrize(
    ("target", "problems"),
    [
        ("{urls: [http://a], tls: {}}", [".tls: belongs to https URLs, and the target has none"]),
        ("{command: [x, '{port}'], tls: {}}", [".tls: belongs to https URLs, and the target has none"]),
        ("{urls: [https://a, http://b]}", [".urls[1]: must have the scheme of the target's first URL"]),
        ("{urls: [http://a, https://b]}", [".urls[1]: must have the scheme of the target's first URL"]),
        ("{urls: [ftp://a], tls: {}}", [".urls[0]: 'ftp://a' is not a URL of the form http://HOST:PORT"]),
        (
            "{urls: [https://a], tls: {verify: false, ca: x}}",
            [".tls.ca: has no use beside `verify: false`: nothing is verified"],
        ),
        ("{urls: [https://a], tls: {ca: ''}}", [".tls.ca: must not be empty"]),
        ("{urls: [https://a], tls: {server_name: 5}}", [".tls.server_name: must be a host name, got 5"]),
        (
            "{urls: [https://a], tls: {servername: a}}",
            [".tls: unknown key 'servername' (did you mean 'server_name'?)"],
        ),
    ],
)
def test_a_mistake_in_a_targets_section_is_named(refused: Refused, target: str, problems: list[str]) -> None:
    """With its place, and what to do."""
    told = refused(backend(target))
    assert len(told) == len(problems)
    prefix = "x.yaml:1 backends.a.target"
    assert all(line.startswith(prefix + text) for line, text in zip(told, problems, strict=True))


def test_a_slip_in_a_section_that_may_be_left_out_gets_a_proposal(refused: Refused) -> None:
    """As in any other."""
    (line,) = refused("tls: {cert: c, key: k, min_versoin: 1.2}")
    assert "did you mean 'min_version'" in line


@pytest.mark.parametrize("name", ["a b", "a/b", "", "*.a"])
def test_a_server_name_is_one_name(refused: Refused, name: str) -> None:
    """What a certificate can be for."""
    (line,) = refused(backend(f"{{urls: [https://a], tls: {{server_name: '{name}'}}}}"))
    assert line.startswith("x.yaml:1 backends.a.target.tls.server_name: ")


def test_pods_that_are_not_verified_are_a_warning(loaded: Loaded) -> None:
    """It works, and is rarely meant."""
    config = loaded(backend("{urls: [https://a], tls: {verify: false}}"))
    (warning,) = config.warnings
    assert "backends.a.target.tls.verify: its pods are not verified" in str(warning)
    assert not loaded(backend("{urls: [https://a], tls: {verify: true}}")).warnings


def test_a_gateways_admin_side_has_no_tls(refused: Refused) -> None:
    """The autoscaler listens to it in plain HTTP."""
    (line,) = refused("autoscaler: {gateways: [https://a]}")
    assert line.endswith("https is not supported here: a gateway's admin side speaks http")


def test_the_files_of_a_configuration_are_told_with_their_lines(loaded: Loaded) -> None:
    """What is in them shows later, and has its place then, too."""
    config = loaded(
        "tls:\n  cert: c\n  key: k\n"
        "backends: {a: {target: {urls: [https://a],\n tls: {ca: x}}}, b: {target: {urls: [https://b]}}}"
    )
    ca = ("backends", "a", "target", "tls", "ca")
    assert dict(config.files()) == {("tls", "cert"): "c", ("tls", "key"): "k", ca: "x"}
    assert str(config.file_problem(("tls", "key"), "no")) == "x.yaml:3 tls.key: no"
    assert str(config.file_problem(ca, "no")) == "x.yaml:5 backends.a.target.tls.ca: no"


def errors(document: Any) -> Iterable[str]:
    return [error.message for error in jsonschema.Draft202012Validator(json_schema()).iter_errors(document)]


@pytest.mark.parametrize(("version", "valid"), [("1.2", True), (1.3, True), ("1.1", False), (1.1, False)])
def test_the_schema_knows_the_versions(version: object, valid: bool) -> None:
    """For editors."""
    document = {
        "tls": {"cert": "c", "key": "k", "min_version": version},
        "backends": {"a": {"target": {"urls": ["https://a"], "tls": {"server_name": "b"}}}},
        "routes": [{"name": "r", "split": {"a": 1}}],
    }
    assert (errors(document) == []) is valid
