"""From a file to a Config: what reading can meet, options, and where things are."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.config import Address, Config, ConfigError, Overrides, json_schema, load
from gateway.config.load import digest

SMALL = "backends: {a: {target: {urls: [http://a]}}}\nroutes: [{name: r, split: {a: 1}}]"


@pytest.mark.parametrize("key", ["backends", "routes"])
def test_an_empty_section_is_refused(refused: Callable[[str], list[str]], key: str) -> None:
    """Saved while Tidegate runs, it would take everything away."""
    other = {
        "backends": "routes: [{name: r, split: {a: 1}}]",
        "routes": "backends: {a: {target: {urls: [http://a]}}}",
    }
    empty = {"backends": "backends: {}", "routes": "routes: []"}
    assert any(f"{key}: must not be empty" in line for line in refused(f"{empty[key]}\n{other[key]}"))


Refused = Callable[[str | bytes], list[str]]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "x.yaml: is empty: a configuration has at least `backends` and `routes`"),
        (b"# nothing\n", "x.yaml: is empty: a configuration has at least `backends` and `routes`"),
        (b"~", "x.yaml: is empty: a configuration has at least `backends` and `routes`"),
        (b"\n- a\n- b", "x.yaml:2: must be a mapping with keys such as `routes`, got a list"),
        (b"hello", "x.yaml:1: must be a mapping with keys such as `routes`, got 'hello'"),
        (b"a: 1\n\xff\xfe", "x.yaml:2: is not UTF-8 text: byte 0xff"),
        (b"a: 1\nb: \x00", "x.yaml:2: not text: it holds a control character"),
        (
            b"a: [1\nb: 2",
            "x.yaml:2: not YAML: did not find expected ',' or ']' while parsing a flow sequence from line 1",
        ),
        pytest.param(b"#" * (16 * 2**20 + 1), "x.yaml: is larger than 16 MiB", id="a huge file"),
    ],
)
def test_what_is_no_configuration_is_one_line(refused: Refused, content: bytes, line: str) -> None:
    """Whatever the file is."""
    assert refused(content) == [line]


def test_required_sections_must_be_there(refused: Refused) -> None:
    """Each that is missing is named."""
    assert refused(b"listen: :80") == [
        "x.yaml:1: required key 'backends' is missing",
        "x.yaml:1: required key 'routes' is missing",
    ]


def test_a_byte_order_mark_is_no_mistake(write: Callable[[str | bytes], Path]) -> None:
    """Some editors write one."""
    assert load(write(b"\xef\xbb\xbf" + SMALL.encode())).warnings == ()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("missing.yaml", "missing.yaml: there is no such file"),
        (".", ".: is a directory: name the file in it"),
        ("a\0b", "a\\x00b: cannot be read: embedded null byte"),
        ("x" * 300, f"{'x' * 300}: cannot be read: File name too long"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, text: str
) -> None:
    """With the reason."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(Path(path))
    assert str(caught.value) == text


def test_faults_of_the_yaml_and_of_the_models_come_together_in_order(refused: Refused) -> None:
    """A duplicate key does not hide what else is wrong."""
    assert refused("drain: 1\nlisten: :80\nlisten: :81\nlog_dir: 5") == [
        "x.yaml:1 drain: must be a mapping of keys to values, got 1",
        "x.yaml:3: key 'listen' is given twice, first on line 2",
        'x.yaml:4 log_dir: must be text, got 5: quote it, "5"',
    ]


def test_a_duplicate_key_alone_stops_the_file(refused: Refused) -> None:
    """Nobody can tell which one was meant."""
    assert refused("listen: :80\nlisten: :81") == ["x.yaml:2: key 'listen' is given twice, first on line 1"]


def test_an_optional_key_without_value_stops_the_file(refused: Refused) -> None:
    """Even where leaving it out would do."""
    text = "backends: {a: {target: {urls: [http://a], command: }}}"
    assert refused(text) == ["x.yaml:1 backends.a.target.command: has no value: give one, or remove the key"]


def test_options_go_before_the_file(write: Callable[[str | bytes], Path]) -> None:
    """Each replaces its own address."""
    path = write("listen: :80\nadmin: :81\n" + SMALL)
    config = load(path, Overrides(listen="127.0.0.1:0", admin="[::1]:9", autoscaler_admin=":7"))
    assert (config.listen, config.admin, config.autoscaler.admin) == (
        Address("127.0.0.1", 0),
        Address("::1", 9),
        Address("", 7),
    )
    assert load(path, Overrides()).listen == Address("", 80)


def test_a_wrong_option_is_named(write: Callable[[str | bytes], Path]) -> None:
    """By the option, not by the file."""
    with pytest.raises(ConfigError) as caught:
        load(write(""), Overrides(listen="8080", admin="x:y"))
    assert str(caught.value) == "--listen: '8080' is not HOST:PORT\n--admin: 'x:y' is not HOST:PORT"


def test_options_may_clash_with_the_file(write: Callable[[str | bytes], Path]) -> None:
    """What counts is what will be listened on."""
    with pytest.raises(ConfigError, match=r"admin: 127\.0\.0\.1:8081 is taken by `listen`, :8081"):
        load(write(SMALL), Overrides(listen=":8081"))


def test_paths_start_from_the_files_folder(loaded: Callable[[str], Config], tmp_path: Path) -> None:
    """Unless they are absolute."""
    config = loaded("")
    assert (config.base_dir, config.log_path) == (tmp_path, tmp_path / ".tidegate/logs")
    assert loaded("log_dir: /var/log/x").log_path == Path("/var/log/x")
    assert loaded("log_dir: logs").log_path == tmp_path / "logs"


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("", ["http://127.0.0.1:8081"]),
        ("admin: :9", ["http://127.0.0.1:9"]),
        ("admin: '[::1]:9'", ["http://[::1]:9"]),
        ("autoscaler: {gateways: [http://g1:81, http://g2:81]}", ["http://g1:81", "http://g2:81"]),
    ],
)
def test_the_autoscaler_listens_to_this_gateway_unless_told(
    loaded: Callable[[str], Config], text: str, urls: list[str]
) -> None:
    """Every interface is reached by way of 127.0.0.1."""
    assert [address.url for address in loaded(text).gateway_urls] == urls


def test_a_config_is_never_changed(loaded: Callable[[str], Config]) -> None:
    """It is shared by whoever was told of it."""
    config = loaded("")
    with pytest.raises(ValidationError, match="frozen"):
        config.listen = Address("", 1)  # type: ignore[misc]


def test_a_config_says_what_it_is(loaded: Callable[[str], Config]) -> None:
    """Its file and its size; its digest is that of the file's bytes."""
    config = loaded("")
    assert repr(config) == str(config) == "<Config x.yaml 1 routes, 1 backends>"
    assert config.digest == digest(Path("x.yaml").read_bytes())


def test_a_thousand_routes_and_backends_load(loaded: Callable[[str], Config]) -> None:
    """Each with the usual sections."""
    backends = "".join(
        f"  m{i}: {{target: {{command: [python, s.py, '{{port}}']}}, concurrency: 2, scale: {{max: 3}}}}\n"
        for i in range(1000)
    )
    routes = "".join(
        f"  - {{name: r{i}, hosts: [m{i}.example.com], paths: [/v1, /v2], split: {{m{i}: 9, m{(i + 1) % 1000}: 1}}}}\n"
        for i in range(1000)
    )
    config = loaded(f"backends:\n{backends}routes:\n{routes}")
    assert (len(config.backends), len(config.routes), config.warnings) == (1000, 1000, ())


def test_the_schema_is_json_and_knows_every_section() -> None:
    """Editors complete and check with it; defaults read as in the file."""
    schema = json.loads(json.dumps(json_schema()))
    assert schema["anyOf"][0]["required"] == ["backends", "routes"]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["ScaleConfig"]["properties"]["stable_window"]["default"] == "60s"
    assert "503" in schema["$defs"]["Queue"]["properties"]["depth"]["description"]
    assert {"listen", "admin", "autoscaler", "defaults", "drain", "log_dir"} < set(schema["properties"])


def test_a_port_without_quotes_is_told_as_such(refused: Callable[[str], list[str]]) -> None:
    """YAML reads {port} as a mapping: the likeliest slip in a command."""
    text = "backends: {a: {target: {command: [serve, --port, {port}]}}}"
    (problem,) = [line for line in refused(text) if "command[2]" in line and "quotes" in line]
    assert '"{port}"' in problem


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (
            "ConfigMap",
            "is a manifest of Kubernetes (kind ConfigMap): check what stands in it under `data`, which kubectl",
        ),
        ("Deployment", "is a manifest of Kubernetes (kind Deployment), no configuration of Tidegate's"),
        ("InferenceService", "`tidegate render FILE` checks it"),
    ],
)
def test_a_manifest_is_one_hint(refused: Refused, kind: str, told: str) -> None:
    """Its keys are not told one by one as those that nobody knows."""
    (problem,) = refused(f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: tidegate}}\ndata: {{}}\n")
    assert told in problem
