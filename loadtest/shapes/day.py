"""Locust shape: day. Use it as a second file: `locust -f loadtest/locustfile.py,loadtest/shapes/day.py ...`."""

from locust import LoadTestShape

from loadtest.shapes import stages


class Day(LoadTestShape):  # type: ignore[misc]
    """The stages of `stages.day()`."""

    stages = stages.day()

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate now."""
        return stages.at(self.stages, self.get_run_time())
