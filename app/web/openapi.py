"""The OpenAPI document: routes from FastAPI, the shapes of answers from the structs themselves."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI

from app.domain.views import Explanation, Explanations, UserView
from app.web import models
from app.web.problems import MEDIA_TYPE

_REFERENCE = "#/components/schemas/{name}"
_SHAPES = (
    UserView,
    Explanation,
    Explanations,
    models.SegmentPage,
    models.SegmentDetail,
    models.SizesAnswer,
    models.MemberPage,
    models.Status,
    models.Ready,
    models.ProblemDocument,
)
_TITLES = {
    404: "Unknown",
    422: "Not valid",
    429: "Too many requests",
    502: "A worker does not answer",
    503: "Not now",
    504: "Too slow",
}

Responses = dict[int | str, dict[str, Any]]


def answers(*shapes: type[msgspec.Struct], problems: tuple[int, ...] = (422, 429)) -> Responses:
    """`responses` of a route: 200 with one of `shapes` (none: said elsewhere), and problem
    documents with the other codes.
    """
    references = [_reference(shape) for shape in shapes]
    found: Responses = {code: problem(f"{_TITLES[code]}: a problem document") for code in problems}
    if references:
        schema = references[0] if len(references) == 1 else {"anyOf": references}
        found[200] = {"content": {"application/json": {"schema": schema}}}
    return found


def problem(description: str) -> dict[str, Any]:
    """A response that is a problem document."""
    return {"description": description, "content": {MEDIA_TYPE: {"schema": _reference(models.ProblemDocument)}}}


def _reference(shape: type[msgspec.Struct]) -> dict[str, str]:
    assert shape in _SHAPES, shape
    return {"$ref": _REFERENCE.format(name=shape.__name__)}


class Application(FastAPI):
    """FastAPI that knows the shapes of the answers."""

    def openapi(self) -> dict[str, Any]:
        """The document; made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            _, components = msgspec.json.schema_components(_SHAPES, ref_template=_REFERENCE)
            document.setdefault("components", {}).setdefault("schemas", {}).update(components)
        return super().openapi()
