"""The service's description in OpenAPI, made of the models of its paths."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import JsonValue, TypeAdapter
from pydantic_core import to_json

from .endpoint import Endpoint
from .schema import Failure

Json = dict[str, JsonValue]
REFUSALS = {
    "400": "it cannot be answered", "401": "no key", "403": "only for this machine", "413": "too large",
    "415": "no application/json", "422": "a body of the wrong form", "503": "too busy: again after Retry-After seconds",
}  # fmt: skip


def openapi(endpoints: Sequence[Endpoint]) -> bytes:
    """The description of some paths, as JSON."""
    models: list[tuple[str, Literal["validation", "serialization"], TypeAdapter[Any]]] = [
        ("failure", "serialization", TypeAdapter(Failure))
    ]
    for endpoint in endpoints:
        models.append((_key(endpoint), "serialization", TypeAdapter(endpoint.answers)))
        if endpoint.takes is not None:
            models.append((_key(endpoint), "validation", endpoint.form))
    schemas, definitions = TypeAdapter.json_schemas(models, ref_template="#/components/schemas/{model}")
    failure = _json(schemas["failure", "serialization"])
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        described: Json = {
            "summary": " ".join((endpoint.answer.__doc__ or "").split()),
            "operationId": endpoint.answer.__name__,
            "responses": {
                "200": {"description": "the answer", "content": _json(schemas[_key(endpoint), "serialization"])},
                **{status: {"description": why, "content": failure} for status, why in REFUSALS.items()},
            },
        }
        if endpoint.takes is not None:
            body = _json(schemas[_key(endpoint), "validation"], example=endpoint.example)
            described["requestBody"] = {"required": True, "content": body}
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = described
    return to_json({
        "openapi": "3.1.0",
        "info": {"title": "recsys", "version": "1", "description": "Recommendations by a bundle."},
        "paths": paths,
        "components": {"schemas": definitions["$defs"]},
    })  # fmt: skip


def _key(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def _json(schema: JsonValue, **more: JsonValue) -> Json:
    return {"application/json": {"schema": schema, **more}}
