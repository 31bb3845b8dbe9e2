"""`/session`: a cookie for the page, whose images can't send a token."""

from fastapi import APIRouter, Request, Response

from retrieval.service.guard import COOKIE

router = APIRouter(tags=["status"])


@router.post("/session", status_code=204, response_class=Response)
def session(request: Request) -> Response:
    """Keep the token of this request in a cookie, which scripts can't read."""
    answer = Response(status_code=204)
    value = request.app.state.guard.session
    answer.set_cookie(COOKIE, value, httponly=True, samesite="strict")
    return answer
