"""`/session`: a cookie for the page, whose images can't send a token."""

from fastapi import APIRouter, Request, Response

from retrieval.service.guard import COOKIE

router = APIRouter(tags=["status"])


@router.post("/session", status_code=204, response_class=Response)
def session(request: Request) -> Response:
    """Keep the token of this request in a cookie, which scripts can't read.

    Where the page came encrypted, through a proxy, the cookie goes no other way.
    """
    answer = Response(status_code=204)
    value = request.app.state.guard.session
    is_encrypted = request.headers.get("origin", "").lower().startswith("https://")
    answer.set_cookie(COOKIE, value, httponly=True, samesite="strict", secure=is_encrypted)
    return answer
