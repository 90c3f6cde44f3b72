"""`GET /`: where to go from here, for somebody who opened the address in a browser or with curl."""

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

router = APIRouter()

HINT = """agon: a self-hosted arena for language models.

  GET  /v1/models             the models that answer now
  POST /v1/chat/completions   OpenAI's chat API; base_url of any OpenAI client is this address + /v1
  POST /arena/battles         a blind battle between two models
  GET  /arena/leaderboard     the board
  GET  /openapi.json          all of it, for machines
  GET  /readyz                what is there and what is missing

curl -N {base}/v1/chat/completions -H 'content-type: application/json' \\
  -d '{{"model": "MODEL", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'
"""


@router.get("/", include_in_schema=False)
async def front(request: Request) -> PlainTextResponse:
    """A hint in plain text."""
    return PlainTextResponse(HINT.format(base=str(request.base_url).rstrip("/")))
