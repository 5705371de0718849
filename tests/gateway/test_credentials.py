"""From configurations to what is in force: what is loaded, what is refused, and what a change of the files does."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway import credentials
from gateway.config import Config, ConfigError, load
from gateway.credentials import Credentials, Keeper, load_credentials
from gateway.state import TlsStatus
from tests.certificates import Authority
from tests.eventually import eventually

END = datetime(2031, 1, 1, tzinfo=UTC)
LATER = datetime(2032, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class Files:
    """A configuration and the files that it names, in a folder that is the working directory."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        self.authority = authority
        self.folder = folder
        self.issue(END)
        authority.write(folder)

    def issue(self, end: datetime, stem: str = "tls") -> None:
        self.authority.issue(self.folder, stem=stem, not_after=end)

    def load(self, *, listener: bool = True, **targets: str) -> Config:
        """Backends whose pods are spoken to over TLS, each with the section given for it."""
        lines = [
            'tls: {cert: tls.crt,\n key: tls.key, min_version: "1.3"}' if listener else "",
            "backends:",
            "  plain: {target: {urls: [http://127.0.0.1:9001]}}",
            *(f"  {name}: {{target: {{urls: [https://{name}]{tls}}}}}" for name, tls in targets.items()),
            "routes: [{name: r, split: {plain: 1}}]",
        ]
        path = self.folder / "x.yaml"
        path.write_text("\n".join(lines))
        return load(Path("x.yaml"))


@pytest.fixture
def files(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(credentials, "PATIENCE", 0.05)
    return Files(authority, tmp_path)


# -- loading


def test_without_tls_there_is_nothing_to_load(files: Files) -> None:
    """Nor to look at."""
    assert load_credentials(files.load(listener=False)) == Credentials()


def test_what_is_named_is_loaded(files: Files) -> None:
    """From the configuration's folder; Backends with plain URLs have nothing."""
    loaded = load_credentials(files.load(own=", tls: {ca: ca.crt, server_name: iris}", system=""))
    assert loaded.pair is not None
    assert loaded.pair.not_after == END.timestamp()
    assert set(loaded.digests) == {files.folder / name for name in ("tls.crt", "tls.key", "ca.crt")}
    assert set(loaded.trusts) == {"own", "system"}
    assert loaded.trusts["own"].verified_by == loaded.digests[files.folder / "ca.crt"]
    assert loaded.trusts["own"].server_name == "iris"
    assert loaded.trusts["system"].verified_by == "system"


def test_who_trusts_the_same_shares_a_context(files: Files) -> None:
    """Also over a reload, as long as the file is the same."""
    config = files.load(a=", tls: {ca: ca.crt}", b=", tls: {ca: ca.crt, server_name: c}", c="", d="")
    first = load_credentials(config)
    assert first.trusts["a"].context is first.trusts["b"].context
    assert first.trusts["c"].context is first.trusts["d"].context
    again = load_credentials(config, first)
    assert again.trusts == first.trusts
    assert again.trusts["a"].context is first.trusts["a"].context
    Authority().write(files.folder)
    assert load_credentials(config, first).trusts["a"] != first.trusts["a"]


def refusal(config: Config) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_credentials(config)
    return str(caught.value).splitlines()


def test_all_that_is_wrong_is_told_at_once_with_its_place(files: Files) -> None:
    """Files that are not there, and files that hold something else."""
    config = files.load(a=", tls: {ca: gone.crt}", b=", tls: {ca: x.yaml}")
    (files.folder / "tls.key").unlink()
    problems = refusal(config)
    assert [line.split(": ")[0] for line in problems] == [
        "x.yaml:2 tls.key",
        "x.yaml:5 backends.a.target.tls.ca",
        "x.yaml:6 backends.b.target.tls.ca",
    ]
    assert "there is no such file" in problems[0]
    assert "there is no such file" in problems[1]
    assert "holds no certificate in PEM form" in problems[2]


def test_a_key_that_does_not_fit_is_the_keys_problem(files: Files) -> None:
    """With its line."""
    files.issue(END, stem="other")
    (files.folder / "other.key").replace(files.folder / "tls.key")
    (problem,) = refusal(files.load())
    words = "tls.key: the key does not fit the certificate in tls.crt"
    assert problem.replace(f"{files.folder}/", "") == f"x.yaml:2 tls.key: {words}"


# -- keeping


class Kept:
    """A Keeper with what it told."""

    def __init__(self) -> None:
        self.status = TlsStatus()
        self.renewals = 0
        self.keeper = Keeper(self.status, self._renew)

    def _renew(self) -> None:
        self.renewals += 1

    async def use(self, config: Config) -> None:
        self.keeper.take(config, await self.keeper.load(config))

    @property
    def failed(self) -> int:
        return self.status.reloads.counts["failed"]


@asynccontextmanager
async def keeping(config: Config) -> AsyncIterator[Kept]:
    kept = Kept()
    await kept.use(config)
    try:
        yield kept
    finally:
        kept.keeper.stop()
        await asyncio.sleep(0)


async def test_what_is_taken_is_in_force(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    """And told: until when the certificate lasts."""
    caplog.set_level(logging.INFO)
    async with keeping(files.load()) as kept:
        assert repr(kept.keeper) == "<Keeper of 2 files>"
        assert "ssl" in kept.keeper.options(1.0)
        assert kept.status.certificate == str(files.folder / "tls.crt")
        assert kept.status.not_after == END.timestamp()
        assert kept.status.reloads.counts == {"ok": 1, "failed": 0}
    assert "valid until 2031-01-01T00:00:00+00:00" in caplog.text


async def test_plain_http_has_nothing_to_keep(files: Files) -> None:
    """No options for the listener, no task, no attempt counted."""
    async with keeping(files.load(listener=False)) as kept:
        assert kept.keeper.options(1.0) == {}
        assert kept.status.reloads.counts == {"ok": 0, "failed": 0}
    async with keeping(files.load(listener=False, a=", tls: {ca: ca.crt}")) as kept:
        assert (kept.status.certificate, kept.status.reloads.counts["ok"]) == (None, 1)


async def test_an_expired_certificate_is_shown_and_warned_of(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """It is what there is; clients will say so."""
    files.issue(datetime(2020, 1, 1, tzinfo=UTC))
    async with keeping(files.load()):
        assert "has expired at 2020-01-01T00:00:00+00:00: clients will refuse it" in caplog.text


async def test_changed_files_are_taken_over(files: Files) -> None:
    """Without the configuration's help; the doorkeeper stays, for the listener has it."""
    async with keeping(files.load(a=", tls: {ca: ca.crt}")) as kept:
        door, trust = kept.keeper.doorkeeper, kept.keeper.current.trusts["a"]
        files.issue(LATER)
        await eventually(lambda: kept.status.not_after == LATER.timestamp())
        assert kept.keeper.doorkeeper is door
        assert kept.keeper.current.trusts["a"] == trust
        Authority().write(files.folder)
        await eventually(lambda: kept.keeper.current.trusts["a"] != trust)
        assert kept.renewals >= 2
        assert kept.failed == 0


BAD = {
    "noise": lambda folder: (folder / "tls.crt").write_bytes(b"noise"),
    "emptied": lambda folder: (folder / "tls.key").write_bytes(b""),
    "gone": lambda folder: (folder / "tls.crt").unlink(),
    "no file": lambda folder: ((folder / "tls.crt").unlink(), (folder / "tls.crt").mkdir()),
    "CAs": lambda folder: (folder / "ca.crt").write_bytes(b"noise"),
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
async def test_bad_files_lose_nothing_and_are_told_of(
    files: Files, spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The good ones stay in force, and the next good ones are taken over."""
    config = files.load(a=", tls: {ca: ca.crt}")
    async with keeping(config) as kept:
        before = kept.keeper.current
        spoil(files.folder)
        await eventually(lambda: kept.failed > 0)
        assert kept.keeper.current is before
        assert kept.status.not_after == END.timestamp()
        assert kept.status.reloads.last is not None
        assert not kept.status.reloads.last.ok
        assert kept.status.reloads.last.problems[0].startswith("x.yaml:")
        assert "the changed TLS files were not taken over; the last good ones stay in force" in caplog.text
        if (files.folder / "tls.crt").is_dir():
            (files.folder / "tls.crt").rmdir()
        files.authority.write(files.folder)
        files.issue(LATER)
        await eventually(lambda: kept.status.not_after == LATER.timestamp())
        assert kept.status.reloads.last.ok


async def test_a_certificate_may_come_a_moment_before_its_key(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is no failure: the files are looked at once more."""
    monkeypatch.setattr(credentials, "PATIENCE", 0.5)
    async with keeping(files.load()) as kept:
        files.issue(LATER, stem="new")
        looked = asyncio.Event()
        reload = kept.keeper.load

        async def look(config: Config) -> Credentials:
            try:
                return await reload(config)
            finally:
                looked.set()

        monkeypatch.setattr(kept.keeper, "load", look)
        (files.folder / "new.crt").replace(files.folder / "tls.crt")
        await looked.wait()
        (files.folder / "new.key").replace(files.folder / "tls.key")
        await eventually(lambda: kept.status.not_after == LATER.timestamp())
        assert kept.failed == 0


async def test_another_configuration_is_watched_in_place_of_the_last(files: Files) -> None:
    """Its files, and nothing of the other's; the doorkeeper shows its certificate."""
    config = files.load()
    async with keeping(config) as kept:
        door = kept.keeper.doorkeeper
        await kept.use(files.load(listener=False))
        assert repr(kept.keeper) == "<Keeper of 0 files>"
        files.issue(LATER)
        await kept.use(config)
        assert kept.keeper.doorkeeper is door
        assert kept.status.not_after == LATER.timestamp()
