"""The OpenAPI document holds: random requests made from it get answers that it describes, and never
a 500.
"""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.members import member_key
from app.web.application import build_app
from tests.web.fakes import NOW, FakeState, deps


class WithoutRate:
    """As another worker would ask: so many requests at once are nobody's console."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["headers"] = [
                *[(name, value) for name, value in scope["headers"] if name != b"host"],
                (b"host", b"localhost"),
                (b"hyperseg-hops", b"1"),
            ]
        await self.app(scope, receive, send)


STATE = FakeState({"u42": {"engaged": NOW, member_key("interested_in", "syoga"): NOW}, "u1": {"active": NOW}})
# Never ends.
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", WithoutRate(build_app(deps(STATE)))).exclude(
    path="/api/changes"
)
OPERATIONS = {operation.ok().label: operation.ok() for operation in SCHEMA.get_all_operations()}


@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.filterwarnings("ignore")
def test_answers_are_as_the_document_says(label: str) -> None:
    @settings(
        max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(OPERATIONS[label].as_strategy())
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(
            excluded_checks=[positive_data_acceptance]
        )  # a cursor and an instant in the past are refused by their meaning

    check()


def test_every_route_was_tried() -> None:
    assert {"GET /api/users/{user_id}", "GET /api/segments/{name}/members", "GET /readyz"} <= set(OPERATIONS)
