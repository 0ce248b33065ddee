"""Schedulers and workers of the Kubernetes manifests speak TLS by a Secret, with those alone who have it.

Here their commands, settings and certificates run as processes of this machine.
"""

import re
import subprocess

import commands
import pytest
from test_deployed_clusters import assert_only_those_get_in, faces  # noqa: F401 (a fixture)
from test_kubernetes import DOCUMENTS, KUBERNETES, PODS, ROOT, policies, read

MOUNTED = "/run/secrets/certificates"
(BASE,) = read(KUBERNETES / "base" / "kustomization.yaml")
(LITERALS,) = [each["literals"] for each in BASE["configMapGenerator"] if each["name"] == "mrdist-tls"]
SETTINGS = dict(literal.split("=", 1) for literal in LITERALS)


@pytest.mark.parametrize("name", PODS)
def test_every_pod_has_the_certificate_and_no_address_without_tls(name):
    (container,) = PODS[name]["containers"]
    assert {"configMapRef": {"name": "mrdist-tls"}} in container["envFrom"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["certificates"] == {"name": "certificates", "mountPath": MOUNTED, "readOnly": True}
    (volume,) = [volume for volume in PODS[name]["volumes"] if volume["name"] == "certificates"]
    assert volume["secret"] == {"secretName": "mrdist-certificates", "defaultMode": 0o440}
    assert ("--protocol=tls" in container["command"]) == (container["name"] == "scheduler")


def test_no_file_names_an_address_without_tls():
    for path in KUBERNETES.rglob("*.yaml"):
        assert "tcp://" not in path.read_text(), path


def test_settings_are_those_of_compose_and_lie_where_the_secret_is_mounted():
    from test_compose import SERVICES

    ours = {name for name in SERVICES["worker"]["environment"] if name.startswith("DASK_DISTRIBUTED__")}
    assert set(SETTINGS) == ours
    for name, value in SETTINGS.items():
        assert value == "true" if name.endswith("ENCRYPTION") else value in (f"{MOUNTED}/tls.crt", f"{MOUNTED}/tls.key")


def test_the_operator_reaches_the_port_of_its_questions_alone():
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "dask-operator"}}}
    rules = [rule for policy in policies() for rule in policy.get("ingress", []) if operator in rule.get("from", [])]
    assert rules == [{"from": [operator], "ports": [{"port": 8787}]}]
    asked = [rule["ports"] for policy in policies() for rule in policy.get("ingress", []) if rule not in rules]
    assert not any({"port": 8787} in ports for ports in asked)


def certificates(folder):
    """Make the certificate as the page says, and return the settings of the pods with it."""
    page = (ROOT / "deploy/README.md").read_text()
    (command,) = re.findall(r"^openssl req .*-out tls\.crt$", page, re.MULTILINE)
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True, timeout=commands.SECONDS)
    assert "create secret tls mrdist-certificates --cert=tls.crt --key=tls.key" in page
    return {name: value.replace(MOUNTED, str(folder)) for name, value in SETTINGS.items()}


@pytest.mark.long
def test_who_has_the_secret_trains_and_nobody_else_gets_in(faces, tmp_path):  # noqa: F811
    settings = certificates(tmp_path) | {"DASK_CONFIG": str(ROOT / "deploy/dask.yaml")}
    command = DOCUMENTS["dask/scheduler.yaml Deployment mrdist-scheduler"]["spec"]["template"]["spec"]["containers"][0]
    (protocol,) = [part for part in command["command"] if part.startswith("--protocol")]
    assert_only_those_get_in(settings, faces, tmp_path, protocol)
