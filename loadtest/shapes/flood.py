"""Locust shape: flood. Use it as a second file: `locust -f loadtest/locustfile.py,loadtest/shapes/flood.py ...`."""

from locust import LoadTestShape

from loadtest.shapes import stages


class Flood(LoadTestShape):  # type: ignore[misc]
    """The stages of `stages.flood()`."""

    stages = stages.flood()

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate now."""
        return stages.at(self.stages, self.get_run_time())
