"""BentoML with its adaptive batching."""

import bentoml

from loadtest.peers.network import scorer, verdicts


@bentoml.service(workers=1, traffic={"timeout": 30, "max_concurrency": 256})
class Judge:
    """Names of requests that arrive together are scored in one call."""

    def __init__(self) -> None:
        self.made = scorer()

    @bentoml.api(route="/name", batchable=True, max_batch_size=4096, max_latency_ms=1000)  # type: ignore[untyped-decorator]
    def name(self, names: list[str]) -> list[dict[str, object]]:
        return verdicts(self.made, names)
