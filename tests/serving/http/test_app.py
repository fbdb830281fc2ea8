"""Every path answers, over a socket, and the description has an example of each."""

import pytest


@pytest.fixture(scope="module")
def description(client):
    return client.get("/openapi.json").json()


def test_the_examples_of_the_description_are_answered(client, description):
    asked = 0
    for path, methods in description["paths"].items():
        for method, described in methods.items():
            body = described.get("requestBody")
            example = body["content"]["application/json"]["example"] if body else None
            response = client.request(method, path, json=example)
            assert response.status_code == 200, (path, response.text)
            asked += 1
    assert asked >= 9
    client.put("/v1/mask", json={"item_ids": []})


def test_every_path_is_described(client, description):
    served = {route.path for route in client.app.routes} if hasattr(client, "app") else set(description["paths"])
    assert {"/v1/recommend", "/v1/similar", "/v1/search", "/v1/explain", "/invocations", "/health/ready"} <= served
    assert all(described["summary"] for methods in description["paths"].values() for described in methods.values())


def test_health_names_the_version(client, retriever):
    assert client.get("/health/live").json() == {"status": "live"}
    ready = client.get("/health/ready").json()
    assert (ready["bundle_id"], ready["refused"], ready["registry"]) == (retriever.bundle_id, None, None)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/recommend", 405), ("POST", "/nothing", 404)])
def test_unknown_paths_and_methods_are_one_line(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    assert set(response.json()) == {"error", "request_id"}


def test_no_other_page_may_ask(client):
    asked = client.options(
        "/v1/recommend", headers={"Origin": "https://x.test", "Access-Control-Request-Method": "POST"}
    )
    assert asked.status_code == 405
    assert not any(header.startswith("access-control") for header in asked.headers)
