"""What a user of KServe's Python SDK does: `sdk.py create|wait|delete KUBECONFIG JSON`. The JSON holds a container and a namespace."""

import json
import sys

from kserve import (
    KServeClient,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1PredictorSpec,
    constants,
)
from kubernetes.client import V1ObjectMeta


def main(act: str, kubeconfig: str, text: str) -> None:
    given = json.loads(text)
    client = KServeClient(config_file=kubeconfig)
    if act == "create":
        metadata = V1ObjectMeta(
            name="iris", namespace=given["namespace"], annotations={"tidegate.dev/class": "tidegate"}
        )
        service = V1beta1InferenceService(
            api_version=f"{constants.KSERVE_GROUP}/v1beta1",
            kind=constants.KSERVE_KIND_INFERENCESERVICE,
            metadata=metadata,
            spec=V1beta1InferenceServiceSpec(
                predictor=V1beta1PredictorSpec(containers=[given["container"]], min_replicas=1)
            ),
        )
        client.create(service)
    elif act == "wait":
        client.wait_isvc_ready("iris", namespace=given["namespace"], timeout_seconds=90, polling_interval=1)
    else:
        client.delete("iris", namespace=given["namespace"])


if __name__ == "__main__":
    main(*sys.argv[1:])
