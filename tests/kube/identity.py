"""Who asks: the admin's token, and those of service accounts, which are signed and end."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.kube.errors import ApiError

if TYPE_CHECKING:
    from tests.kube.history import Record
    from tests.kube.store import Store

AUTHENTICATED = "system:authenticated"
ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()

    @property
    def is_service_account(self) -> bool:
        return self.name.startswith("system:serviceaccount:")


ADMIN = User("kubernetes-admin", ("system:masters", AUTHENTICATED))
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def service_account(namespace: str, name: str) -> User:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


class Tokens:
    """Issues bearer tokens and knows whose they are. A service account's ends with its time, its account or its pod."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = store.chance.randbytes(32)
        self._static: dict[str, User] = {}
        self.admin = self.of_user(ADMIN)

    def of_user(self, user: User) -> str:
        """A token that never ends."""
        token = f"{user.name.rpartition(':')[2]}-{self._store.chance.randbytes(16).hex()}"
        self._static[token] = user
        return token

    def issue(
        self,
        account: Record,
        seconds: int,
        audiences: list[str] | None = None,
        bound: dict[str, Any] | None = None,
    ) -> tuple[str, float]:
        """A token of a service account, bound to a pod if `bound` names one, and when it ends."""
        namespace, name = account.key
        ends = self._store.clock() + seconds
        claims: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": account.obj["metadata"]["uid"]},
        }
        if bound:
            claims["pod"] = {"name": bound["name"], "uid": bound.get("uid", "")}
        payload: dict[str, Any] = {
            "iss": ISSUER,
            "sub": service_account(namespace, name).name,
            "aud": audiences or [ISSUER],
        }
        payload |= {"iat": int(ends - seconds), "exp": int(ends), "kubernetes.io": claims}
        head = f"{_encoded(json.dumps({'alg': 'HS256'}).encode())}.{_encoded(json.dumps(payload).encode())}"
        return f"{head}.{self._signature(head)}", ends

    def user(self, authorization: str) -> User:
        """Whose an Authorization header is. Raises 401 for one that is nobody's (any more)."""
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        user = self._static.get(token.strip()) or self._bearer(token.strip())
        if scheme.lower() != "bearer" or user is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return user

    def revoke(self) -> None:
        """End every service account's token now."""
        self._key = self._store.chance.randbytes(32)

    def _bearer(self, token: str) -> User | None:
        head, _, signature = token.rpartition(".")
        if not head or not hmac.compare_digest(signature, self._signature(head)):
            return None
        payload = json.loads(_decoded(head.partition(".")[2]))
        claims = payload["kubernetes.io"]
        namespace, account = claims["namespace"], claims["serviceaccount"]
        alive = payload["exp"] > self._store.clock() and self._exists("serviceaccounts", namespace, account)
        if not alive or ("pod" in claims and not self._exists("pods", namespace, claims["pod"])):
            return None
        return service_account(namespace, account["name"])

    def _exists(self, what: str, namespace: str, named: dict[str, str]) -> bool:
        found = self._store.find(what, namespace, named["name"])
        return found is not None and named["uid"] in {"", found.obj["metadata"]["uid"]}

    def _signature(self, head: str) -> str:
        return _encoded(hmac.digest(self._key, head.encode(), hashlib.sha256))

    def __repr__(self) -> str:
        return f"<Tokens of {len(self._static)} users and of service accounts>"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
