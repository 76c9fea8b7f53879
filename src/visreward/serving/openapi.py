"""What /openapi.json says of bodies that the routes read by themselves."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from visreward.serving.schemas import ErrorResponse

_PLACE: Final = "#/components/schemas/{model}"
_TYPES: Final = ("application/json", "application/msgpack", "multipart/form-data")
_JSON_ONLY: Final = _TYPES[:1]
_SCHEMAS: Final[set[type[BaseModel]]] = set()


def documented(
    returns: type[BaseModel], *, takes: type[BaseModel] | None = None, is_json: bool = False
) -> dict[str, Any]:  # keyword arguments of a route
    """Return what describes a route.

    Args:
        returns: Schema of a successful response.
        takes: Schema of the body, or None where there is none.
        is_json: Whether the body may be JSON only.
    """
    responses = {
        200: {"model": returns},
        "4XX": {"model": ErrorResponse, "description": "The request cannot be answered."},
        "5XX": {"model": ErrorResponse, "description": "Try again where `is_retryable` is true."},
    }
    if takes is None:
        return {"responses": responses}
    place = {"schema": {"$ref": _PLACE.format(model=takes.__name__)}}
    content = dict.fromkeys(_JSON_ONLY if is_json else _TYPES, place)
    body = {"required": True, "content": content}
    _SCHEMAS.add(takes)
    return {"responses": responses, "openapi_extra": {"requestBody": body}}


def describe_bodies(app: FastAPI) -> None:
    """Add the schemas of all bodies to what the application says of itself."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:  # JSON values
        document = plain()
        schemas = sorted(_SCHEMAS, key=lambda schema: schema.__name__)
        _, found = models_json_schema(
            [(schema, "validation") for schema in schemas], ref_template=_PLACE
        )
        document["components"]["schemas"].update(found["$defs"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]
