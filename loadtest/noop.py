"""The no-op graph: the same hops with the same sizes, and nothing done. What is left is what Ray Serve costs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deployments.preprocessor import BY_VALUE

REPLY_OCTETS = 130  # of a verdict in JSON
deployed = serve.deployment


class NoClassifier:
    """Takes rows, gives as many scores."""

    async def predict(self, rows: NDArray[np.uint8], encoding: str, deadline: float) -> NDArray[np.float32]:
        return np.zeros((len(rows), 2), np.float32)


class NoPreprocessor:
    """Takes names, passes rows of the width asked for."""

    def __init__(self, classifier: Any, width: int) -> None:
        self._classifier = classifier.options(**BY_VALUE)
        self._width = width

    async def judge(self, names: bytes, deadline: float) -> NDArray[np.float32]:
        rows = np.zeros((names.count(b",") + 1, self._width), np.uint8)
        scores: NDArray[np.float32] = await self._classifier.predict.remote(rows, "", deadline)
        return scores


@serve.ingress()
class NoIngress:
    """Takes a body, gives a reply as long as a frame's."""

    def __init__(self, preprocessor: Any) -> None:
        self._preprocessor = preprocessor.options(**BY_VALUE)

    def __serve_build_asgi_app__(self) -> Starlette:
        return Starlette(routes=[Route("/v1/verdicts", self.verdicts, methods=["POST"])])

    async def verdicts(self, request: Request) -> Response:
        scores = await self._preprocessor.judge.remote(await request.body(), 0.0)
        return Response(b" " * (REPLY_OCTETS * len(scores)), media_type="application/json")


def build(args: dict[str, Any]) -> serve.Application:
    """`args`: `width`, octets of a row."""
    return deployed(NoIngress).bind(deployed(NoPreprocessor).bind(deployed(NoClassifier).bind(), args["width"]))
