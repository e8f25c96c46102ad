"""What all shapes share: `--shape-users` and `--shape-seconds` over their own defaults (options of the locustfile)."""

from locust import LoadTestShape

from loadtest.shapes.stages import Shape, at


class Staged(LoadTestShape):  # type: ignore[misc]
    """Follows the stages of `shape`; the run ends with the last one."""

    abstract = True
    shape: Shape
    most = 64  # users
    seconds = 120.0

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate now."""
        options = self.runner.environment.parsed_options
        most = getattr(options, "shape_users", 0) or self.most
        seconds = getattr(options, "shape_seconds", 0.0) or self.seconds
        return at(type(self).shape(most, seconds), self.get_run_time())
