"""Who may do what: the roles that the chart makes, and the pods' own restrictions."""

import pytest

from headrace.api.acts import Act

ROLE_KINDS = ("Role", "ClusterRole")


def granted(roles):
    """(group, resource, verb, name) of every rule; name empty: all."""
    return {
        (group, resource, verb, name)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def roles_of(objects, name):
    return [
        role for kind in ROLE_KINDS for role in objects if role["kind"] == kind and role["metadata"]["name"] == name
    ]


def test_operator_has_no_rights_to_secrets_nodes_or_roles(render) -> None:
    rights = granted(roles_of(render(), "headrace-operator") + roles_of(render(), "headrace-operator-lease"))
    resources = {resource.split("/")[0] for _, resource, _, _ in rights}
    assert resources.isdisjoint({"secrets", "nodes", "serviceaccounts", "roles", "clusterroles", "rolebindings"})
    assert "*" not in {part for right in rights for part in right}


def test_operator_makes_no_pods_itself_and_looks_through_no_configmaps(render) -> None:
    rights = granted(roles_of(render(), "headrace-operator"))
    verbs = {resource: {verb for _, one, verb, _ in rights if one == resource} for resource in ("pods", "configmaps")}
    assert verbs["pods"] == {"get", "list", "watch", "patch"}
    assert verbs["configmaps"] == {"get", "create"}


def test_operator_may_do_what_training_and_serving_need(render) -> None:
    rights = granted(roles_of(render(), "headrace-operator"))
    needed = {
        ("headrace.dev", "trainingjobs", "watch", ""),
        ("headrace.dev", "trainingjobs", "create", ""),
        ("headrace.dev", "trainingjobs", "delete", ""),
        ("headrace.dev", "trainingjobs", "patch", ""),
        ("headrace.dev", "trainingjobs/status", "update", ""),
        ("batch", "jobs", "create", ""),
        ("batch", "jobs", "delete", ""),
        ("batch", "jobs/status", "patch", ""),
        ("batch", "cronjobs", "create", ""),
        ("batch", "cronjobs", "patch", ""),
        ("batch", "cronjobs", "watch", ""),
        ("", "pods", "patch", ""),
        ("", "services", "create", ""),
        ("", "services", "watch", ""),
        ("", "configmaps", "create", ""),
        ("", "events", "create", ""),
        ("networking.k8s.io", "networkpolicies", "create", ""),
        ("networking.k8s.io", "networkpolicies", "watch", ""),
        ("networking.k8s.io", "networkpolicies", "delete", ""),
        ("", "namespaces", "watch", ""),
        ("apps", "deployments", "patch", ""),
        ("apps", "controllerrevisions", "create", ""),
        ("policy", "poddisruptionbudgets", "patch", ""),
        ("policy", "poddisruptionbudgets", "watch", ""),
        ("gateway.networking.k8s.io", "httproutes", "patch", ""),
        ("apiextensions.k8s.io", "customresourcedefinitions", "watch", ""),
    }
    assert needed <= rights


@pytest.mark.parametrize("settings", [(), ("admission.enabled=false",), ("aggregateRoles.enabled=false",)])
def test_the_right_to_approve_is_given_by_one_role_that_no_other_one_takes_in(settings, render) -> None:
    objects = render(*settings)
    approving = [role for role in objects if role["kind"] in ROLE_KINDS and "approve" in str(role["rules"])]
    assert [role["metadata"]["name"] for role in approving] == ["headrace-approver"]
    assert not [label for label in approving[0]["metadata"]["labels"] if "aggregate" in label]
    assert {(resource, verb) for _, resource, verb, _ in granted(approving)} == {
        ("trainingjobs", verb) for verb in ("get", "list", "watch", "patch", "approve")
    }


ACTS = {("modelservices", act.value) for act in Act}


def test_the_right_to_steer_a_rollout_is_a_role_of_its_own_and_comes_with_edit(render) -> None:
    steering = {
        role["metadata"]["name"]: {(resource, verb) for _, resource, verb, _ in granted([role])}
        for role in render()
        if role["kind"] in ROLE_KINDS and "abort" in str(role["rules"])
    }
    assert set(steering) == {"headrace-releaser", "headrace-edit"}
    looks = {("modelservices", verb) for verb in ("get", "list", "watch", "patch")}
    assert steering["headrace-releaser"] == ACTS | looks
    assert steering["headrace-edit"] >= ACTS


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_the_policy_that_asks_for_it_is_there_with_the_others(enabled, render) -> None:
    objects = render(f"admission.enabled={enabled}")
    assert ("headrace-acts" in objects.of("ValidatingAdmissionPolicy")) is (enabled == "true")
    assert ("headrace-acts" in objects.of("ValidatingAdmissionPolicyBinding")) is (enabled == "true")


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_the_operator_takes_approvals_where_the_policy_is_there(enabled, render) -> None:
    objects = render(f"admission.enabled={enabled}")
    assert objects.env("headrace-operator")["HEADRACE_APPROVALS_ENFORCED"] == enabled
    assert ("headrace-approvals" in objects.of("ValidatingAdmissionPolicy")) is (enabled == "true")
    assert ("headrace-approvals" in objects.of("ValidatingAdmissionPolicyBinding")) is (enabled == "true")


def test_lease_is_the_operators_own_only(render) -> None:
    (role,) = roles_of(render(), "headrace-operator-lease")
    assert role["kind"] == "Role"
    assert role["metadata"]["namespace"] == "headrace-system"
    assert granted([role]) == {
        ("coordination.k8s.io", "leases", "get", "headrace"),
        ("coordination.k8s.io", "leases", "update", "headrace"),
        ("coordination.k8s.io", "leases", "create", ""),
        ("", "configmaps", "get", "headrace-open-runs"),
        ("", "configmaps", "patch", "headrace-open-runs"),
        ("", "configmaps", "create", ""),
    }


def test_named_namespaces_give_roles_there_and_no_rights_elsewhere(render) -> None:
    objects = render("watchNamespaces={team-a,team-b}")
    roles = roles_of(objects, "headrace-operator")
    assert {role["metadata"].get("namespace") for role in roles} == {"team-a", "team-b", None}
    cluster_wide = granted(role for role in roles if role["kind"] == "ClusterRole")
    assert {resource for _, resource, _, _ in cluster_wide} == {"customresourcedefinitions", "namespaces"}
    assert {verb for _, _, verb, _ in cluster_wide} == {"get", "list", "watch"}


def test_named_namespaces_keep_the_gateway_from_secrets_elsewhere(render) -> None:
    objects = render("watchNamespaces={team-a}")
    with_secrets = [
        role["metadata"].get("namespace")
        for role in roles_of(objects, "headrace-gateway")
        if any(resource == "secrets" for _, resource, _, _ in granted([role]))
    ]
    assert with_secrets == ["headrace-system", "team-a"]
    arguments = objects.container("headrace-gateway")["command"]
    assert "--providers.kubernetesgateway.namespaces=headrace-system,team-a" in arguments


@pytest.mark.parametrize("settings", [(), ("watchNamespaces={team-a,team-b}",)])
def test_uninstall_hook_may_take_finalizers_off_pods_and_nothing_else(settings, render) -> None:
    roles = roles_of(render(*settings), "headrace-release-pods")
    assert {(resource, verb) for _, resource, verb, _ in granted(roles)} == {
        ("pods", "get"),
        ("pods", "list"),
        ("pods", "patch"),
    }


def test_uninstall_hook_brings_its_own_account_because_the_operators_is_gone_by_then(render) -> None:
    hooks = [item for item in render() if item["metadata"]["name"] == "headrace-release-pods"]
    assert {item["kind"] for item in hooks} == {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Job"}
    assert {item["metadata"]["annotations"]["helm.sh/hook"] for item in hooks} == {"post-delete"}
    job = next(item for item in hooks if item["kind"] == "Job")
    pod = job["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "headrace-release-pods"
    assert pod["containers"][0]["command"] == ["/opt/venv/bin/python", "-m", "headrace", "release-pods"]


def pod_specs(objects):
    for item in objects:
        if item["kind"] in {"Deployment", "Job"}:
            yield item["metadata"]["name"], item["spec"]["template"]["spec"]
        if item["kind"] == "Pod":
            yield item["metadata"]["name"], item["spec"]


def test_every_pod_runs_as_nobody_with_a_read_only_root(render) -> None:
    seen = set()
    for name, pod in pod_specs(render()):
        seen.add(name)
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == 65532, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["limits"]["memory"], name
    assert len(seen) == 6


def test_only_who_talks_to_the_cluster_has_a_token(render) -> None:
    without = {name for name, pod in pod_specs(render()) if pod.get("automountServiceAccountToken") is False}
    assert without == {"headrace-mlflow", "headrace-s3", "headrace-test"}


def test_no_object_of_the_release_looks_like_one_that_the_operator_made(render) -> None:
    managers = {item["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") for item in render()}
    assert "headrace" not in managers
