"""Which proxy leads to the API server."""

import pytest

from gateway.kube.proxies import proxy_for

PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("url", "exceptions", "proxied"),
    [
        ("https://10.96.0.1:443", "", True),
        ("https://10.96.0.1:443", "10.0.0.0/8", False),
        ("https://10.96.0.1:443", "192.168.0.0/16, 10.96.0.1", False),
        ("https://11.0.0.1", "10.0.0.0/8,not/a/network", True),
        ("https://[fd00::1]:6443", "fd00::/8", False),
        ("https://[fd00::1]:6443", "[fd00::1]", False),
        ("https://api.example.com", "example.com", False),
        ("https://api.example.com", ".example.com", False),
        ("https://example.com", ".example.com", True),
        ("https://api.example.com", "*.example.com", False),
        ("https://badexample.com", "example.com", True),
        ("https://api.example.com:6443", "api.example.com:6443", False),
        ("https://api.example.com:6443", "api.example.com:443", True),
        ("https://api.example.com", "*", False),
        ("https://10.96.0.1", "example.com", True),
        ("https://127.0.0.1:6443", "", False),
        ("https://localhost:6443", "", False),
    ],
)
def test_no_proxy_is_read_as_kubectl_reads_it(url: str, exceptions: str, proxied: bool) -> None:
    """Networks, addresses, domains, ports; loopback never goes through a proxy."""
    assert proxy_for(url, {"HTTPS_PROXY": PROXY, "NO_PROXY": exceptions}) == (PROXY if proxied else None)


def test_the_proxy_is_that_of_the_scheme() -> None:
    """In capitals or not, and http where it does not say."""
    assert proxy_for("http://api", {"HTTPS_PROXY": PROXY}) is None
    assert proxy_for("http://api", {"http_proxy": "proxy:3128"}) == PROXY
    assert proxy_for("https://api", {"https_proxy": PROXY, "no_proxy": "api"}) is None
