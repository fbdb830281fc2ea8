"""The description is one that OpenAPI's own tools accept, and names every model."""

import json
import re

from pydantic import BaseModel

from serving.http.endpoint import Endpoint
from serving.http.openapi import openapi
from serving.http.schema import RecommendBody, Recommended


async def recommend(body: RecommendBody, request_id: str) -> BaseModel:
    """The best items."""


def test_every_reference_leads_somewhere():
    text = openapi([Endpoint("POST", "/x", Recommended, recommend, RecommendBody, {"history": []})])
    description = json.loads(text)
    assert description["paths"]["/x"]["post"]["summary"] == "The best items."
    names = set(re.findall(r'"#/components/schemas/(\w+)"', text.decode()))
    assert {"Recommended", "RecommendRequest", "Failure"} <= names <= set(description["components"]["schemas"])
