"""Who may do what: Roles, ClusterRoles and their bindings, read from the store at each request. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kube.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kube.identity import User
    from tests.kube.paths import Target
    from tests.kube.store import Store


def authorize(store: Store, user: User, target: Target) -> None:
    """Raise 403, as a real server words it, unless some role allows it."""
    if not allowed(store, user, target):
        raise _refusal(user, target)


def allowed(store: Store, user: User, target: Target) -> bool:
    return "system:masters" in user.groups or any(
        _covers(rule, target) for rule in _rules(store, user, target.namespace)
    )


def _rules(store: Store, user: User, namespace: str) -> Iterator[dict[str, Any]]:
    for binding in store.records("clusterrolebindings"):
        yield from _granted(store, user, binding.obj, "")
    if namespace:
        for binding in store.records("rolebindings", namespace):
            yield from _granted(store, user, binding.obj, namespace)


def _granted(store: Store, user: User, binding: dict[str, Any], namespace: str) -> list[dict[str, Any]]:
    if not any(_is(user, subject, namespace) for subject in binding.get("subjects") or ()):
        return []
    reference = binding["roleRef"]
    cluster = reference["kind"] == "ClusterRole"
    role = store.find("clusterroles" if cluster else "roles", "" if cluster else namespace, reference["name"])
    return (role.obj.get("rules") or []) if role else []


def _is(user: User, subject: dict[str, str], namespace: str) -> bool:
    match subject["kind"]:
        case "ServiceAccount":
            return (
                user.name == f"system:serviceaccount:{subject.get('namespace', namespace)}:{subject['name']}"
            )
        case "Group":
            return subject["name"] in user.groups
    return user.name == subject["name"]


def _covers(rule: dict[str, Any], target: Target) -> bool:
    resources = set(rule.get("resources") or ())
    names = rule.get("resourceNames")
    return (
        _in(target.verb, rule["verbs"])
        and _in(target.group, rule.get("apiGroups") or ())
        and bool(resources & {"*", target.full_resource, f"*/{target.subresource or ' '}"})
        and (not names or target.name in names)
    )


def _in(value: str, values: Any) -> bool:
    return value in values or "*" in values


def _refusal(user: User, target: Target) -> ApiError:
    qualified = f"{target.plural}.{target.group}" if target.group else target.plural
    named = f'{qualified} "{target.name}"' if target.name else qualified
    where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    message = (
        f'{named} is forbidden: User "{user.name}" cannot {target.verb} resource "{target.full_resource}" '
        f'in API group "{target.group}" {where}'
    )
    details = {"name": target.name, "group": target.group, "kind": target.plural}
    return ApiError(403, "Forbidden", message, {key: value for key, value in details.items() if value})
