"""What a gateway that runs cannot take over."""

from collections.abc import Callable

import pytest

from gateway.config import Config, unchangeable

BACKENDS = "backends: {iris: {target: {urls: ['http://127.0.0.1:9001']}}}\nroutes: [{name: iris, split: {iris: 1}}]\n"
TLS = "tls: {cert: tls.crt, key: tls.key}\n"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "listen: 127.0.0.1:8080\n",
            "listen: 127.0.0.1:9090\n",
            "listen: cannot change from 127.0.0.1:8080 to 127.0.0.1:9090 while running: restart Tidegate for that",
        ),
        (
            "",
            TLS,
            "tls: was added, which takes a restart: this process speaks plain HTTP to its end, the next one does as the file says",
        ),
        (
            TLS,
            "",
            "tls: was removed, which takes a restart: this process speaks TLS to its end, the next one does as the file says",
        ),
    ],
    ids=["an address", "TLS added", "TLS removed"],
)
def test_what_takes_a_restart_is_told(loaded: Callable[[str], Config], old: str, new: str, told: str) -> None:
    """As what it is, since in a roll-out the old process sees it, too."""
    (problem,) = unchangeable(loaded(old + BACKENDS), loaded(new + BACKENDS))
    assert str(problem).endswith(told)


def test_all_else_can_be_taken_over(loaded: Callable[[str], Config]) -> None:
    """Limits, backends, other TLS files."""
    old, new = f"{TLS}{BACKENDS}", f"{TLS.replace('tls.key', 'new.key')}drain: {{delay: 5s}}\n{BACKENDS}"
    assert unchangeable(loaded(old), loaded(new)) == []
