"""Lists: whole, or in pages from one snapshot. A continue token whose snapshot is gone has expired (410), as after a compaction."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from tests.kube.errors import ApiError, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kube.history import History, Record
    from tests.kube.kinds import Resource
    from tests.kube.selectors import Selection
    from tests.kube.store import Store

KEPT_SNAPSHOTS = 64
_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue "
    "parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided "
    "token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was "
    "returned and now may show up in the list."
)


class Lists:
    """Answers lists from the history, and keeps the newest snapshots for the pages to come."""

    def __init__(self, store: Store, history: History) -> None:
        self._store = store
        self._history = history
        self._snapshots: dict[tuple[tuple[str, str], int], list[Record]] = {}

    def forget(self) -> None:
        """Expire every continue token."""
        self._snapshots.clear()

    def answer(self, resource: Resource, selection: Selection, query: Mapping[str, str]) -> bytes:
        limit = _number(query, "limit")
        start, rv = "", 0
        if token := query.get("continue"):
            start, rv = _opened(token)
        records, rv = self._snapshot(resource, rv, start, query)
        chosen = [record for record in records if selection.matches(record.obj)]
        if start:
            chosen = [record for record in chosen if "/".join(record.key) > start]
        metadata: dict[str, Any] = {"resourceVersion": str(rv)}
        if limit and len(chosen) > limit:
            self._keep(resource, rv, records)
            metadata["continue"] = _sealed(rv, "/".join(chosen[limit - 1].key))
            if not selection.narrow:
                metadata["remainingItemCount"] = len(chosen) - limit
            chosen = chosen[:limit]
        head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata}
        items = b",".join([record.item for record in chosen])
        return json.dumps(head, separators=(",", ":")).encode()[:-1] + b',"items":[' + items + b"]}"

    def _snapshot(
        self, resource: Resource, rv: int, start: str, query: Mapping[str, str]
    ) -> tuple[list[Record], int]:
        if start and rv > 0:
            kept = self._snapshots.get((resource.key, rv))
            if kept is None:
                raise self._expired(start)
            return kept, rv
        history = self._history
        self._check(query.get("resourceVersion", ""), history.rv)
        if history.frozen and history.lists_current and not query.get("resourceVersion"):
            return _in_order(self._store.records(resource)), self._store.rv
        return _in_order(list(history.table(resource).records.values())), history.rv

    @staticmethod
    def _expired(start: str) -> ApiError:
        error = ApiError(410, "Expired", _EXPIRED)
        error.resume = _sealed(-1, start)
        return error

    @staticmethod
    def _check(version: str, newest: int) -> None:
        wanted = parsed_version(version)
        if wanted > newest:
            causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
            message = f"Timeout: Too large resource version: {wanted}, current: {newest}"
            raise ApiError(504, "Timeout", message, {"causes": causes}, retry_after=1)

    def _keep(self, resource: Resource, rv: int, records: list[Record]) -> None:
        self._snapshots[resource.key, rv] = records
        while len(self._snapshots) > KEPT_SNAPSHOTS:
            del self._snapshots[next(iter(self._snapshots))]

    def __repr__(self) -> str:
        return f"<Lists with {len(self._snapshots)} snapshots>"


def parsed_version(version: str) -> int:
    if version and not version.isdecimal():
        raise bad_request(f'strconv.ParseUint: parsing "{version}": invalid syntax')
    return int(version or 0)


def _in_order(records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record.key)


def _number(query: Mapping[str, str], name: str) -> int:
    try:
        return int(query.get(name) or 0)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{query[name]}": invalid syntax') from None


def _sealed(rv: int, start: str) -> str:
    token = json.dumps({"v": "meta.k8s.io/v1", "rv": rv, "start": start})
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def _opened(token: str) -> tuple[str, int]:
    try:
        opened = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return opened["start"], opened["rv"]
    except (ValueError, KeyError, TypeError):
        raise bad_request("continue key is not valid: " + token) from None
