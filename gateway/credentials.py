"""From a configuration's TLS sections to what the listener and the pools use, kept current as the files change.

`load_credentials` reads every file, off the event loop, and refuses with all that is wrong, each with its place in the configuration.
Keeper holds what is in force; it looks at the files for as long as they are used and takes a change over whole or not at all.
`server` owns one and tells it of each configuration.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.config import Config, ConfigError, PodTls, Problem, digest, read, watch
from gateway.state import TlsStatus
from gateway.tls import Doorkeeper, Pair, Trust, UnusableError, load_pair, load_trust

logger = logging.getLogger(__name__)

SHORTEST_SECRET = 16
PATIENCE = 1.0
"""Seconds after which files that cannot be used are looked at again: a certificate may be written a moment before its key."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the TLS sections of one configuration come to."""

    pair: Pair | None = None
    """None: clients are spoken to in plain HTTP."""
    trusts: Mapping[str, Trust] = field(default_factory=dict)
    """By Backend, of those whose pods are spoken to over TLS."""
    digests: Mapping[Path, str] = field(default_factory=dict)
    """Of all files that were read."""
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    """What signs cookies, by the file's name in the configuration. Read with that and not again: a new one would move every user."""


def load_credentials(config: Config, known: Credentials | None = None) -> Credentials:
    """All that `config` needs, with what `known` has of it already. ConfigError, with every problem, when a file cannot be used."""
    loader = _Loader(config, known or Credentials())
    loaded = loader.load()
    if loader.problems:
        raise ConfigError(loader.problems)
    return loaded


class _Loader:
    def __init__(self, config: Config, known: Credentials) -> None:
        self.problems: list[Problem] = []
        self._config = config
        self._contexts = {trust.verified_by: trust.context for trust in known.trusts.values()}
        """Made once for all that trust the same: the system's CAs are a megabyte of memory."""
        self._digests: dict[Path, str] = {}

    def load(self) -> Credentials:
        unreadable = {path for path, name in self._config.files() if not self._read(path, name)}
        pair = None
        tls = self._config.tls
        if tls is not None and not unreadable & {("tls", "cert"), ("tls", "key")}:
            try:
                pair = load_pair(self._place(tls.cert), self._place(tls.key))
            except UnusableError as error:
                self.problems.append(self._config.file_problem(("tls", error.key), str(error)))
        trusts = {}
        for name, backend in self._config.backends.items():
            path = ("backends", name, "target", "tls", "ca")
            if backend.target.secure and path not in unreadable:
                try:
                    trusts[name] = self._trust(backend.target.tls or PodTls())
                except UnusableError as error:
                    self.problems.append(self._config.file_problem(path, str(error)))
        return Credentials(pair, trusts, self._digests, self._secrets())

    def _secrets(self) -> dict[str, bytes]:
        secrets = {}
        for path, name in self._config.secret_files():
            try:
                secrets[name] = read(self._place(name)).strip()
            except ConfigError as error:
                self.problems.append(self._config.file_problem(path, str(error)))
            else:
                if len(secrets[name]) < SHORTEST_SECRET:
                    text = f"holds less than {SHORTEST_SECRET} bytes: write a random secret there, from `openssl rand -hex 32`"
                    self.problems.append(self._config.file_problem(path, f"{name} {text}"))
        return secrets

    def _trust(self, tls: PodTls) -> Trust:
        ca = None if tls.ca is None else self._place(tls.ca)
        verified_by = "nobody" if not tls.verify else "system" if ca is None else self._digests[ca]
        context = self._contexts.get(verified_by)
        if context is None:
            context = self._contexts[verified_by] = load_trust(ca, verify=tls.verify)
        return Trust(verified_by, tls.server_name, context)

    def _read(self, path: tuple[str | int, ...], name: str) -> bool:
        """Note a file's digest before it is loaded: what changes in between is then found to have changed."""
        place = self._place(name)
        try:
            self._digests[place] = digest(read(place))
        except ConfigError as error:
            self.problems.append(self._config.file_problem(path, str(error)))
            return False
        return True

    def _place(self, name: str) -> Path:
        return self._config.base_dir / name


class Keeper:
    """The Credentials in force."""

    def __init__(self, status: TlsStatus, renewed: Callable[[], None]) -> None:
        """`renewed` is called when files have changed and `current` has with them."""
        self.current = Credentials()
        self.doorkeeper: Doorkeeper | None = None
        """The listener's side, from the first configuration on that has one."""
        self._status = status
        self._renewed = renewed
        self._watching: asyncio.Task[None] | None = None

    async def load(self, config: Config) -> Credentials:
        """What `take` takes. ConfigError when it cannot be used."""
        return await asyncio.to_thread(load_credentials, config, self.current)

    def take(self, config: Config, credentials: Credentials) -> None:
        """From now on this is in force."""
        self._use(config, credentials)
        self.stop()
        if credentials.digests:
            self._watching = asyncio.get_running_loop().create_task(self._watch(config))

    def _use(self, config: Config, credentials: Credentials) -> None:
        previous, self.current = self.current, credentials
        pair, tls = credentials.pair, config.tls
        if pair is None or tls is None:
            if credentials.digests:
                self._status.took_over(time.time())
            return
        if self.doorkeeper is None:
            self.doorkeeper = Doorkeeper(pair, tls.min_version)
        else:
            self.doorkeeper.show(pair, tls.min_version)
        path = config.base_dir / tls.cert
        self._status.took_over(time.time(), str(path), pair.not_after)
        if previous.digests.get(path) != credentials.digests.get(path):
            _tell(path, pair.not_after)

    async def _watch(self, config: Config) -> None:
        digests = self.current.digests
        async for _ in watch(*digests, known=tuple(digests.values())):
            try:
                fresh = await self._reload(config)
            except ConfigError as error:
                self._refuse(error.problems)
            else:
                self._use(config, fresh)
                self._renewed()
                logger.info("took over changed TLS files")

    async def _reload(self, config: Config) -> Credentials:
        with suppress(ConfigError):
            return await self.load(config)
        await asyncio.sleep(PATIENCE)
        return await self.load(config)

    def _refuse(self, problems: Iterable[Problem]) -> None:
        lines = [str(problem) for problem in problems]
        self._status.refused(lines, time.time())
        for line in lines:
            logger.error("%s", line)
        logger.error("the changed TLS files were not taken over; the last good ones stay in force")

    def options(self, handshake_seconds: float) -> dict[str, Any]:
        """What the listener's `create_server` needs for TLS: nothing when it speaks plain HTTP."""
        return {} if self.doorkeeper is None else self.doorkeeper.options(handshake_seconds)

    def stop(self) -> None:
        """Look at the files no more."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def __repr__(self) -> str:
        return f"<Keeper of {len(self.current.digests)} files>"


def _tell(path: Path, not_after: float) -> None:
    date = datetime.fromtimestamp(not_after, UTC).isoformat(timespec="seconds")
    if not_after > time.time():
        logger.info("serving TLS with the certificate in %s, valid until %s", path, date)
    else:
        logger.warning("the certificate in %s has expired at %s: clients will refuse it", path, date)
