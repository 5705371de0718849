"""Which proxy leads to the API server, by the rules that kubectl goes by.

A core. Python's own reading of `NO_PROXY` knows no networks, and a pod's `NO_PROXY` typically says `10.0.0.0/8`, the cluster's own
addresses: without this the API server would be looked for behind the proxy.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` (or the same in small letters) name for `url`; None: none.

    Loopback addresses and `localhost` are never proxied.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    proxy = _variable(environ, f"{parts.scheme}_proxy")
    if not proxy or host == "localhost":
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = _address(host)
    if address is not None and address.is_loopback:
        return None
    exceptions = (one.strip().lower() for one in _variable(environ, "no_proxy").split(","))
    if any(_covers(one, host, port, address) for one in exceptions if one):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper()) or environ.get(name) or ""


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _covers(exception: str, host: str, port: int, address: IPv4Address | IPv6Address | None) -> bool:
    """`*`, a network, an address, or a domain with all below it (`.domain` and `*.domain`: only what is below); maybe with a port."""
    if exception == "*":
        return True
    if "/" in exception:
        try:
            return address is not None and address in ip_network(exception, strict=False)
        except ValueError:
            return False
    name, colon, digits = exception.rpartition(":")
    if colon and digits.isdigit() and (":" not in name or name.endswith("]")):
        if int(digits) != port:
            return False
        exception = name
    exception = exception.strip("[]").removeprefix("*")
    if address is not None:
        return _address(exception) == address
    if exception.startswith("."):
        return host.endswith(exception)
    return host == exception or host.endswith(f".{exception}")
