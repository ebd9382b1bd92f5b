"""Who may ask for what: a table by hand, and all routes of the MLflow that the image installs."""

import pytest

from headrace_mlflow.policy import Access, access

U, A, N = Access.USERS, Access.ADMINISTRATORS, Access.NOBODY


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/2.0/mlflow/runs/get", U),
        ("GET", "/", U),
        ("POST", "/api/2.0/mlflow/runs/create", U),
        ("POST", "/ajax-api/2.0/mlflow/runs/search", U),
        ("POST", "/graphql", U),
        ("POST", "/api/2.0/mlflow/logged-models", U),
        ("PATCH", "/api/2.0/mlflow/logged-models/m-1/tags", U),
        ("POST", "/api/2.0/mlflow/experiments/create", A),
        ("POST", "/api/2.0/mlflow/experiments/update", A),
        ("POST", "/api/2.0/mlflow/registered-models/create", A),
        ("POST", "/ajax-api/2.0/mlflow/registered-models/create", A),
        ("DELETE", "/api/2.0/mlflow/registered-models/alias", A),
        ("POST", "/api/2.0/mlflow/runs/delete", A),
        # the server would sign with its own credentials
        ("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", A),
        ("POST", "/api/3.0/mlflow/gateway/endpoints/create", A),
        ("POST", "/api/3.0/mlflow/users/permissions/grant", A),
        # written otherwise, but not one of the list
        ("POST", "/api/2.0/mlflow/runs/create/", A),
        ("POST", "//api/2.0/mlflow/runs/create", A),
        ("POST", "/api/2.0/mlflow/runs/create/../../experiments/create", A),
        ("POST", "/API/2.0/mlflow/runs/create", A),
        ("post", "/api/2.0/mlflow/runs/create", A),
        ("PROPFIND", "/api/2.0/mlflow/runs/create", A),
        ("GET", "/ajax-api/3.0/mlflow/assistant/sessions/1/stream", N),
        ("POST", "/ajax-api/3.0/mlflow/assistant/message", N),
    ],
)
def test_who_may(method, path, expected):
    assert access(method, path) is expected


def test_of_all_of_mlflows_routes_a_tenant_writes_by_these_only(monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    server = pytest.importorskip("mlflow.server")
    routes = {
        (method, rule.rule.replace("/ajax-api/", "/api/"))
        for rule in server.app.url_map.iter_rules()
        for method in rule.methods - {"GET", "HEAD", "OPTIONS"}
    }
    assert len(routes) > 100, "MLflow's routes are not where they were"
    written = {route for route in routes if access(*route) is U}
    assert written == {
        ("DELETE", "/api/2.0/mlflow/logged-models/<model_id>/tags/<tag_key>"),
        ("PATCH", "/api/2.0/mlflow/logged-models/<model_id>"),
        ("PATCH", "/api/2.0/mlflow/logged-models/<model_id>/tags"),
        ("POST", "/api/2.0/mlflow/experiments/search"),
        ("POST", "/api/2.0/mlflow/experiments/search-datasets"),
        ("POST", "/api/2.0/mlflow/logged-models"),
        ("POST", "/api/2.0/mlflow/logged-models/<model_id>/params"),
        ("POST", "/api/2.0/mlflow/logged-models/search"),
        ("POST", "/api/2.0/mlflow/registered-models/get-latest-versions"),
        ("POST", "/api/2.0/mlflow/runs/create"),
        ("POST", "/api/2.0/mlflow/runs/delete-tag"),
        ("POST", "/api/2.0/mlflow/runs/log-batch"),
        ("POST", "/api/2.0/mlflow/runs/log-inputs"),
        ("POST", "/api/2.0/mlflow/runs/log-metric"),
        ("POST", "/api/2.0/mlflow/runs/log-model"),
        ("POST", "/api/2.0/mlflow/runs/log-parameter"),
        ("POST", "/api/2.0/mlflow/runs/outputs"),
        ("POST", "/api/2.0/mlflow/runs/search"),
        ("POST", "/api/2.0/mlflow/runs/set-tag"),
        ("POST", "/api/2.0/mlflow/runs/update"),
        ("POST", "/api/3.0/mlflow/datasets/search"),
        ("POST", "/api/3.0/mlflow/issues/search"),
        ("POST", "/api/3.0/mlflow/traces/batchGetInfos"),
        ("POST", "/api/3.0/mlflow/traces/calculate-filter-correlation"),
        ("POST", "/api/3.0/mlflow/traces/metrics"),
        ("POST", "/api/3.0/mlflow/traces/search"),
        ("POST", "/api/3.0/mlflow/ui-telemetry"),
        ("POST", "/graphql"),
    }
