"""What the chart refuses, by what it says; and what it only warns of.

Each case is a change to values that render.
"""

import copy
import unittest

import chart
from chart import HELMS, ONE_NODE, SECRETS, Refused, over, sets

DEV = sets()["development"]
SQLITE = sets()["sqlite"]

# What is asked, the values, and what is said.
REFUSED = [
    ("no values at all", {}, "there is no secret: set secretKeyBase.existingSecret"),
    ("no values at all: everything is said at once", {}, "there is no database: set database.existingSecret"),
    ("two nodes without Redis", over(SECRETS, {"redis": {"existingSecret": ""}}), "2 nodes need Redis"),
    ("an HPA without Redis", over(ONE_NODE, {"database": {"url": "", "existingSecret": "x"}, "autoscaling": {"enabled": True}}), "10 nodes need Redis"),
    ("KEDA without Redis", over(ONE_NODE, {"database": {"url": "", "existingSecret": "x"}, "keda": {"enabled": True}}), "10 nodes need Redis"),
    ("two nodes with SQLite", over(SQLITE, {"replicaCount": 2, "redis": {"existingSecret": "x"}}), "2 nodes can't share a SQLite database"),
    ("an HPA with SQLite", over(SQLITE, {"redis": {"existingSecret": "x"}, "autoscaling": {"enabled": True}}), "10 nodes can't share a SQLite database"),
    ("HPA and KEDA", over(SECRETS, {"autoscaling": {"enabled": True}, "keda": {"enabled": True, "prometheusAddress": "http://p"}}), "autoscaling.enabled and keda.enabled would both"),
    ("a secret from two places", over(SECRETS, {"secretKeyBase": {"value": "x" * 32}}), "secretKeyBase has an existingSecret and a value of its own"),
    ("a JWT key from two places", over(SECRETS, {"jwtSecret": {"existingSecret": "a", "value": "x" * 32}}), "jwtSecret has an existingSecret and a value"),
    ("Redis from two places", over(SECRETS, {"redis": {"url": "redis://a"}}), "redis has an existingSecret and a value"),
    ("Postgres from two places", over(SECRETS, {"database": {"url": "postgres://a"}}), "database has an existingSecret and a value"),
    ("devRedis beside Redis", over(SECRETS, {"devRedis": {"enabled": True}}), "devRedis.enabled and another Redis"),
    ("devPostgres beside Postgres", over(SECRETS, {"devPostgres": {"enabled": True}}), "devPostgres.enabled and another database"),
    ("a hook before devPostgres", over(DEV, {"migrations": {"mode": "hook"}}), "migrations.mode hook runs before devPostgres exists"),
    ("a hook and SQLite", over(SQLITE, {"migrations": {"mode": "hook"}}), "migrations.mode hook can't reach a SQLite database"),
    ("SQLite outside its volume", over(SQLITE, {"database": {"url": "sqlite:///tmp/a.db"}}), "must be below persistence.mountPath"),
    ("SQLite in the working directory", over(SQLITE, {"database": {"url": "sqlite://a.db"}}), "must be below persistence.mountPath"),
    ("a volume without SQLite", over(SECRETS, {"persistence": {"enabled": True}}), "persistence.enabled is of use with a SQLite file only"),
    ("a short grace period", over(SECRETS, {"terminationGracePeriodSeconds": 44}), "terminationGracePeriodSeconds is 44, but leaving may take 45 s"),
    ("a grace period of a preStop", over(SECRETS, {"terminationGracePeriodSeconds": 59, "lifecycle": {"preStop": {"sleep": {"seconds": 15}}}}), "is 59, but leaving may take 60 s (preStop 15"),
    ("a grace period of a long spread", over(SECRETS, {"terminationGracePeriodSeconds": 60, "config": {"drain": {"spread": "5m"}}}), "is 60, but leaving may take 325 s"),
    ("drain times in the environment", over(SECRETS, {"extraEnv": [{"name": "FANFARE_DRAIN__WAIT", "value": "1m"}]}), "extraEnv has FANFARE_DRAIN__WAIT"),
    ("a variable twice", over(SECRETS, {"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}), "extraEnv has A twice"),
    ("one port for both", over(SECRETS, {"containerPorts": {"admin": 4000}}), "containerPorts.client and containerPorts.admin must differ"),
    ("a PDB that blocks one node", over(ONE_NODE, {"podDisruptionBudget": {"minAvailable": 1}}), "minAvailable 1 of 1 nodes lets no machine be drained"),
    ("a PDB that blocks all nodes", over(SECRETS, {"podDisruptionBudget": {"minAvailable": 2}}), "minAvailable 2 of 2 nodes"),
    ("a PDB of 100%", over(SECRETS, {"podDisruptionBudget": {"minAvailable": "100%"}}), "minAvailable 100% of 2 nodes"),
    ("a PDB of 51% of two", over(SECRETS, {"podDisruptionBudget": {"minAvailable": "51%"}}), "minAvailable 51% of 2 nodes"),
    ("a PDB of the fewest of an HPA", over(SECRETS, {"autoscaling": {"enabled": True}, "podDisruptionBudget": {"minAvailable": 2}}), "minAvailable 2 of 2 nodes"),
    ("a PDB that lets nobody go", over(SECRETS, {"podDisruptionBudget": {"maxUnavailable": 0}}), "maxUnavailable 0 lets no machine be drained"),
    ("a PDB that lets 0% go", over(SECRETS, {"podDisruptionBudget": {"maxUnavailable": "0%"}}), "maxUnavailable 0 lets no machine be drained"),
    ("an HPA upside down", over(SECRETS, {"autoscaling": {"enabled": True, "minReplicas": 11}}), "minReplicas 11 is more than maxReplicas 10"),
    ("KEDA upside down", over(SECRETS, {"keda": {"enabled": True, "prometheusAddress": "http://p", "minReplicas": 11}}), "minReplicas 11 is more than maxReplicas 10"),
    ("an HPA without metrics", over(SECRETS, {"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": None}}), "autoscaling has no metric"),
    ("an HPA without a CPU request", over(SECRETS, {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}}), "set it"),
    ("an HPA without a memory request", over(SECRETS, {"autoscaling": {"enabled": True, "targetMemoryUtilizationPercentage": 80}, "resources": {"requests": {"memory": None}}}), "in % of resources.requests.memory"),
    ("KEDA without Prometheus", over(SECRETS, {"keda": {"enabled": True}}), "keda.enabled needs keda.prometheusAddress"),
    ("an Ingress for nothing", over(SECRETS, {"ingress": {"enabled": True}}), "ingress.enabled needs ingress.hosts"),
    ("an HTTPRoute of no gateway", over(SECRETS, {"httpRoute": {"enabled": True}}), "httpRoute.enabled needs httpRoute.parentRefs"),
    ("two monitors", over(SECRETS, {"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}}), "would scrape every node twice"),
    ("an alert that isn't there", over(SECRETS, {"metrics": {"prometheusRule": {"enabled": True, "alerts": {"NoSuch": {"enabled": False}}}}}), "has no alert NoSuch; there are FanfareNodeDown"),
    ("too few thresholds", over(SECRETS, {"metrics": {"prometheusRule": {"enabled": True, "alerts": {"FanfareConnectionsSkewed": {"thresholds": [2]}}}}}), "alerts.FanfareConnectionsSkewed.thresholds must have 2 numbers"),
    ("thresholds of none", over(SECRETS, {"metrics": {"prometheusRule": {"enabled": True, "alerts": {"FanfareAbsent": {"thresholds": [2]}}}}}), "alerts.FanfareAbsent.thresholds must have 0 numbers"),
    *[
        (f"config.{key}", over(SECRETS, {"config": {key: value}}), f"config.{key} has another place: set {place}")
        for key, value, place in [
            ("listen", "0.0.0.0:4000", "listenAddress"),
            ("admin_listen", "0.0.0.0:4000", "listenAddress"),
            ("redis_url", "redis://a", "redis"),
            ("database_url", "postgres://a", "database"),
            ("secret_key_base", "x", "secretKeyBase"),
            ("node_name", "a", "FANFARE_NODE_NAME in extraEnv"),
            ("migrate", False, "migrations.mode"),
        ]
    ],
    ("config.auth.jwt_secret", over(SECRETS, {"config": {"auth": {"jwt_secret": "x"}}}), "config.auth.jwt_secret has another place"),
]

# What the schema refuses: the values, and the path that the message names.
NOT_OF_THE_SCHEMA = [
    ({"replicas": 3}, "replicas"),
    ({"image": {"digset": "x"}}, "digset"),
    ({"replicaCount": "three"}, "replicaCount"),
    ({"replicaCount": -1}, "replicaCount"),
    ({"replicaCount": 1.5}, "replicaCount"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"image": {"digest": "sha256:beef"}}, "digest"),
    ({"service": {"type": "ExternalName"}}, "type"),
    ({"service": {"port": 70000}}, "port"),
    ({"containerPorts": {"client": 0}}, "client"),
    ({"migrations": {"mode": "sometimes"}}, "mode"),
    ({"config": {"drain": {"wait": "5 s"}}}, "wait"),
    ({"config": {"drain": {"spread": "soon"}}}, "spread"),
    ({"config": {"drain": {"flush": -1}}}, "flush"),
    ({"config": {"log": "xml"}}, "log"),
    ({"config": {"limits": {"connections": "many"}}}, "connections"),
    ({"config": {"channels": [{"topic": "a:*"}]}}, "kind"),
    ({"config": {"channels": [{"topic": "a:*", "kind": "video"}]}}, "kind"),
    ({"config": {"limits": {"frame_bytes": {"max": 1}}}}, "frame_bytes"),
    ({"config": {"a key": 1}}, "a key"),
    ({"secretKeyBase": {"value": "short"}}, "value"),
    ({"redis": {"url": "http://a"}}, "url"),
    ({"database": {"url": "mysql://a"}}, "url"),
    ({"extraEnv": [{"value": "x"}]}, "name"),
    ({"extraEnv": [{"name": "A", "value": 1}]}, "value"),
    ({"extraEnv": {"A": "1"}}, "extraEnv"),
    ({"strategy": {"rollingUpdate": {"maxSurge": "half"}}}, "maxSurge"),
    ({"podDisruptionBudget": {"maxUnavailable": "one"}}, "maxUnavailable"),
    ({"topologySpread": {"whenUnsatisfiable": "Maybe"}}, "whenUnsatisfiable"),
    ({"terminationGracePeriodSeconds": "45s"}, "terminationGracePeriodSeconds"),
    ({"keda": {"prometheusAddress": "prometheus:9090"}}, "prometheusAddress"),
    ({"ingress": {"hosts": [{"name": "a"}]}}, "host"),
    ({"httpRoute": {"matches": []}}, "matches"),
    ({"resources": {"limit": {"memory": "1Gi"}}}, "limit"),
    ({"metrics": {"serviceMonitor": {"interval": "often"}}}, "interval"),
    ({"metrics": {"prometheusRule": {"alerts": {"FanfareAbsent": {"threshold": 1}}}}}, "threshold"),
    ({"persistence": {"mountPath": "data"}}, "mountPath"),
]

# The values and the beginning of a warning of NOTES.txt.
WARNED = [
    (DEV, "devRedis is for development"),
    (DEV, "devPostgres is for development"),
    (DEV, "secrets are given as values"),
    (DEV, "config.anonymous is allow"),
    (DEV, "config.transport.origins is off"),
    (over(ONE_NODE, {"database": {"url": "sqlite:///var/lib/fanfare/a.db"}}), "the SQLite database is not kept"),
    (ONE_NODE, "the database is in memory"),
    (ONE_NODE, "there may be one node only"),
    (SECRETS, "config.workers is not set and there is no CPU limit"),
    (SECRETS, "there is no NetworkPolicy"),
    (over(SECRETS, {"podDisruptionBudget": {"enabled": False}}), "there is no PodDisruptionBudget"),
    (over(SECRETS, {"config": {"limits": {"connections": 0}}}), "config.limits.connections is 0"),
    (over(SECRETS, {"resources": {"limits": {"memory": None}}}), "there is no memory limit"),
    (sets()["ingress"], "config.transport.trusted_proxies is empty"),
    (over(sets()["ingress"], {"ingress": {"tls": []}}), "ingress.tls is empty"),
    (sets()["slow-balancer"], "a LoadBalancer without TLS"),
    (over(sets()["keda"], {"keda": {"connectionsPerPod": 20000}}), "keda.connectionsPerPod is not below"),
    (over(SECRETS, {"config": {"store": {"synchronous_commit": "off"}}}), "config.store.synchronous_commit is weaker"),
]
# Nothing to warn of: what a careful operator would install.
CAREFUL = over(
    SECRETS, {"networkPolicy": {"enabled": True}, "config": {"workers": 4, "transport": {"trusted_proxies": ["10.0.0.0/8"]}}}
)


class Refusals(unittest.TestCase):
    def test_what_cannot_work_is_refused_and_said(self):
        for what, values, message in REFUSED:
            for helm, render in HELMS.items():
                with self.subTest(what=what, helm=helm):
                    with self.assertRaises(Refused) as caught:
                        render(copy.deepcopy(values))
                    self.assertIn("These values can't work:", str(caught.exception))
                    self.assertIn(message, str(caught.exception))

    def test_the_smallest_change_makes_them_work(self):
        for what, values in {
            "the grace period that is needed": over(SECRETS, {"terminationGracePeriodSeconds": 45}),
            "one node without Redis": over(SECRETS, {"replicaCount": 1, "redis": {"existingSecret": ""}}),
            "a PDB of half": over(SECRETS, {"podDisruptionBudget": {"minAvailable": "50%"}}),
            "secrets in extraEnv": {
                "extraEnv": [
                    {"name": f"FANFARE_{name}", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
                    for name in ("SECRET_KEY_BASE", "REDIS_URL", "DATABASE_URL")
                ]
            },
        }.items():
            for helm, render in HELMS.items():
                with self.subTest(what=what, helm=helm):
                    self.assertTrue(render(values))

    def test_what_the_schema_does_not_allow_is_refused_by_path(self):
        for change, path in NOT_OF_THE_SCHEMA:
            for helm, render in HELMS.items():
                with self.subTest(change=change, helm=helm):
                    with self.assertRaises(Refused) as caught:
                        render(over(SECRETS, change))
                    self.assertIn("don't meet the specifications of the schema", str(caught.exception))
                    self.assertIn(path, str(caught.exception))

    def test_null_takes_a_value_away_or_is_refused_in_words(self):
        paths = []
        for name, value in chart.loaded().values.items():
            paths.append((name,))
            paths += [(name, below) for below in value] if isinstance(value, dict) else []
        self.assertGreater(len(paths), 150)
        for path in paths:
            change = {path[0]: {path[1]: None} if path[1:] else None}
            with self.subTest(null=".".join(path)):
                try:
                    chart.by_helm4(over(sets()["all-on"], change))
                except Refused as refused:
                    self.assertRegex(str(refused), "specifications of the schema|These values can't work")

    def test_a_sleep_before_sigterm_needs_a_kubernetes_that_knows_it(self):
        values = sets()["slow-balancer"]
        with self.assertRaises(Refused) as caught:
            chart.by_helm3(values, "1.29.5")
        self.assertIn("preStopSleepSeconds needs Kubernetes 1.30, this is v1.29.5", str(caught.exception))
        self.assertTrue(chart.by_helm3(values, "v1.30.0-gke.100"))

    def test_an_older_kubernetes_is_refused(self):
        with self.assertRaises(Refused) as caught:
            chart.by_helm3(SECRETS, "1.26.9")
        self.assertIn("kubeVersion", str(caught.exception))


class GracePeriods(unittest.TestCase):
    def test_it_is_the_sum_of_what_leaving_takes(self):
        for change, seconds in [
            ({}, 45),
            ({"terminationGraceSlackSeconds": 0}, 35),
            ({"terminationGracePeriodSeconds": 300}, 300),
            ({"config": {"drain": {"wait": "1500ms"}}}, 42),
            ({"config": {"drain": {"wait": "1m", "spread": 90, "flush": "1h"}}}, 60 + 90 + 3600 + 10),
            ({"config": {"drain": {"spread": None}}}, 45),
            ({"config": {"drain": None}}, 45),
            ({"lifecycle": {"preStop": {"sleep": {"seconds": 7}}}}, 52),
            ({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}, "preStopSleepSeconds": 20}, 65),
        ]:
            for helm, render in HELMS.items():
                with self.subTest(change=change, helm=helm):
                    pod = chart.gateway(render(over(SECRETS, change)))
                    self.assertEqual(pod["terminationGracePeriodSeconds"], seconds)

    def test_a_sleep_is_before_sigterm_and_counted(self):
        pod = chart.gateway(chart.by_helm3(sets()["slow-balancer"], "1.30.0"))
        self.assertEqual(pod["containers"][0]["lifecycle"], {"preStop": {"sleep": {"seconds": 5}}})
        self.assertEqual(pod["terminationGracePeriodSeconds"], 5 + 60 + 120 + 30 + 20)


class Notes(unittest.TestCase):
    @staticmethod
    def notes(values):
        return chart.templates_by_helm4(values)["fanfare/templates/NOTES.txt"]

    def test_what_is_risky_is_said(self):
        for values, warning in WARNED:
            with self.subTest(warning=warning):
                self.assertIn(f"- {warning}", self.notes(values))

    def test_careful_values_raise_no_warning(self):
        self.assertNotIn("WARNING", self.notes(CAREFUL))

    def test_they_name_how_clients_connect(self):
        for name, address in {
            "ingress": "wss://demo.example.com/socket",
            "gateway-api": "wss://demo.example.com/socket",
            "existing-secrets": "port-forward service/demo-fanfare 4000:4000",
            "slow-balancer": "ws://<address>:4000/socket",
        }.items():
            with self.subTest(values=name):
                self.assertIn(address, self.notes(sets()[name]))


if __name__ == "__main__":
    unittest.main()
