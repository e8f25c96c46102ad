"""The store of a cluster: Elasticsearch 8.19 or 9.x. Any number of processes may write."""

import threading

from elastic_transport import TransportError
from elasticsearch import ApiError, BadRequestError

from verdicts.store import Misconfigured, Unavailable
from verdicts.store.elastic_client import OLDEST_VERSION, connect, settings_of, translated
from verdicts.store.elastic_log import LogWrites
from verdicts.store.elastic_queries import LogReads
from verdicts.store.elastic_rollup import Rollups
from verdicts.store.elastic_schema import SCHEMA_VERSION, SETS, index_body, template
from verdicts.store.elastic_state import State


class ElasticStore(LogWrites, Rollups, LogReads, State):
    """`Store` in Elasticsearch. `initialise` puts the templates and the two indices that do not rotate."""

    def __init__(self, url: str, readonly: bool = False) -> None:
        self.settings = settings_of(url)
        self.readonly = readonly
        self.client = connect(self.settings)
        self._known_indices: set[str] = set()
        self._commit_lock = threading.Lock()

    def initialise(self) -> None:
        """Put templates, indices and the generation; harmless when they are there."""
        prefix = self.settings.prefix
        sizes = (self.settings.shards, self.settings.replicas)
        with translated():
            for name in SETS:
                self.client.indices.put_index_template(name=f"{prefix}-{name}", **template(prefix, name, *sizes))
            for name in ("state", "history"):
                try:
                    self.client.indices.create(index=f"{prefix}-{name}", **index_body(prefix, name, *sizes))
                except BadRequestError as error:
                    if "resource_already_exists_exception" not in str(error):
                        raise
                    self._refresh_no_more(f"{prefix}-{name}")
            self._start_generation()

    def _refresh_no_more(self, index: str) -> None:
        """Take away the refresh of each second from an index of an older Verdict; who may not leaves it."""
        found = self.client.indices.get_settings(index=index, flat_settings=True)
        if any(body["settings"].get("index.refresh_interval") != "-1" for body in found.values()):
            allowed = self.client.options(ignore_status=403)
            allowed.indices.put_settings(index=index, settings={"refresh_interval": "-1"})

    def check(self) -> list[str]:
        """What is wrong with server, templates and indices, one sentence each."""
        problems: list[str] = []
        try:
            with translated():
                health = self.client.cluster.health()
                if health["status"] == "red":
                    problems.append("cluster health is red: some shards have no copy")
                problems += self._templates()
                problems += self._foreign_mappings()
                problems += self._read_only()
                self.epoch()
        except (Unavailable, Misconfigured) as error:
            problems.append(str(error))
        problems += self._too_old()
        return problems

    def _templates(self) -> list[str]:
        """Templates that are missing or old; silent where the key may not ask, as a reader's may not."""
        problems: list[str] = []
        for name in (f"{self.settings.prefix}-{name}" for name in SETS):
            found = self.client.options(ignore_status=[403, 404]).indices.get_index_template(name=name)
            if found.meta.status == 403:
                return []
            versions = [item["index_template"].get("version") for item in found.get("index_templates", [])]
            if not versions:
                problems.append(f"index template {name}: missing; run `verdict store init`")
            elif versions != [SCHEMA_VERSION]:
                problems.append(
                    f"index template {name}: version {versions[0]}, expected {SCHEMA_VERSION}; run `verdict store init`"
                )
        return problems

    def _foreign_mappings(self) -> list[str]:
        """Indices of ours that something else created, with a guessed mapping."""
        pattern = ",".join(f"{self.settings.prefix}-{name}*" for name in SETS)
        found = self.client.indices.get_mapping(index=pattern)
        return [
            f"index {index}: its mapping is not Verdict's; delete it or reindex it"
            for index, body in found.items()
            if "verdict" not in body["mappings"].get("_meta", {})
        ]

    def _read_only(self) -> list[str]:
        found = self.client.indices.get_settings(index=f"{self.settings.prefix}-*", flat_settings=True)
        return [
            f"index {index}: {key}; free disk space or lift the block"
            for index, body in found.items()
            for key, value in body["settings"].items()
            if key.startswith("index.blocks.") and value == "true"
        ]

    def _too_old(self) -> list[str]:
        """A note when some node is older than what is tested; silent where the key may not ask."""
        try:
            nodes = self.client.nodes.info(filter_path="nodes.*.version")["nodes"]
        except (ApiError, TransportError, KeyError):
            return []
        versions = {node["version"] for node in nodes.values()}
        return [
            f"Elasticsearch {version}: expected {OLDEST_VERSION[0]}.{OLDEST_VERSION[1]} or later"
            for version in sorted(versions)
            if tuple(map(int, version.split("-")[0].split(".")[:2])) < OLDEST_VERSION
        ]

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
