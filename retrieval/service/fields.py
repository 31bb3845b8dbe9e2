"""The fields that a route takes: one that it does not know is refused, not passed over."""

from collections.abc import Sequence
from difflib import get_close_matches

from fastapi import HTTPException, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class Body(BaseModel):
    """What a client sends, of whatever type: fields that are not known are refused."""

    model_config = ConfigDict(extra="forbid")


async def refuse_unknown(request: Request) -> None:
    """Raise where a request has a parameter that its route does not take, or no form for a form.

    Raises:
        RequestValidationError: an unknown parameter.
        HTTPException: 415, a body that is no form.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if _takes_form(route) and given and given not in FORMS:
        raise HTTPException(415, f"send a form (multipart/form-data): found {given[:100]}")
    known = parameters_of(route) if request.query_params else ()
    for name in request.query_params:
        if name not in known:
            raise RequestValidationError([{"type": "extra_forbidden", "loc": ("query", name)}])


def parameters_of(route: APIRoute) -> tuple[str, ...]:
    """The names of a route's parameters in the address."""
    return tuple(field.alias for field in get_flat_params(route.dependant))


def form_fields_of(route: APIRoute) -> tuple[str, ...]:
    """The names of what the body of a route holds."""
    model = None if route.body_field is None else route.body_field.field_info.annotation
    return tuple(getattr(model, "model_fields", ()))


def nearest_name(name: str, known: Sequence[str]) -> str | None:
    """The known name that is spelt most like another, None where none is."""
    return next(iter(get_close_matches(name.lower(), known, 1)), None)


def _takes_form(route: APIRoute) -> bool:
    return route.body_field is not None and isinstance(route.body_field.field_info, Form)
