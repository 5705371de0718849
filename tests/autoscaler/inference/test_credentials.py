"""Credentials: what the init container gets of a service account's Secrets."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.inference.credentials import account_annotations, give, secret_names, secret_of
from autoscaler.inference.shapes import Credentials, Observed, Secret, Settings, StorageInitializer
from autoscaler.inference.wanted import uses_of, wanted
from tests.inferences import SETTINGS, SHIPPED, isvc, kinds, model, pod_of

S3 = "serving.kserve.io/s3-"
KEYS = ("awsAccessKeyID", "awsSecretAccessKey")
UNREAD = "tidegate.dev/credentials-unread"


def secret(*keys: str, **annotations: str) -> Secret:
    about = {f"{S3}{key.replace('_', '-')}": value for key, value in annotations.items()}
    return Secret("keys", frozenset(keys), about)


def given_to(*secrets: Secret, uri: str = "s3://b/m", **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pod and container, its variables by name."""
    pod: dict[str, Any] = {}
    container: dict[str, Any] = {}
    give(pod, container, [uri], Credentials(secrets, **more))
    return pod, {**container, "env": {e.pop("name"): e for e in container.get("env", ())}}


def env_of(*secrets: Secret, uri: str = "s3://b/m", **more: Any) -> dict[str, Any]:
    """Plain values, and `@KEY` for a reference."""
    env = given_to(*secrets, uri=uri, **more)[1]["env"]
    return {
        name: e.get("value", f"@{e.get('valueFrom', {}).get('secretKeyRef', {}).get('key')}")
        for name, e in env.items()
    }


def test_an_s3_secret_gives_its_keys_by_reference() -> None:
    """Under the names that AWS's libraries read."""
    env = env_of(secret(*KEYS))
    assert env == {"AWS_ACCESS_KEY_ID": "@awsAccessKeyID", "AWS_SECRET_ACCESS_KEY": "@awsSecretAccessKey"}


@pytest.mark.parametrize(
    ("annotations", "https", "endpoint", "url"),
    [
        ({"endpoint": "s3.example.com"}, None, "s3.example.com", "https://s3.example.com"),
        ({"endpoint": "minio:9000", "usehttps": "0"}, "0", "minio:9000", "http://minio:9000"),
        ({"endpoint": "http://minio:9000", "usehttps": "1"}, "0", "minio:9000", "http://minio:9000"),
        ({"endpoint": " https://minio ", "usehttps": "0"}, "1", "minio", "https://minio"),
    ],
    ids=["https unless said", "without", "its scheme says it", "with spaces"],
)
def test_an_endpoint_is_told_with_and_without_scheme(
    annotations: dict[str, str], https: str | None, endpoint: str, url: str
) -> None:
    """The URL for newer libraries, the host for older ones."""
    env = env_of(secret(*KEYS, **annotations))
    assert (env.get("S3_USE_HTTPS"), env["S3_ENDPOINT"], env["AWS_ENDPOINT_URL"]) == (https, endpoint, url)


def test_the_other_annotations_of_s3_become_variables() -> None:
    """An empty one says nothing."""
    env = env_of(
        secret(
            *KEYS,
            verifyssl="0",
            region="eu",
            useanoncredential="true",
            usevirtualbucket="true",
            useaccelerate="",
        )
    )
    assert {k: v for k, v in env.items() if not v.startswith("@")} == {
        "S3_VERIFY_SSL": "0",
        "awsAnonymousCredential": "true",
        "AWS_DEFAULT_REGION": "eu",
        "S3_USER_VIRTUAL_BUCKET": "true",
    }


def test_settings_among_a_secrets_keys_come_by_reference() -> None:
    """The kubelet puts the endpoint into its URL."""
    env = env_of(secret(*KEYS, "S3_ENDPOINT", "AWS_DEFAULT_REGION"))
    assert env["S3_ENDPOINT"] == "@S3_ENDPOINT"
    assert env["AWS_ENDPOINT_URL"] == "https://$(S3_ENDPOINT)"
    assert env["AWS_DEFAULT_REGION"] == "@AWS_DEFAULT_REGION"


def test_certificates_in_a_config_map_are_mounted() -> None:
    """Where the file is said to be, or where KServe has them."""
    pod, container = given_to(secret(*KEYS, cabundle_configmap="roots", cabundle="/certs/mine.crt"))
    assert pod["volumes"] == [{"name": "cabundle-cert", "configMap": {"name": "roots"}}]
    assert container["volumeMounts"] == [{"name": "cabundle-cert", "mountPath": "/certs", "readOnly": True}]
    assert container["env"]["CA_BUNDLE_VOLUME_MOUNT_POINT"] == {"value": "/certs"}
    _, container = given_to(secret(*KEYS, cabundle_configmap="roots"))
    assert container["env"]["CA_BUNDLE_VOLUME_MOUNT_POINT"] == {"value": "/etc/ssl/custom-certs"}


def test_googles_file_is_mounted() -> None:
    """And its place told."""
    pod, container = given_to(secret("gcloud-application-credentials.json"), uri="gs://b/m")
    assert pod["volumes"] == [{"name": "user-gcp-sa", "secret": {"secretName": "keys"}}]
    assert container["volumeMounts"][0]["mountPath"] == "/var/secrets/"
    file = "/var/secrets/gcloud-application-credentials.json"
    assert container["env"]["GOOGLE_APPLICATION_CREDENTIALS"] == {"value": file}


@pytest.mark.parametrize(
    ("keys", "env"),
    [
        (
            ("AZ_CLIENT_ID", "AZ_TENANT_ID"),
            {"AZURE_CLIENT_ID": "@AZ_CLIENT_ID", "AZURE_TENANT_ID": "@AZ_TENANT_ID"},
        ),
        (("AZURE_CLIENT_ID",), {"AZURE_CLIENT_ID": "@AZURE_CLIENT_ID"}),
        (("AZURE_ACCESS_TOKEN",), {"AZURE_ACCESS_TOKEN": "@AZURE_ACCESS_TOKEN"}),
        (("AZURE_STORAGE_ACCESS_KEY",), {"AZURE_STORAGE_ACCESS_KEY": "@AZURE_STORAGE_ACCESS_KEY"}),
        (("HF_TOKEN",), {"HF_TOKEN": "@HF_TOKEN"}),
        (("token", "ca.crt"), {}),
    ],
    ids=["older Azure", "Azure", "Azure's token", "Azure's key", "Hugging Face", "an account's own token"],
)
def test_variables_follow_from_the_keys(keys: tuple[str, ...], env: dict[str, str]) -> None:
    """What nobody knows gives nothing."""
    assert env_of(secret(*keys)) == env


def test_hdfs_gets_all_files_of_its_secret() -> None:
    """In the folder where the fetcher looks."""
    pod, container = given_to(secret("HDFS_NAMENODE", "TLS_CERT"), uri="hdfs://b/m")
    assert pod["volumes"] == [{"name": "hdfs-secrets", "secret": {"secretName": "keys"}}]
    assert container["volumeMounts"][0]["mountPath"] == "/var/secrets/kserve-hdfscreds"


def test_headers_go_to_their_own_host_alone() -> None:
    """Another is not shown them."""
    headers = Secret("keys", frozenset({"https-host", "headers"}), host="models.example.com")
    assert env_of(headers, uri="https://Models.example.com/a") == {"models.example.com-headers": "@headers"}
    assert env_of(headers, uri="https://elsewhere.example.com/a") == {}
    assert env_of(headers, uri="https://[bad/a") == {}


def test_a_role_brings_its_accounts_annotations() -> None:
    """Without a role an account's annotations mean nothing, and a Secret's go over them."""
    about = {"eks.amazonaws.com/role-arn": "arn:x", f"{S3}region": "eu", "other": "x"}
    annotations = account_annotations({"metadata": {"annotations": about}})
    assert env_of(annotations=annotations) == {"AWS_DEFAULT_REGION": "eu"}
    assert env_of(secret(*KEYS, region="us"), annotations=annotations)["AWS_DEFAULT_REGION"] == "us"
    assert account_annotations({"metadata": {"annotations": {f"{S3}region": "eu"}}}) == {}


def test_a_named_secret_stands_for_the_accounts() -> None:
    """Each counts once."""
    account = {"secrets": [{"name": "a"}, {"name": "b"}, {"name": "a"}, {}]}
    assert secret_names(account, "") == ["a", "b"]
    assert secret_names(account, "c") == ["c"]


def test_only_what_is_fetched_takes_credentials() -> None:
    """A claim takes none, nor does a container without a model; the setting says so for all."""
    assert uses_of(model(), SETTINGS) == {("default", "")}
    assert uses_of(isvc(), SETTINGS) == set()
    assert uses_of(model(storageUri="pvc://claim"), SETTINGS) == set()
    assert uses_of(model(), Settings(storage_initializer=StorageInitializer(credentials=False))) == set()


def test_naming_another_secret_is_a_new_revision() -> None:
    """A Secret that changes is none."""
    item = model()
    names = [
        kinds(wanted(item, SHIPPED, seen(), SETTINGS, 1e9), "Deployment")[0]["metadata"]["name"]
        for seen in (Observed, with_keys)
    ]
    item["metadata"]["annotations"] = {"serving.kserve.io/storageSecretName": "other"}
    assert uses_of(item, SETTINGS) == {("default", "other")}
    answer = wanted(item, SHIPPED, Observed(), SETTINGS, 1e9)
    assert names[0] == names[1] != kinds(answer, "Deployment")[0]["metadata"]["name"]
    assert answer.faults == ()


def with_keys(problem: str = "", *objects: Any) -> Observed:
    found = Credentials(() if problem else (secret(*KEYS),), problem=problem)
    return Observed(objects, credentials={("default", ""): found})


def test_what_cannot_be_read_is_told_and_made_good() -> None:
    """Until its pods are ready; what runs is not ended for it."""
    before = wanted(model(), SHIPPED, with_keys("no right"), SETTINGS, 1e9)
    [fault] = before.faults
    assert (fault.path, fault.text, fault.refused) == ("spec.predictor.serviceAccountName", "no right", False)
    [made] = kinds(before, "Deployment")
    assert made["metadata"]["annotations"][UNREAD] == "true"
    assert "env" not in pod_of(before)["initContainers"][0]
    runs = {**made, "status": {"replicas": 1, "readyReplicas": 1}}
    kept = wanted(model(), SHIPPED, with_keys("", runs), SETTINGS, 1e9)
    assert pod_of(kept) == pod_of(before)
    assert kinds(kept, "Deployment")[0]["metadata"]["annotations"][UNREAD] == "true"
    after = wanted(model(), SHIPPED, with_keys("", made), SETTINGS, 1e9)
    assert pod_of(after)["initContainers"][0]["env"][0]["name"] == "AWS_ACCESS_KEY_ID"
    [again] = kinds(after, "Deployment")
    assert UNREAD not in again["metadata"]["annotations"]
    last = wanted(model(), SHIPPED, with_keys("no right any more", again), SETTINGS, 1e9)
    assert pod_of(last) == pod_of(after)


KNOWN = [
    *KEYS,
    "S3_ENDPOINT",
    "S3_USE_HTTPS",
    "https-host",
    "headers",
    "HF_TOKEN",
    "AZ_CLIENT_ID",
    "HDFS_NAMENODE",
]


@given(st.sets(st.sampled_from(KNOWN)), st.booleans())
def test_no_value_of_a_secret_is_ever_written(keys: set[str], plain: bool) -> None:
    """Nor told, whatever the Secret holds and however it is given."""
    value = "c0ffee.hidden"
    data = dict.fromkeys(keys, value if plain else base64.b64encode(value.encode()).decode())
    found = secret_of({"metadata": {"name": "keys"}, "stringData" if plain else "data": data})
    observed = Observed(credentials={("default", ""): Credentials((found,), problem="one is missing")})
    item = model(storageUri="https://models.example.com/m")
    answer = wanted(item, SHIPPED, observed, SETTINGS, 1e9)
    assert value not in json.dumps([answer.objects, answer.document, answer.status, answer.events])
    assert value not in f"{observed!r}{answer!r}"


def test_a_host_that_cannot_be_read_is_none() -> None:
    """As nobody has checked what a file holds."""
    assert secret_of({"metadata": {"name": "keys"}, "data": {"https-host": "?"}}).host == ""
