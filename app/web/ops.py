"""Liveness, readiness and metrics."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from app.web import models
from app.web.deps import WebDeps
from app.web.problems import MEDIA_TYPE, Problem
from app.web.users import json_response


def router(deps: WebDeps) -> APIRouter:
    """The routes that machines ask."""
    ops = APIRouter(tags=["operation"])

    @ops.get("/healthz", summary="Is the process alive", responses={200: {"model": models.Ready}})
    async def healthz() -> Response:
        """200 as long as the event loop runs."""
        return json_response({"ready": not deps.state.unready()})

    not_ready = {
        "model": models.ProblemDocument,
        "content": {MEDIA_TYPE: {}},
        "description": "Not ready: a problem document with `reasons`",
    }

    @ops.get("/readyz", summary="Is it recovered and caught up", responses={200: {"model": models.Ready}, 503: not_ready})
    async def readyz() -> Response:
        """200 when traffic may come; 503 with the reasons while not."""
        reasons = deps.state.unready()
        if reasons:
            raise Problem(503, "not-ready", "; ".join(reasons), {"Retry-After": "2"}, reasons=reasons)
        return json_response({"ready": True})

    @ops.get("/metrics", summary="Prometheus", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """All metrics of this process in Prometheus' text form."""
        return Response(generate_latest(deps.registry), headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})

    return ops
