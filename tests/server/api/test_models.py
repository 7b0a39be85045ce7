"""What the server says it can do."""

from __future__ import annotations

import shutil

import pytest

from server.api.models import openapi_document
from server.endpoints import ENDPOINTS
from tests.server.api.conftest import T2V


@pytest.mark.parametrize("path", ["/models", "/v1/models"])
def test_every_endpoint_is_listed(client, path):
    """In the platform API's form, for whoever lists models before choosing."""
    models = client.get(path).json()["models"]

    assert list(ENDPOINTS) == [model["endpoint_id"] for model in models]
    assert {"active", "unavailable"} == {model["metadata"]["status"] for model in models}
    for model in models:
        # Of the checkpoints there is one.
        here = model["model"] == "wan2.2-t2v-a14b"
        assert ("active" if here else "unavailable") == model["metadata"]["status"]
        assert model["metadata"]["category"] in model["endpoint_id"]


def test_one_endpoint_can_be_asked_for(client):
    """`?endpoint_id=`, in any case of letters."""
    models = client.get("/models", params={"endpoint_id": T2V.upper()}).json()["models"]

    assert [T2V] == [model["endpoint_id"] for model in models]


def test_a_model_without_weights_says_how_to_get_them(client, weights_dir):
    """Before anybody submits to it."""
    shutil.rmtree(weights_dir)
    model = client.get("/models").json()["models"][0]

    assert "unavailable" == model["metadata"]["status"]
    assert "hf download" in model["problem"]


def test_the_document_of_an_endpoint(client):
    """Code generators read it at the URL that fal has it at."""
    answer = client.get("/api/openapi/queue/openapi.json", params={"endpoint_id": T2V})
    document = answer.json()

    assert "3.0.4" == document["openapi"]
    assert "http://localhost:8900" == document["servers"][0]["url"]
    assert {
        f"/{T2V}",
        "/fal-ai/wan/requests/{request_id}",
        "/fal-ai/wan/requests/{request_id}/status",
        "/fal-ai/wan/requests/{request_id}/cancel",
    } == set(document["paths"])


def test_fields_carry_their_defaults_ranges_and_texts():
    """The schema is written once, and read by validation and documentation alike."""
    document = openapi_document(ENDPOINTS[T2V], "http://h")
    schema = document["components"]["schemas"]["TextToVideoInput"]

    assert ["prompt"] == schema["required"]
    frames = schema["properties"]["num_frames"]
    assert (81, 17, 161, "integer") == tuple(
        frames[name] for name in ("default", "minimum", "maximum", "type")
    )
    assert "17 to 161" in frames["description"]
    assert ["480p", "580p", "720p"] == schema["properties"]["resolution"]["enum"]


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_a_document_is_openapi_3_0(endpoint):
    """3.0 knows no type `null`, and every reference must lead somewhere."""
    document = openapi_document(endpoint, "http://h")
    schemas = document["components"]["schemas"]

    def walk(value):
        if isinstance(value, dict):
            assert "null" != value.get("type")
            assert 1 != len(value.get("anyOf", ())), "a choice without a choice"
            assert value.get("default", 0) is not None
            if "$ref" in value:
                assert value["$ref"].rsplit("/", 1)[-1] in schemas
            for item in value.values():
                walk(item)
        if isinstance(value, list):
            for item in value:
                walk(item)

    walk(document)
    assert "integer" == schemas[endpoint.input.__name__]["properties"]["seed"]["type"]


def test_an_unknown_endpoint_has_no_document(client):
    """404, as for a submission."""
    url = "/api/openapi/queue/openapi.json"

    assert 404 == client.get(url, params={"endpoint_id": "fal-ai/flux/dev"}).status_code
    assert 404 == client.get(url).status_code
