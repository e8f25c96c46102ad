"""FastAPI with the model loaded once, under one uvicorn process."""

from fastapi import FastAPI
from pydantic import BaseModel

from loadtest.peers.network import scorer, verdicts

app = FastAPI()
made = scorer()


class Names(BaseModel):
    names: list[str]


@app.post("/name")
async def name(body: Names) -> list[dict[str, object]]:
    """A frame, or one name as a frame of one."""
    return verdicts(made, body.names)
