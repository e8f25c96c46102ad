"""The application: `serve_app.app:build`, whose `args:` are `Settings`."""

from functools import partial
from typing import Any

from ray import serve

from deployments.classifier import Classifier, Options
from deployments.preprocessor import Preprocessor
from deployments.verdict_log import VerdictLog
from serve_app.ingress import Ingress
from serve_app.settings import Settings, settings_of

# Options stand in the YAML, so that they can change without a change of code; but no queue is ever without end.
deployed = partial(serve.deployment, max_queued_requests=256)


def build(args: dict[str, Any]) -> serve.Application:
    """The whole graph. Raises `BadSettings`."""
    settings = settings_of(args)
    return deployed(Ingress).bind(
        settings,
        deployed(Preprocessor).bind(deployed(Classifier).bind(classifier_options(settings))),
        deployed(VerdictLog).bind(
            settings.store_url,
            settings.spool_dir,
            settings.spool_bytes,
            settings.client_privacy,
            settings.client_key_file,
            settings.retention_days,
            settings.alerts_file,
        ),
    )


def classifier_options(settings: Settings) -> Options:
    """What a classifier replica is told."""
    return Options(*(getattr(settings, field) for field in Options._fields))
