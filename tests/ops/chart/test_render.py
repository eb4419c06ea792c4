"""Every set of values of ci/ on both Helms, and what every object must be like.

It never starts a cluster: validity is judged by the schemas of Kubernetes and of the custom resources.
"""

import functools
import json
import subprocess
import tempfile
import unittest
from pathlib import Path

import kubernetes_validate
from helm_python import chart as helm4
from kubernetes_validate import utils

import chart
from chart import HELMS, NEEDS, NPM, OLDEST, containers, gateway, over, pods, sets, title

NEWEST = utils.all_versions()[-1]
CUSTOM = ("monitoring.coreos.com/", "keda.sh/", "gateway.networking.k8s.io/")

# Its files are read for each object otherwise: some are of 2 MB.
utils.schema_contents = functools.cache(utils.schema_contents)


@functools.cache
def render_once(name, helm):
    return json.dumps(HELMS[helm](sets()[name], NEEDS.get(name, OLDEST)))


def rendered():
    """Goes through every set on every Helm: its name, the Helm's, the objects, which are the caller's own."""
    for name in sets():
        for helm in HELMS:
            yield name, helm, json.loads(render_once(name, helm))


def is_custom(item):
    return item["apiVersion"].startswith(CUSTOM)


class EverySet(unittest.TestCase):
    maxDiff = None

    def each(self):
        for name, helm, items in rendered():
            with self.subTest(values=name, helm=helm):
                yield items

    def test_there_are_enough_sets_to_mean_something(self):
        self.assertGreaterEqual(len(sets()), 10)

    def test_lint_is_silent_in_strict_mode(self):
        for name, values in {"defaults": {}, **sets()}.items():
            with self.subTest(values=name, helm="helm 3"):
                # Its lint takes no version of Kubernetes, and is as old as the oldest that knows no `sleep`.
                if name not in NEEDS:
                    chart.run_helm3("lint", "--strict", chart.CHART, values=values)
            with self.subTest(values=name, helm="helm 4"):
                report = helm4.lint(chart.CHART, values, strict=True, kube_version=f"v{NEWEST}")
                self.assertEqual([m for m in report["messages"] if m["severity"] > 1], [])
                self.assertEqual(report["errors"], [])

    def test_both_helms_render_the_same(self):
        for name in sets():
            with self.subTest(values=name):
                first, second = (sorted(json.loads(render_once(name, helm)), key=title) for helm in HELMS)
                self.assertEqual(first, second)

    def test_objects_of_kubernetes_are_valid_in_the_oldest_and_newest_version(self):
        for name, helm, items in rendered():
            for version in (NEEDS.get(name, OLDEST), NEWEST):
                for item in items:
                    if not is_custom(item):
                        with self.subTest(values=name, helm=helm, kubernetes=version, object=title(item)):
                            kubernetes_validate.validate(item, version, strict=True)

    def test_custom_resources_are_valid(self):
        custom = [o for _, _, items in rendered() for o in items if is_custom(o)]
        kinds = {o["kind"] for o in custom}
        every = {"HTTPRoute", "PodMonitor", "PrometheusRule", "ScaledObject", "ServiceMonitor"}
        self.assertEqual(kinds, every)
        self.assertEqual(complaints(custom), [])

    def test_a_bad_custom_resource_is_noticed(self):
        for kind, path in {
            "HTTPRoute": ("spec", "rules"),
            "PodMonitor": ("spec", "podMetricsEndpoints"),
            "PrometheusRule": ("spec", "groups"),
            "ScaledObject": ("spec", "triggers"),
            "ServiceMonitor": ("spec", "endpoints"),
        }.items():
            with self.subTest(kind=kind):
                bad = next(o for _, _, items in rendered() for o in items if o["kind"] == kind)
                misspelt = json.loads(json.dumps(bad))
                misspelt[path[0]]["extra" + path[1]] = misspelt[path[0]][path[1]]
                bad[path[0]][path[1]] = "wrong"
                for wrong in (bad, misspelt):
                    self.assertEqual(len(complaints([wrong])), 1)

    def test_no_object_comes_twice(self):
        for items in self.each():
            names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in items]
            self.assertEqual(len(names), len(set(names)), names)

    def test_names_fit_and_labels_are_those_that_kubernetes_recommends(self):
        wanted = {f"app.kubernetes.io/{n}" for n in ("name", "instance", "version", "component", "managed-by", "part-of")}
        for items in self.each():
            for item in items:
                self.assertLessEqual(len(item["metadata"]["name"]), 63)
                if item["metadata"]["name"] not in ("demo-more", "demo-fanfare-text"):
                    self.assertLessEqual({*wanted, "helm.sh/chart"}, set(item["metadata"]["labels"]))
                    self.assertIn("namespace", item["metadata"])

    def test_an_environment_never_has_a_name_twice(self):
        for items in self.each():
            for _, pod in pods(items):
                for container in containers(pod):
                    names = [entry["name"] for entry in container.get("env", [])]
                    self.assertEqual(len(names), len(set(names)), names)

    def test_own_pods_pass_the_restricted_profile(self):
        foreign = {"wait", "proxy"}
        for items in self.each():
            for name, pod in pods(items):
                own = [c for c in containers(pod) if c["name"] not in foreign]
                with self.subTest(pod=name):
                    self.assertIs(pod["automountServiceAccountToken"], False)
                    self.assertIs(pod["enableServiceLinks"], False)
                    self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
                    self.assertGreater(pod["securityContext"]["runAsUser"], 0)
                    self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                    for container in own:
                        context = container["securityContext"]
                        self.assertIs(context["allowPrivilegeEscalation"], False)
                        self.assertIs(context["readOnlyRootFilesystem"], True)
                        self.assertEqual(context["capabilities"], {"drop": ["ALL"]})

    def test_every_mounted_volume_exists_and_every_volume_is_mounted(self):
        for items in self.each():
            for name, pod in pods(items):
                with self.subTest(pod=name):
                    mounted = {m["name"] for c in containers(pod) for m in c.get("volumeMounts", [])}
                    self.assertEqual(mounted, {v["name"] for v in pod.get("volumes", [])})

    def test_selectors_find_their_pods_and_no_others(self):
        for items in self.each():
            labels = [
                (title(o), o["spec"]["template"]["metadata"]["labels"]) for o in items if o["kind"] == "Deployment"
            ]
            for item in items:
                selector = item.get("spec", {}).get("selector") if item["kind"] in ("Service", "Deployment") else None
                if selector is None:
                    continue
                wanted = selector.get("matchLabels", selector).items()
                found = [name for name, own in labels if wanted <= own.items()]
                self.assertEqual(len(found), 1, title(item))

    def test_the_operators_port_is_never_public(self):
        for items in self.each():
            for item in items:
                kind, spec = item["kind"], item.get("spec", {})
                if kind == "Service" and any(p["targetPort"] == "admin" for p in spec["ports"]):
                    self.assertEqual(spec["type"], "ClusterIP")
                    self.assertEqual(len(spec["ports"]), 1)
                if kind in ("Ingress", "HTTPRoute"):
                    self.assertNotIn("admin", json.dumps(spec))
                    self.assertNotIn("4001", json.dumps(spec))

    def test_no_secret_is_outside_a_secret(self):
        inline = ("a-secret-for-trying-it-out-only-0000", "another-secret-for-trying-it-out-only", "fanfare:password@")
        for items in self.each():
            text = json.dumps([o for o in items if o["kind"] != "Secret"])
            for secret in inline:
                self.assertNotIn(secret, text)

    def test_an_owner_of_the_number_of_nodes_is_the_only_one(self):
        for items in self.each():
            owners = [o for o in items if o["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
            self.assertEqual("replicas" in chart.deployment(items)["spec"], not owners)

    def test_every_secret_and_config_map_of_the_chart_exists_before_its_pod(self):
        for items in self.each():
            made = {(o["kind"], o["metadata"]["name"]): weight(o) for o in items if o["kind"] in ("ConfigMap", "Secret")}
            for item in items:
                if item["kind"] not in ("Pod", "Deployment", "Job"):
                    continue
                for reference in references(item):
                    if reference[1].startswith("demo-") and reference[1] != "demo-keys":
                        self.assertIn(reference, made, title(item))
                        self.assertLess(made[reference], weight(item), f"{title(item)} before {reference}")


def complaints(items):
    """Asks the schemas of custom resources."""
    # As text, so that the packages are looked for in the folder where they are installed.
    program = Path(__file__).with_name("custom_resources.mjs").read_text()
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", program],
        cwd=NPM,
        input=json.dumps(items),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


def weight(item):
    """Says when Helm makes an object: hooks by weight, then the release, its pods last, then tests."""
    annotations = item["metadata"].get("annotations", {})
    hook = annotations.get("helm.sh/hook", "")
    if hook.startswith("pre-"):
        return (0, int(annotations["helm.sh/hook-weight"]))
    if hook == "test":
        return (3, 0)
    return (2 if item["kind"] in ("Deployment", "Pod") else 1, 0)


def references(item):
    """Lists the Secrets and ConfigMaps that an object's pod needs."""
    pod = dict(pods([item]))[title(item)]
    found = set()
    for container in containers(pod):
        for entry in container.get("env", []):
            secret = entry.get("valueFrom", {}).get("secretKeyRef")
            if secret:
                found.add(("Secret", secret["name"]))
    for volume in pod.get("volumes", []):
        if "configMap" in volume:
            found.add(("ConfigMap", volume["configMap"]["name"]))
    return found


class Details(unittest.TestCase):
    def test_pods_are_replaced_when_the_configuration_changes_and_only_then(self):
        def template(values):
            return chart.deployment(chart.by_helm4(over(chart.SECRETS, values)))["spec"]["template"]

        same = template({})
        self.assertEqual(same, template({"podDisruptionBudget": {"enabled": False}}))
        self.assertNotEqual(same, template({"config": {"log": "text"}}))
        version = chart.META["version"]
        self.assertNotIn(version, json.dumps(same["metadata"]), "another chart alone would move every client")

    def test_every_variable_may_be_given_in_extra_env_and_never_comes_twice(self):
        for name in ("migrate-hook", "migrate-init", "existing-secrets"):
            items = chart.by_helm4(sets()[name])
            names = sorted({e["name"] for _, pod in pods(items) for c in containers(pod) for e in c.get("env", [])})
            self.assertIn("FANFARE_CONFIG", names)
            given = [{"name": n, "value": "by hand"} for n in names]
            for helm, render in HELMS.items():
                with self.subTest(values=name, helm=helm):
                    items = render(over(sets()[name], {"extraEnv": given}))
                    for _, pod in pods(items):
                        for container in containers(pod):
                            found = [e["name"] for e in container.get("env", [])]
                            self.assertEqual(len(found), len(set(found)), found)
                    self.assertEqual(gateway(items)["containers"][0]["env"], given)

    def test_what_is_given_in_extra_env_replaces_the_charts(self):
        pod = gateway(chart.by_helm4(sets()["all-on"]))
        names = {e["name"]: e for e in pod["containers"][0]["env"]}
        self.assertEqual(names["FANFARE_NODE_NAME"]["value"], "by-hand")

    def test_a_variable_may_refer_to_one_before_it(self):
        for container in containers(gateway(chart.by_helm4(sets()["migrate-init"]))):
            names = [e["name"] for e in container["env"]]
            if container["name"] == "fanfare":
                self.assertLess(names.index("DB_PASSWORD"), names.index("FANFARE_DATABASE_URL"))

    def test_migrations_run_by_their_own_login(self):
        for name, secret in {"migrate-init": "pg-owner", "all-on": "pg-owner", "migrate-hook": "demo-fanfare-migrate"}.items():
            with self.subTest(values=name):
                items = chart.by_helm4(sets()[name])
                own = [c for _, pod in pods(items) for c in containers(pod) if c["name"] == "migrate"]
                self.assertEqual(len(own), 1)
                env = {e["name"]: e for e in own[0]["env"]}
                self.assertEqual(env["FANFARE_DATABASE_URL"]["valueFrom"]["secretKeyRef"]["name"], secret)
                node = {e["name"]: e for e in gateway(items)["containers"][0]["env"]}
                self.assertEqual(node["FANFARE_MIGRATE"]["value"], "false")

    def test_a_hook_is_the_same_object_on_install_and_upgrade(self):
        values = sets()["migrate-hook"]
        renders = [
            chart.loaded().render(values, name="demo", namespace="games", **{when: True})
            for when in ("is_install", "is_upgrade")
        ]
        path = "fanfare/templates/migrate-job.yaml"
        self.assertEqual(renders[0][path], renders[1][path])
        self.assertIn("pre-install,pre-upgrade", renders[0][path])
        self.assertNotIn("hook-succeeded", renders[0][path])

    def test_sqlite_is_never_opened_by_two_nodes(self):
        for name in ("sqlite", "memory"):
            self.assertEqual(chart.deployment(chart.by_helm4(sets()[name]))["spec"]["strategy"], {"type": "Recreate"})

    def test_old_pods_do_not_count_in_the_spread(self):
        constraints = gateway(chart.by_helm4(chart.SECRETS))["topologySpreadConstraints"]
        self.assertEqual([c["topologyKey"] for c in constraints], ["kubernetes.io/hostname", "topology.kubernetes.io/zone"])
        for constraint in constraints:
            self.assertEqual(constraint["matchLabelKeys"], ["pod-template-hash"])

    def test_probes_ask_for_what_depends_on_no_other_server(self):
        node = gateway(chart.by_helm4(chart.SECRETS))["containers"][0]
        paths = {p: node[f"{p}Probe"]["httpGet"]["path"] for p in ("startup", "readiness", "liveness")}
        self.assertEqual(paths, {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"})

    def test_keda_scales_by_the_sum_of_connections(self):
        trigger = chart.only(chart.by_helm4(sets()["keda"]), "ScaledObject")["spec"]["triggers"][0]
        self.assertEqual(trigger["metricType"], "AverageValue")
        query = 'sum(fanfare_connections{namespace="games",pod=~"demo-fanfare-[a-z0-9]+-[a-z0-9]+"})'
        self.assertEqual(trigger["metadata"]["query"], query)
        self.assertEqual(trigger["metadata"]["threshold"], "10000")

    def test_the_network_policy_lets_in_whom_it_names(self):
        spec = chart.only(chart.by_helm4(sets()["monitoring"]), "NetworkPolicy")["spec"]
        client, admin = spec["ingress"]
        self.assertNotIn("from", client)
        self.assertEqual(admin["from"], [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}])
        self.assertEqual([p["port"] for rule in spec["egress"] for p in rule["ports"]], [53, 53, 6379, 5432])

    def test_a_package_renders_as_the_folder_does(self):
        with tempfile.TemporaryDirectory() as folder:
            archive = helm4.package(chart.CHART, destination=folder)
            with helm4.Chart.load(archive) as packed:
                self.assertEqual(
                    packed.render(sets()["all-on"], name="demo", namespace="games"),
                    chart.templates_by_helm4(sets()["all-on"]),
                )
                self.assertNotIn("ci/all-on.yaml", [file["name"] for file in packed.files])


if __name__ == "__main__":
    unittest.main()
