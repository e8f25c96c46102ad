"""Locust shape: ramp. Use it as a second file: `locust -f loadtest/locustfile.py,loadtest/shapes/ramp.py ...`."""

from locust import LoadTestShape

from loadtest.shapes import stages


class Ramp(LoadTestShape):  # type: ignore[misc]
    """The stages of `stages.ramp()`."""

    stages = stages.ramp()

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate now."""
        return stages.at(self.stages, self.get_run_time())
