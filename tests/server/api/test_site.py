"""The pages about the server, and the one document of everything it answers."""

from __future__ import annotations

import pytest

from server.endpoints import ENDPOINTS


def references(value):
    """Every `$ref` in a document."""
    if isinstance(value, dict):
        found = [value["$ref"]] if "$ref" in value else []
        return found + [ref for item in value.values() for ref in references(item)]
    if isinstance(value, list):
        return [ref for item in value for ref in references(item)]
    return []


def test_the_document_holds_every_endpoint_and_page(client):
    """A code generator, or a person, finds everything in the usual place."""
    document = client.get("/openapi.json").json()

    assert "3.0.4" == document["openapi"]
    assert {f"/queue/{id}" for id in ENDPOINTS} < set(document["paths"])
    assert {"/models", "/health", "/slots"} < set(document["paths"])


def test_every_reference_of_the_document_leads_somewhere(client):
    """Two documents are made into one; a schema of either may get lost on the way."""
    document = client.get("/openapi.json").json()
    found = references(document)

    assert found
    for reference in found:
        assert reference.rsplit("/", 1)[-1] in document["components"]["schemas"]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect", "/nothing"])
def test_no_page_needs_another_machine(client, path):
    """FastAPI's documentation pages load scripts from a CDN: blank behind a studio's firewall."""
    answer = client.get(path)

    assert 404 == answer.status_code
    assert {"detail": f"Path {path} not found"} == answer.json()


def test_a_page_is_read_and_not_written(client):
    """405 in our own words, from FastAPI's routes as from the others."""
    answer = client.post("/models")

    assert 405 == answer.status_code
    assert "detail" in answer.json()


def test_health_answers_head(client):
    """Some load balancers ask for the headers only."""
    answer = client.head("/health")

    assert 200 == answer.status_code
    assert b"" == answer.content
