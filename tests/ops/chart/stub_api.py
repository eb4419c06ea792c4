"""Enough of Kubernetes' API for Helm to install, upgrade, test and roll back a release; its Jobs and Pods end at once.

It admits everything and runs nothing: it proves an order of requests, never that a cluster would take the objects.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

RESOURCES = {
    "api/v1": {
        "configmaps": "ConfigMap",
        "persistentvolumeclaims": "PersistentVolumeClaim",
        "pods": "Pod",
        "secrets": "Secret",
        "serviceaccounts": "ServiceAccount",
        "services": "Service",
    },
    "apis/apps/v1": {"deployments": "Deployment"},
    "apis/batch/v1": {"jobs": "Job"},
    "apis/policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
}


def merged(old, change):
    """Applies a merge patch."""
    if not isinstance(change, dict):
        return change
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


class Api(ThreadingHTTPServer):
    """The server: its objects by path, and the changes that were asked for, in their order."""

    daemon_threads = True

    def __init__(self, jobs_succeed=True):
        super().__init__(("127.0.0.1", 0), Request)
        self.jobs_succeed = jobs_succeed
        self.objects, self.changes, self.version = {}, [], 0
        self.lock = threading.Lock()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self):
        """Returns the changes since the last call, without Helm's own records of the release."""
        with self.lock:
            changes, self.changes = self.changes, []
        return [(verb, name) for verb, name in changes if "sh.helm.release" not in name]

    def ended(self, item):
        """Reports a Job or Pod as what its controller would make of it."""
        if item["kind"] == "Job":
            kind = "Complete" if self.jobs_succeed else "Failed"
            item["status"] = {"conditions": [{"type": kind, "status": "True", "reason": "Stub"}]}
        if item["kind"] == "Pod":
            item["status"] = {"phase": "Succeeded"}
        return item


class Request(BaseHTTPRequestHandler):
    """One request of Helm."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def status(self, code, reason):
        self.answer(code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": reason})

    def body(self):
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")

    def discovery(self, path):
        """Answers what there is, or None."""
        if path == "version":
            return {"major": "1", "minor": "30", "gitVersion": "v1.30.0"}
        if path == "api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "apis":
            names = [p.split("/")[1:] for p in RESOURCES if p.startswith("apis/")]
            versions = [(g, {"groupVersion": f"{g}/{v}", "version": v}) for g, v in names]
            groups = [{"name": g, "versions": [v], "preferredVersion": v} for g, v in versions]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        if path in RESOURCES:
            verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
            found = [
                {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": verbs}
                for name, kind in RESOURCES[path].items()
            ]
            return {"kind": "APIResourceList", "groupVersion": path.removeprefix("apis/").removeprefix("api/"), "resources": found}
        return None

    def do_GET(self):
        url = urlsplit(self.path)
        path, query = url.path.strip("/"), parse_qs(url.query)
        if path == "openapi/v2":
            # No byte is a document without a schema, by which nothing is invalid.
            self.answer(200, b"")
            return
        found = self.discovery(path)
        with self.server.lock:
            item = self.server.objects.get(path)
            below = [o for p, o in self.server.objects.items() if p.rpartition("/")[0] == path]
            version = str(self.server.version)
        if found or item:
            self.answer(200, found or item)
        elif path.rpartition("/")[2] in KINDS:
            field = query.get("fieldSelector", [""])[0].removeprefix("metadata.name=")
            labels = dict(pair.split("=") for pair in query.get("labelSelector", [""])[0].split(",") if "=" in pair)
            below = [o for o in below if not field or o["metadata"]["name"] == field]
            below = [o for o in below if labels.items() <= o["metadata"].get("labels", {}).items()]
            if "watch" in query:
                # Everything had ended before the list was read: there is nothing to wait for.
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
            else:
                place, _, name = path.partition("/namespaces/")
                kind, api = KINDS[name.rpartition("/")[2]], place.removeprefix("apis/").removeprefix("api/")
                self.answer(200, {"kind": f"{kind}List", "apiVersion": api, "metadata": {"resourceVersion": version}, "items": below})
        else:
            self.status(404, "NotFound")

    def change(self, verb, path, item):
        """Notes a change and stores the object; the caller holds the lock."""
        self.server.version += 1
        item["metadata"].update(resourceVersion=str(self.server.version), uid=path)
        self.server.changes.append((verb, f"{item['kind']}/{item['metadata']['name']}"))
        self.server.objects[path] = self.server.ended(item)
        return item

    def do_POST(self):
        item = self.body()
        path = f"{urlsplit(self.path).path.strip('/')}/{item['metadata']['name']}"
        with self.server.lock:
            taken = path in self.server.objects
            if not taken:
                item = self.change("create", path, item)
        if taken:
            self.status(409, "AlreadyExists")
        else:
            self.answer(201, item)

    def do_PUT(self):
        with self.server.lock:
            item = self.change("update", urlsplit(self.path).path.strip("/"), self.body())
        self.answer(200, item)

    def do_PATCH(self):
        path, patch = urlsplit(self.path).path.strip("/"), self.body()
        with self.server.lock:
            item = self.server.objects.get(path)
            if item:
                item = self.change("patch", path, merged(item, patch))
        if item:
            self.answer(200, item)
        else:
            self.status(404, "NotFound")

    def do_DELETE(self):
        self.body()
        with self.server.lock:
            item = self.server.objects.pop(urlsplit(self.path).path.strip("/"), None)
            if item:
                self.server.changes.append(("delete", f"{item['kind']}/{item['metadata']['name']}"))
        if item:
            self.answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})
        else:
            self.status(404, "NotFound")


KINDS = {name: kind for kinds in RESOURCES.values() for name, kind in kinds.items()}
