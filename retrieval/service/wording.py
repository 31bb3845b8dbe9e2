"""What is wrong with a value of a request, in words for people who know nothing of Python."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute

from retrieval.service.fields import form_fields_of, nearest_name, parameters_of

WHOLE, NUMBER, TEXT, OBJECT = "a whole number", "a number", "a text", "an object"
EXPECTED = {
    "int_parsing": WHOLE,
    "int_parsing_size": "a smaller number",
    "int_from_float": WHOLE,
    "int_type": WHOLE,
    "float_parsing": NUMBER,
    "float_type": NUMBER,
    "finite_number": NUMBER,
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": TEXT,
    "string_unicode": TEXT,
    "list_type": "a list",
    "dict_type": OBJECT,
    "model_type": OBJECT,
    "model_attributes_type": OBJECT,
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "string_too_short": "characters, at least {min_length}",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "a text without control characters",
}
"""What a value should have been, by the type of pydantic's error and with what it knows."""

FORM_FILE = "a file is expected: send a form (multipart/form-data) that holds its bytes"


def sentence_of(error: Mapping[str, Any], request: Request) -> str:
    """One of pydantic's errors as a sentence: where it is, what is expected, what was found."""
    kind, loc = str(error["type"]), tuple(error["loc"])
    if kind == "json_invalid":
        return "the body is no JSON: send an object, with the header Content-Type: application/json"
    if kind == "extra_forbidden":
        return _unknown(loc, request)
    place = "the body" if loc == ("body",) or not loc else str(loc[-1])[:100]
    if kind == "missing":
        return _missing(place, loc, request)
    if "UploadFile" in str(error.get("msg", "")):
        return f"{place}: {FORM_FILE}"
    expected = EXPECTED.get(kind, "another value").format_map(error.get("ctx") or {})
    return f"{place}: {expected} is expected{_found(error.get('input'))}"


def _unknown(loc: tuple[Any, ...], request: Request) -> str:
    name, route = str(loc[-1])[:100], request.scope.get("route")
    told = f"unknown field '{name}'"
    if not isinstance(route, APIRoute):
        return told
    known = parameters_of(route) if loc[0] == "query" else form_fields_of(route)
    if known == ("id",) and name in ("title", "image"):
        return f"{told}: {_takes_id(request)}"
    near = nearest_name(name, known)
    if near is not None:
        return f"{told}: did you mean '{near}'?"
    return f"{told}: there {'are' if len(known) > 1 else 'is'} {', '.join(known) or 'none'}"


def _missing(place: str, loc: tuple[Any, ...], request: Request) -> str:
    if loc == ("query", "id"):
        return f"id is missing: {_takes_id(request)}"
    if loc == ("body",):
        return "the body is missing: send a JSON object"
    return f"{place}: it is missing, and needed"


def _takes_id(request: Request) -> str:
    return f"GET {request.url.path} takes an id; POST a title or an image"


def _found(value: object) -> str:
    if isinstance(value, str):
        return f": found '{value[:100]}'"
    return f": found {value}" if isinstance(value, int | float) else ""
