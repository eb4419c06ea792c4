"""A release's life by Helm 3 against a stub of the API: what is made in which order, on install, upgrade, test, rollback.

It never shows that a cluster would admit the objects; the schemas do.
"""

import unittest

import chart
from chart import NAMESPACE, RELEASE, Refused, over, sets
from stub_api import Api

HOOK = sets()["migrate-hook"]
COPIES = [("create", "ConfigMap/demo-fanfare-migrate"), ("create", "Secret/demo-fanfare-migrate")]
JOB = ("create", "Job/demo-fanfare-migrate")


class Life(unittest.TestCase):
    def helm(self, api, *line, values=None):
        return chart.run_helm3(*line, "--namespace", NAMESPACE, "--kube-apiserver", api.url, values=values)

    def install(self, api, values, verb="install"):
        self.helm(api, verb, RELEASE, chart.CHART, "--disable-openapi-validation", "--timeout", "20s", values=values)
        return api.asked()

    def test_migrations_are_over_before_anything_else_is_made(self):
        with Api() as api:
            asked = self.install(api, HOOK)
            self.assertEqual(sorted(asked[:2]), COPIES)
            self.assertEqual(asked[2], JOB)
            rest = [name for verb, name in asked[3:] if verb == "create"]
            self.assertIn("Deployment/demo-fanfare", rest)
            self.assertIn("Secret/demo-fanfare", rest)

    def test_an_upgrade_migrates_again_before_it_changes_the_nodes(self):
        with Api() as api:
            self.install(api, HOOK)
            asked = self.install(api, over(HOOK, {"config": {"log": "text"}}), "upgrade")
            self.assertIn(("delete", "Job/demo-fanfare-migrate"), asked)
            self.assertLess(asked.index(("delete", "Job/demo-fanfare-migrate")), asked.index(JOB))
            self.assertLess(asked.index(JOB), asked.index(("patch", "Deployment/demo-fanfare")))

    def test_migrations_that_fail_leave_the_nodes_alone(self):
        with Api(jobs_succeed=False) as api:
            with self.assertRaises(Refused) as caught:
                self.install(api, HOOK)
            self.assertIn("pre-install", str(caught.exception))
            asked = api.asked()
            self.assertEqual(asked[2], JOB)
            self.assertNotIn(("create", "Deployment/demo-fanfare"), asked)
            self.assertNotIn(("delete", "Job/demo-fanfare-migrate"), asked[2:], "its log is gone")

    def test_a_rollback_migrates_nothing(self):
        with Api() as api:
            self.install(api, HOOK)
            self.install(api, over(HOOK, {"config": {"log": "text"}}), "upgrade")
            self.helm(api, "rollback", RELEASE, "1")
            asked = api.asked()
            self.assertIn(("patch", "Deployment/demo-fanfare"), asked)
            self.assertNotIn(JOB, asked)

    def test_an_upgrade_without_changes_leaves_the_pods(self):
        with Api() as api:
            self.install(api, sets()["existing-secrets"])
            asked = self.install(api, sets()["existing-secrets"], "upgrade")
            self.assertEqual([name for _, name in asked if name.startswith("Deployment/")], [])

    def test_helm_test_makes_its_pod_and_makes_it_anew(self):
        with Api() as api:
            self.install(api, sets()["existing-secrets"])
            for before in ([], [("delete", "Pod/demo-fanfare-test")]):
                said = self.helm(api, "test", RELEASE)
                self.assertIn("Succeeded", said)
                self.assertEqual(api.asked(), [*before, ("create", "Pod/demo-fanfare-test")])

    def test_a_claim_outlives_its_release(self):
        with Api() as api:
            self.install(api, sets()["sqlite"])
            self.helm(api, "uninstall", RELEASE)
            asked = api.asked()
            self.assertIn(("delete", "Deployment/demo-fanfare"), asked)
            self.assertNotIn(("delete", "PersistentVolumeClaim/demo-fanfare"), asked)


if __name__ == "__main__":
    unittest.main()
