"""Liveness, readiness and metrics."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from app.web.deps import WebDeps
from app.web.models import Ready
from app.web.openapi import answers, problem
from app.web.problems import Problem
from app.web.users import json_response


def router(deps: WebDeps) -> APIRouter:
    """The routes that machines ask."""
    ops = APIRouter(tags=["operation"])

    @ops.get("/healthz", summary="Is the process alive", responses=answers(Ready, problems=()))
    async def healthz() -> Response:
        """200 as long as the event loop runs."""
        return json_response(Ready(not deps.state.unready()))

    ready = {**answers(Ready, problems=()), 503: problem("Not ready: a problem document with `reasons`")}

    @ops.get("/readyz", summary="Is it recovered and caught up", responses=ready)
    async def readyz() -> Response:
        """200 when traffic may come; 503 with the reasons while not."""
        reasons = deps.state.unready()
        if reasons:
            raise Problem(503, "not-ready", "; ".join(reasons), {"Retry-After": "2"}, reasons=reasons)
        return json_response(Ready(True))

    @ops.get(
        "/metrics", summary="Prometheus", response_class=Response, responses={200: {"content": {"text/plain": {}}}}
    )
    async def metrics() -> Response:
        """All metrics of this process in Prometheus' text form."""
        return Response(
            generate_latest(deps.registry), headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
        )

    return ops
