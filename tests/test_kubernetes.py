"""The Kubernetes manifests: schemas of several versions, what kustomize makes of them, and numbers that must agree.

`pytest -m operator` also holds the DaskCluster to the operator's own schema, which comes with `pip install --no-deps
dask-kubernetes`. Nothing here runs on a cluster.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from mrdist.planning import MIB, parse_bytes

ROOT = Path(__file__).parents[1]
KUBERNETES = ROOT / "deploy" / "kubernetes"
APPLIED = ("dask", "operator", "training")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the operator's definitions are long
VERSIONS = ("1.31", "1.34", "1.37")
NANNY = 180 * MIB  # resident bytes of the process that watches over a worker, measured
TERMINATE = 1.2  # times its --memory-limit, at which it ends the worker: deploy/dask.yaml


def read(path):
    return [document for document in yaml.load_all(path.read_text(), LOADER) if document]


DOCUMENTS = {
    f"{path.parent.name}/{path.name} {document['kind']} {document['metadata']['name']}": document
    for path in sorted(KUBERNETES.rglob("*.yaml"))
    if path.name != "kustomization.yaml"
    for document in read(path)
}


def pod_specs(document):
    """The specifications of the pods that a document makes."""
    kind, spec = document["kind"], document.get("spec", {})
    if kind in ("Deployment", "Job"):
        return [spec["template"]["spec"]]
    return [spec["scheduler"]["spec"], spec["worker"]["spec"]] if kind == "DaskCluster" else []


def labels_of_pods(document):
    if document["kind"] == "DaskCluster":
        return [document["spec"][part]["metadata"]["labels"] for part in ("scheduler", "worker")]
    return [document["spec"]["template"]["metadata"]["labels"]] if pod_specs(document) else []


PODS = {
    f"{name} {spec['containers'][0]['name']}": spec
    for name, document in DOCUMENTS.items()
    for spec in pod_specs(document)
}
LABELS = [labels for document in DOCUMENTS.values() for labels in labels_of_pods(document)]
SCHEDULERS = [spec for spec in PODS.values() if spec["containers"][0]["name"] == "scheduler"]
WORKERS = [spec for spec in PODS.values() if spec["containers"][0]["name"] == "worker"]


def option(spec, name):
    """The value of a command line option of a pod's container."""
    found = [part.removeprefix(f"{name}=") for part in spec["containers"][0]["command"] if part.startswith(f"{name}=")]
    assert len(found) == 1, name
    return found[0]


def test_there_is_everything():
    kinds = {document["kind"] for document in DOCUMENTS.values()}
    assert {"Deployment", "Service", "Job", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"} <= kinds
    assert {"DaskCluster", "DaskAutoscaler", "ServiceAccount", "Namespace"} <= kinds
    assert len(PODS) == 6
    assert len(WORKERS) == len(SCHEDULERS) == 2


# --- schemas -------------------------------------------------------------------------------------------


def is_of_kubernetes(document):
    return "dask.org" not in document["apiVersion"]


@pytest.mark.parametrize("version", VERSIONS)
def test_they_are_what_kubernetes_expects(version):
    for document in filter(is_of_kubernetes, DOCUMENTS.values()):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_validator_notices():
    wrong = yaml.safe_load(yaml.safe_dump(DOCUMENTS["dask/workers.yaml Deployment mrdist-worker"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize(
    "name", ["dask/workers.yaml Deployment mrdist-worker", "dask/scheduler.yaml Deployment mrdist-scheduler"]
)
def test_pods_of_the_operator_are_what_kubernetes_expects(name):
    """As Deployments, which the operator makes of them: its own schema is looser."""
    (ours,) = labels_of_pods(DOCUMENTS[name])
    cluster = DOCUMENTS["operator/cluster.yaml DaskCluster mrdist"]["spec"]
    spec = cluster[ours["app.kubernetes.io/component"]]["spec"]
    deployment = yaml.safe_load(yaml.safe_dump(DOCUMENTS[name]))
    deployment["spec"]["template"]["spec"] = spec
    for version in VERSIONS:
        kubernetes_validate.validate(deployment, version, strict=True)


def closed(schema):
    """The schema without room for names that it does not know, as Kubernetes would drop them with a warning."""
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        found["properties"] = {name: closed(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found.setdefault("additionalProperties", False)
    for name in ("items", "additionalProperties"):
        if name in found:
            found[name] = closed(found[name])
    if schema.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
    return found


@pytest.mark.operator
@pytest.mark.parametrize("kind", ["DaskCluster", "DaskAutoscaler"])
def test_they_are_what_the_dask_operator_expects(kind):
    home = importlib.util.find_spec("dask_kubernetes")
    assert home is not None, "run `pip install --no-deps dask-kubernetes` first"
    definitions = Path(home.origin).parent / "operator/deployment/helm/dask-kubernetes-operator/crds"
    (definition,) = read(definitions / f"{kind.lower()}.yaml")
    (document,) = [found for found in DOCUMENTS.values() if found["kind"] == kind]
    (version,) = [found for found in definition["spec"]["versions"] if found["served"]]
    assert document["apiVersion"] == f"{definition['spec']['group']}/{version['name']}"
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}  # Kubernetes' own
    validator = jsonschema.Draft202012Validator(closed(schema))
    validator.validate(document)
    with pytest.raises(jsonschema.ValidationError, match="maximun"):
        validator.validate({**document, "spec": {**document["spec"], "maximun": 3}})


# --- kustomize -----------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here")
@pytest.mark.parametrize("name", APPLIED)
def test_kustomize_builds_it(name):
    command = ["kubectl", "kustomize", str(KUBERNETES / name)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    documents = list(yaml.load_all(built.stdout, LOADER))
    for document in filter(is_of_kubernetes, documents):
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
        if document["kind"] != "Namespace":
            assert document["metadata"]["namespace"] == "mrdist", document["metadata"]["name"]
    settings = [found for found in documents if found["kind"] == "ConfigMap"]
    assert [found["metadata"]["name"] for found in settings] == (
        [] if name == "training" else ["mrdist-storage", "mrdist-tls"]
    )


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here")
def test_the_example_of_the_page_changes_what_it_says(tmp_path):
    (example,) = re.findall(
        r"```yaml\n(# my-cluster/kustomization.yaml\n.*?)```", (ROOT / "deploy/README.md").read_text(), re.S
    )
    shutil.copytree(KUBERNETES, tmp_path / "deploy" / "kubernetes")
    (tmp_path / "my-cluster").mkdir()
    (tmp_path / "my-cluster" / "kustomization.yaml").write_text(example)
    command = ["kubectl", "kustomize", str(tmp_path / "my-cluster")]
    built = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert built.returncode == 0, built.stderr
    documents = list(yaml.load_all(built.stdout, LOADER))
    containers = [
        container for document in documents for spec in pod_specs(document) for container in spec["containers"]
    ]
    assert {container["image"] for container in containers} == {"registry.example.org/mrdist:0.1.0"}
    (train,) = [container["command"] for container in containers if container["name"] == "train"]
    assert train[2:4] == ["s3://my-bucket/faces.zarr", "s3://my-bucket/smile.zarr"]
    (serve,) = [container["command"] for container in containers if container["name"] == "service"]
    assert "--catalog=s3://my-bucket/catalog" in serve


def test_every_file_is_named_by_a_kustomization():
    for folder in KUBERNETES.iterdir():
        (kustomization,) = read(folder / "kustomization.yaml")
        files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
        assert {name for name in kustomization["resources"] if name.endswith(".yaml")} == files
        assert kustomization["namespace"] == "mrdist"


# --- safety --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", PODS.values(), ids=list(PODS))
def test_every_pod_has_no_more_rights_than_it_needs(spec):
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"].startswith("mrdist-")
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] >= 1000
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
    assert all("hostPath" not in volume for volume in spec["volumes"])
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


def test_accounts_get_no_token():
    accounts = [document for document in DOCUMENTS.values() if document["kind"] == "ServiceAccount"]
    assert all(account["automountServiceAccountToken"] is False for account in accounts)
    assert {account["metadata"]["name"] for account in accounts} == {
        spec["serviceAccountName"] for spec in PODS.values()
    }
    namespace = DOCUMENTS["base/namespace.yaml Namespace mrdist"]["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"


def test_no_secret_is_here():
    assert not any(document["kind"] == "Secret" for document in DOCUMENTS.values())
    for path in KUBERNETES.rglob("*.yaml"):
        assert not re.search(r"SECRET_ACCESS_KEY|ACCESS_KEY_ID|secretGenerator|stringData", path.read_text()), path


def test_keys_go_where_the_stores_are_opened_and_nowhere_else():
    for name, spec in PODS.items():
        sources = spec["containers"][0].get("envFrom", [])
        keys = [source["secretRef"]["name"] for source in sources if "secretRef" in source]
        assert keys == ([] if name.endswith(" scheduler") else ["mrdist-s3"]), name


def policies():
    return [document["spec"] for document in DOCUMENTS.values() if document["kind"] == "NetworkPolicy"]


def selects(selector, labels):
    return selector["matchLabels"].items() <= labels.items()


def test_only_our_pods_reach_schedulers_and_workers():
    everyone = DOCUMENTS["base/network-policies.yaml NetworkPolicy mrdist-nobody"]["spec"]
    assert "ingress" not in everyone
    ours = {"matchLabels": {"app.kubernetes.io/name": "mrdist"}}
    operator = {"matchLabels": {"kubernetes.io/metadata.name": "dask-operator"}}
    for labels in LABELS:
        assert selects(everyone["podSelector"], labels)
        rules = [
            rule
            for policy in policies()
            if selects(policy["podSelector"], labels)
            for rule in policy.get("ingress", [])
        ]
        if labels["app.kubernetes.io/component"] == "service":
            assert rules == [{"ports": [{"port": 8899}]}]
            continue
        peers = [peer for rule in rules for peer in rule["from"]]
        assert all(peer in ({"podSelector": ours}, {"namespaceSelector": operator}) for peer in peers)
        assert {"podSelector": ours} in peers or labels["app.kubernetes.io/component"] == "training"


def test_ports_that_are_listened_to_are_those_that_are_let_in():
    for spec in WORKERS:
        listened = {int(option(spec, name)) for name in ("--worker-port", "--nanny-port")}
        policy = DOCUMENTS["base/network-policies.yaml NetworkPolicy mrdist-worker"]["spec"]
        assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == listened
    for document in DOCUMENTS.values():
        if document["kind"] == "NetworkPolicy":
            selected = [labels for labels in LABELS if selects(document["spec"]["podSelector"], labels)]
            assert selected, document["metadata"]["name"]


# --- numbers and names that must agree -----------------------------------------------------------------


def test_one_image_for_all_of_it():
    images = {container["image"] for spec in PODS.values() for container in spec["containers"]}
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert len(images) == 1
    assert images <= {service.get("image") for service in compose["services"].values()}
    assert ":" in images.pop()


@pytest.mark.parametrize("spec", PODS.values(), ids=list(PODS))
def test_every_pod_has_requests_and_a_limit_of_memory(spec):
    for container in spec["containers"]:
        resources = container["resources"]
        assert parse_bytes(resources["limits"]["memory"]) == parse_bytes(resources["requests"]["memory"])
        assert "cpu" in resources["requests"]
        assert "cpu" not in resources["limits"]  # a worker that is slowed down is no use to anyone


def test_memory_that_is_planned_is_there():
    training = PODS["training/train.yaml Job mrdist-train train"]
    planned = parse_bytes(option(training, "--max-memory"))
    config = yaml.safe_load((ROOT / "deploy" / "dask.yaml").read_text())["distributed"]["worker"]
    assert config["memory"]["terminate"] == TERMINATE
    for spec in WORKERS:
        assert parse_bytes(option(spec, "--memory-limit")) == planned
        limit = parse_bytes(spec["containers"][0]["resources"]["limits"]["memory"])
        assert limit >= TERMINATE * planned + NANNY
        assert option(spec, "--nthreads") == "1"


def test_dask_is_told_what_the_local_cluster_is_told():
    from mrdist.execution._cluster import _RULES

    def flat(config, prefix=""):
        for name, value in config.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{name}.")
            else:
                yield prefix + name, value

    rules = {name: value for name, value in _RULES.items() if not name.endswith(".preload")}  # Ctrl-C of a terminal
    written = dict(flat(yaml.safe_load((ROOT / "deploy" / "dask.yaml").read_text())))
    pages = [written.pop(f"distributed.{who}.http.routes") for who in ("scheduler", "worker")]  # for probes
    assert pages == [["distributed.http.health", "distributed.http.statics"]] * 2
    assert written == rules


def test_deployments_are_watched():
    for name, spec in PODS.items():
        if "Job" in name:
            continue
        for container in spec["containers"]:
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert container[probe]["httpGet"]["port"] in ports, (name, probe)
    service = PODS["base/service.yaml Deployment mrdist-service service"]["containers"][0]
    asked = [service[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert all(probe["httpHeaders"] == [{"name": "Host", "value": "localhost"}] for probe in asked)
    assert service["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert service["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_everyone_knows_the_scheduler_by_its_name():
    service = DOCUMENTS["dask/scheduler.yaml Service mrdist-scheduler"]
    port = {port["name"]: port["port"] for port in service["spec"]["ports"]}["scheduler"]
    address = f"tls://{service['metadata']['name']}:{port}"
    cluster = DOCUMENTS["operator/cluster.yaml DaskCluster mrdist"]
    assert f"{cluster['metadata']['name']}-scheduler" == service["metadata"]["name"]  # the operator's rule
    assert option(PODS["training/train.yaml Job mrdist-train train"], "--scheduler") == address
    assert option(PODS["base/service.yaml Deployment mrdist-service service"], "--scheduler") == address
    assert all(address in spec["containers"][0]["command"] for spec in WORKERS)


def test_selectors_find_pods():
    for name, document in DOCUMENTS.items():
        spec = document.get("spec", {})
        if document["kind"] == "Service":
            assert any(spec["selector"].items() <= labels.items() for labels in LABELS), name
        if document["kind"] == "Deployment":
            assert selects(spec["selector"], spec["template"]["metadata"]["labels"]), name
    budget = DOCUMENTS["base/disruption-budget.yaml PodDisruptionBudget mrdist-worker"]["spec"]
    assert sum(selects(budget["selector"], labels) for labels in LABELS) == len(WORKERS)
    (scaler,) = [found["spec"] for found in DOCUMENTS.values() if found["kind"] == "HorizontalPodAutoscaler"]
    target = DOCUMENTS[f"dask/workers.yaml Deployment {scaler['scaleTargetRef']['name']}"]
    assert "replicas" not in target["spec"]  # applying it again must not undo what the autoscaler did


def test_a_training_is_repeated_unless_repeating_is_no_use():
    job = DOCUMENTS["training/train.yaml Job mrdist-train"]["spec"]
    assert job["backoffLimit"] >= 3
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    evicted, misused = job["podFailurePolicy"]["rules"]
    assert evicted["action"] == "Ignore"
    assert misused["onExitCodes"]["values"] == [2]
    assert misused["onExitCodes"]["containerName"] == job["template"]["spec"]["containers"][0]["name"]


@pytest.mark.parametrize("container", ["train", "service"])
def test_the_command_line_knows_the_options(container):
    from mrdist.cli.main import commands

    (spec,) = [spec for name, spec in PODS.items() if name.endswith(f" {container}")]
    name, *arguments = spec["containers"][0]["command"][1:]
    given = commands.commands[name].make_context(name, arguments).params
    assert given["scheduler"] == "tls://mrdist-scheduler:8786"
