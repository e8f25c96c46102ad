"""Locust shape: steps. Use it as a second file: `locust -f loadtest/locustfile.py,loadtest/shapes/steps.py ...`."""

from locust import LoadTestShape

from loadtest.shapes import stages


class Steps(LoadTestShape):  # type: ignore[misc]
    """The stages of `stages.steps()`."""

    stages = stages.steps()

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate now."""
        return stages.at(self.stages, self.get_run_time())
