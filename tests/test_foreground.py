"""`verdict serve`: all that can be wrong with a configuration and its surroundings is said before Ray starts."""

import configparser
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from serve_app.cluster import DRAIN_S, LEAST_FILES, SESSIONS, forget_sessions, reason, start
from serve_app.commands import serve
from serve_app.configuration import SERVE_YAML, check_values, configuration, ingress_requests
from serve_app.environment import MAX_DIRECTORY, MAX_REQUESTS, apart
from serve_app.foreground import (
    SIGNALS,
    Refused,
    _let_end,
    _listen,
    _raise_stop,
    _Stop,
    alone,
    check_host,
    check_tls,
    checked,
    unbroken,
    wanted,
    without_token,
)
from serve_app.local import ports
from serve_app.patience import TooBusy
from serve_app.settings import BadSettings
from tests.readme import ROOT, blocks
from verdicts.locks import held
from verdicts.store import open_store
from verdicts.tokens import issue


def written(folder: Path, **http_options: Any) -> Path:
    """serve.yaml with these `http_options`, and none of its own."""
    found = yaml.safe_load(SERVE_YAML.read_text())
    found["http_options"] = http_options
    (folder / "serve.yaml").write_text(yaml.safe_dump(found))
    return folder / "serve.yaml"


def test_a_configuration_that_names_no_host_is_served_on_loopback(tmp_path: Path) -> None:
    """Serve's own default is every interface."""
    assert configuration(path=written(tmp_path, request_timeout_s=35))["http_options"]["host"] == "127.0.0.1"


def test_a_store_without_a_token_is_told_with_the_way_to_the_first(tmp_path: Path) -> None:
    """It served, and refused everybody without a word to whoever had started it."""
    url = f"sqlite://{tmp_path}/verdict.db"
    with closing(open_store(url)) as store:
        store.initialise()
        assert f"verdict tokens --store {url} issue --role admin" in without_token(url)
        store.commit([issue("admin", "alice", 1).document], "test")
    assert without_token(url) == ""


def test_a_store_that_is_away_is_not_waited_for_to_tell_of_its_tokens(tmp_path: Path) -> None:
    assert without_token(f"sqlite://{tmp_path}/none.db") == without_token("http://192.0.2.1:9200") == ""


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_bytes(b"\xe7\x00")
    with pytest.raises(Refused, match=f"{file}: .*can't decode"):
        checked(file, None)


@pytest.mark.parametrize(
    "deployment, http_options, said",
    [
        ({"num_replicas": "two"}, {}, "deployments.0: Value error, `num_replicas` must be an int"),
        ({"max_ongoing_requests": 0}, {}, "max_ongoing_requests: Input should be greater than 0"),
        ({}, {"port": "eighty"}, "http_options.port: Input should be a valid integer"),
    ],
)
def test_a_value_that_serve_does_not_take_is_named(
    deployment: dict[str, Any], http_options: dict[str, Any], said: str
) -> None:
    found = configuration()
    found["applications"][0]["deployments"][0].update(deployment)
    found["http_options"].update(http_options)
    with pytest.raises(BadSettings) as caught:
        check_values(found)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "more, said",
    [
        ({"num_replicas": 2}, "num_replicas 2: expected 1, for sqlite:///var/lib/verdict/verdict.db has one writer"),
        ({"num_replicas": "auto"}, "num_replicas 'auto': expected 1"),
        ({"autoscaling_config": {"min_replicas": 1, "max_replicas": 3}}, "max_replicas 3: expected 1"),
    ],
)
def test_several_writers_of_an_sqlite_store_are_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    found = yaml.safe_load(SERVE_YAML.read_text())
    log = found["applications"][0]["deployments"][-1]
    del log["num_replicas"]
    log.update(more)
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(found))
    with pytest.raises(BadSettings, match=f"VerdictLog: {said}"):
        configuration(path=tmp_path / "serve.yaml")
    configuration({"store_url": "http://127.0.0.1:9200"}, path=tmp_path / "serve.yaml")


def test_a_gpu_for_a_classifier_that_computes_on_a_cpu_is_refused(tmp_path: Path) -> None:
    found = yaml.safe_load(SERVE_YAML.read_text())
    classifier = next(one for one in found["applications"][0]["deployments"] if one["name"] == "Classifier")
    classifier["ray_actor_options"]["num_gpus"] = 0.5
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(found))
    with pytest.raises(BadSettings, match="deployment Classifier: num_gpus 0.5: expected 0, for device is 'cpu'"):
        configuration({"device": "cpu"}, path=tmp_path / "serve.yaml")
    configuration({"device": "auto"}, path=tmp_path / "serve.yaml")


def test_deployments_that_are_no_list_are_named() -> None:
    found = configuration()
    found["applications"][0]["deployments"] = None  # a key with nothing behind it
    assert ingress_requests(found) == MAX_REQUESTS
    with pytest.raises(BadSettings, match="deployments: Input should be a valid list"):
        check_values(found)


def test_the_yaml_that_is_shipped_is_taken() -> None:
    check_values(configuration())


@pytest.mark.parametrize(
    "policy, said",
    [
        ({"policy_kwargs": {"target_names": 0}}, "policy_kwargs: target_names 0: expected a whole number, 1 or more"),
        ({"policy_kwargs": {"target_names": -5}}, "target_names -5: expected"),
        ({"policy_kwargs": {"target_names": "abc"}}, "target_names 'abc': expected"),
        ({"policy_kwargs": {"target_names": 2.5}}, "target_names 2.5: expected"),
        (
            {"policy_kwargs": {"target_nmes": 5}},
            "policy_kwargs: unknown key 'target_nmes'; expected some of target_names",
        ),
        ({"policy_kwargs": 5}, "policy_kwargs: 5: expected keys"),
        ({"policy_kwrgs": {}}, "policy: unknown key 'policy_kwrgs'"),
    ],
)
def test_a_wrong_value_for_our_scaling_is_named(tmp_path: Path, policy: dict[str, Any], said: str) -> None:
    found = yaml.safe_load(SERVE_YAML.read_text())
    scaling = found["applications"][0]["deployments"][2]["autoscaling_config"]
    scaling["policy"] = {"policy_function": "deployments.scaling:NamesInFlight", **policy}
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(found))
    with pytest.raises(BadSettings) as caught:
        configuration(path=tmp_path / "serve.yaml")
    assert "deployment Preprocessor, policy" in str(caught.value) and said in str(caught.value)


def test_a_policy_of_somebody_else_has_its_own_keys(tmp_path: Path) -> None:
    found = yaml.safe_load(SERVE_YAML.read_text())
    policy = {"policy_function": "theirs:Policy", "policy_kwargs": {"slope": 0}}
    found["applications"][0]["deployments"][2]["autoscaling_config"]["policy"] = policy
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(found))
    configuration(path=tmp_path / "serve.yaml")


def test_a_queue_without_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(SERVE_YAML.read_text().replace("max_queued_requests: 256", "max_queued_requests: -1", 1))
    with pytest.raises(BadSettings, match="deployment Ingress: max_queued_requests -1: expected a limit"):
        configuration(path=file)


@pytest.mark.parametrize(
    "host, port, said",
    [("127.0.0.1", 70_000, "1 to 65535"), ("127.0.0.1", 0, "1 to 65535"), ("192.0.2.1", 80, "for the cluster")],
)
def test_a_port_or_host_that_cannot_be_is_named(host: str, port: int, said: str) -> None:
    with pytest.raises(ports.PortBusy, match=f"port {port} on {host}.*{said}.*--port"):
        ports.check(wanted({"host": host, "port": port}, 0))


def test_the_host_that_haproxy_takes_for_another_is_refused() -> None:
    """It listened for IPv4 alone."""
    with pytest.raises(BadSettings, match="host '::': expected one address of this machine, or 0.0.0.0"):
        check_host({"host": "::"})
    for options in ({"host": "::", "ssl_certfile": "cert.pem"}, {"host": "::1"}, {"host": "0.0.0.0"}):
        check_host(options)


def test_haproxy_is_started_with_what_the_settings_let_in(monkeypatch: pytest.MonkeyPatch, short: Path) -> None:
    told: dict[str, Any] = {}

    def apart(folder: Path, first: int, **options: Any) -> None:
        told.update(options)
        raise _Stop

    monkeypatch.setattr("serve_app.foreground.apart", apart)
    found = configuration({"max_report_bytes": 32 << 20})
    found["http_options"]["request_timeout_s"] = 120
    with pytest.raises(_Stop), alone(found, short, 0):
        pass
    assert (told["max_requests"], told["max_body"], told["max_wait_s"]) == (MAX_REQUESTS, 32 << 20, 121)


def test_a_folder_is_for_one_cluster_at_a_time(short: Path) -> None:
    with held(short / "lock", AssertionError()), pytest.raises(Refused, match=f"runs from {short}.*--run"):
        with alone({"http_options": {}, "applications": []}, short, 0):
            pass


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    """`http_options` of a server with a certificate."""
    server = trustme.CA().issue_cert("localhost")
    server.private_key_pem.write_to_path(tmp_path / "key.pem")
    server.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    return {"ssl_certfile": str(tmp_path / "cert.pem"), "ssl_keyfile": str(tmp_path / "key.pem")}


def test_the_oldest_sessions_of_ray_are_removed(tmp_path: Path) -> None:
    names = [f"session_2026-11-{day:02}_00-00-00_1_2" for day in range(1, SESSIONS + 4)]
    for name in names:
        (tmp_path / name / "logs").mkdir(parents=True)
    (tmp_path / "session_latest").symlink_to(names[-1])
    forget_sessions(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names[3:], "session_latest"]


def test_the_oldest_folders_of_haproxy_are_removed(tmp_path: Path) -> None:
    """Each start left one, of 60 KiB."""
    nodes = [tmp_path / f"{number:056x}" for number in range(SESSIONS + 3)]
    for number, node in enumerate(reversed(nodes)):
        node.mkdir()
        (node / "guard.log").touch()
        os.utime(node, (number, number))
    (tmp_path / "r").mkdir()
    forget_sessions(tmp_path / "r")
    assert sorted(tmp_path.iterdir()) == [*nodes[:SESSIONS], tmp_path / "r"]


def test_a_cluster_of_its_own_is_one_whatever_cluster_the_callers_shell_names(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr("serve_app.cluster.set_variables", lambda ingress: None)
    monkeypatch.setattr("serve_app.patience.be_patient", lambda: None)
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("ray.init", lambda **options: asked.append(options))
    start(apart(short, 20_000))
    assert [options["address"] for options in asked] == ["local"]


def test_a_certificate_and_its_key_are_taken(tls: dict[str, Any]) -> None:
    check_tls(tls)


def test_a_file_of_tls_that_cannot_be_read_is_named(tls: dict[str, Any]) -> None:
    with pytest.raises(BadSettings, match="ssl_keyfile '/no/such.key': expected a file"):
        check_tls({**tls, "ssl_keyfile": "/no/such.key"})


@pytest.mark.parametrize("key", ["ssl_keyfile", "ssl_ca_certs"])
def test_a_file_of_tls_that_does_not_fit_is_named(tls: dict[str, Any], tmp_path: Path, key: str) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(other)
    with pytest.raises(BadSettings, match=f"{key} '{other}'.*expected a certificate, its key"):
        check_tls({**tls, key: str(other)})


def state_in(folder: Path, **more: Any) -> Path:
    """A configuration whose state is in this folder, on a port of its own."""
    state = {
        "store_url": f"sqlite://{folder}/verdict.db",
        "registry": f"{folder}/m",
        "spool_dir": f"{folder}/s",
        **more,
    }
    (folder / "serve.yaml").write_text(yaml.safe_dump(configuration(state, ports.free_port())))
    return folder / "serve.yaml"


def test_what_a_setting_names_and_is_not_there_stops_it_before_ray_starts(short: Path, tmp_path: Path) -> None:
    file = state_in(tmp_path, alerts_file="/no/alerts")
    done = subprocess.run(
        [sys.executable, "-m", "serve_app.cli", "serve", str(file), "--run", str(short)],
        env=os.environ | {"RAY_ADDRESS": ""}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"Error: {file}: args: alerts_file /no/alerts: No such file or directory, {URLS}\n"
    assert not (short / "r").exists()


URLS = "expected a file with a URL a line"
TRACE = """The deployment failed to start 3 times in a row. See controller logs for details. Error:
ray::ServeReplica:verdict:VerdictLog.initialize_and_get_metadata() (pid=13763, ip=127.0.0.1)
  File "serve/_private/replica.py", line 1928, in initialize
    raise RuntimeError(traceback.format_exc()) from None
RuntimeError: Traceback (most recent call last):
  File "verdicts/sinks.py", line 81, in read_sinks
    raise ValueError(f"alerts_file {path}: {error}") from None
ValueError: alerts_file /no/alerts: No such file,
expected one"""


def test_a_replica_that_does_not_start_is_told_in_one_line_without_a_trace() -> None:
    deployments = {"VerdictLog": ("DEPLOY_FAILED", TRACE), "Ingress": ("HEALTHY", ""), "Classifier": ("UPDATING", "?")}
    found = told("DEPLOY_FAILED", "Failed to update the deployments ['VerdictLog'].", **deployments)
    assert reason(found, "?") == "VerdictLog: ValueError: alerts_file /no/alerts: No such file, expected one"


def test_an_application_that_fails_by_itself_or_not_at_all_is_told_too() -> None:
    said = "verdict: Importing 'serve_app.app:biuld' failed: no such thing"
    assert reason(told("DEPLOY_FAILED", "Importing 'serve_app.app:biuld' failed:\n\nno such thing"), "?") == said
    slow = told("DEPLOYING", "", Classifier=("UPDATING", "1 replica waits\nfor a GPU."), Ingress=("HEALTHY", ""))
    assert reason(slow, "?") == "Classifier: 1 replica waits for a GPU."
    assert reason(told("DEPLOYING", ""), "no application within 3 s") == "no application within 3 s"


def told(state: str, message: str, **deployments: tuple[str, str]) -> dict[str, Any]:
    """What Serve tells of one application whose deployments are in a state and say something."""
    from ray.serve import schema

    found = {
        name: schema.DeploymentStatusOverview(schema.DeploymentStatus(its), "UNSPECIFIED", {}, said)  # type: ignore[arg-type]
        for name, (its, said) in deployments.items()
    }
    return {"verdict": schema.ApplicationStatusOverview(schema.ApplicationStatus(state), message, 0.0, found)}


def test_a_busy_port_stops_it_before_ray_starts(short: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "serve_app.cli", "serve", "--port", str(port), "--run", str(short)],
            env=os.environ | {"RAY_ADDRESS": ""}, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
    assert done.returncode == 1 and f"port {port} on 127.0.0.1" in done.stderr and "Traceback" not in done.stderr
    assert not (short / "r").exists()


LISTENS = "import socket, sys, time; s = socket.create_server(('127.0.0.1', 0)); "
LISTENS += "print(s.getsockname()[1], flush=True); time.sleep(60)"


def test_the_haproxy_of_one_that_was_killed_makes_room_for_the_next(short: Path, tmp_path: Path) -> None:
    left = subprocess.Popen(
        [sys.executable, "-c", LISTENS, "-f", str(short / "haproxy.cfg")], stdout=subprocess.PIPE, text=True
    )
    with left:
        try:
            assert left.stdout is not None
            port, file = left.stdout.readline().strip(), state_in(tmp_path, alerts_file="/no/alerts")
            done = subprocess.run(
                [sys.executable, "-m", "serve_app.cli", "serve", str(file), "--port", port, "--run", str(short)],
                env=os.environ | {"RAY_ADDRESS": ""}, capture_output=True, text=True, timeout=240,
            )  # fmt: skip
            assert "alerts_file /no/alerts" in done.stderr and f"port {port}" not in done.stderr
            assert left.wait(10) != 0
        finally:
            left.kill()


def test_too_few_open_files_stop_it_before_ray_starts(short: Path, tmp_path: Path) -> None:
    serve = f"ulimit -n 1024; exec {sys.executable} -m serve_app.cli serve {state_in(tmp_path)} --run {short}"
    done = subprocess.run(
        ["bash", "-c", serve], env=os.environ | {"RAY_ADDRESS": ""}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 1 and "open files: 1024 at most, expected 10500" in done.stderr
    assert "Traceback" not in done.stderr and not (short / "r").exists()


@pytest.fixture
def signals() -> Iterator[None]:
    """Those of `verdict serve`; the handlers of before come back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # however these tests were started
    _listen(_raise_stop)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_ray_works_ends_it_afterwards(signals: None, number: signal.Signals) -> None:
    done = []
    with pytest.raises(_Stop):
        with unbroken():
            signal.raise_signal(number)
            done.append("what Ray was at")
        done.append("what comes next")
    assert done == ["what Ray was at"]
    with pytest.raises(_Stop):  # and it is heard at once where nothing of Ray's is at work
        signal.raise_signal(number)
    with pytest.raises(_Stop), unbroken():  # `verdict serve` began anew where Ray was too slow, and heard it no more
        signal.raise_signal(number)
        raise TooBusy


def test_a_signal_while_ray_works_is_heard_between_two_steps_and_a_second_one_at_once(signals: None) -> None:
    with pytest.raises(_Stop):
        with unbroken() as go_on:
            go_on()
            signal.raise_signal(signal.SIGINT)
            go_on()
            pytest.fail("went on")
    with pytest.raises(_Stop):
        with unbroken():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("went on")


def test_a_signal_that_waited_goes_to_the_handler_of_before(signals: None) -> None:
    """A benchmark's, which was interrupted in the middle of Ray: an agent of Ray's was left for a minute."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    done = []
    with pytest.raises(KeyboardInterrupt), unbroken():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        done.append("what Ray was at")
    assert done == ["what Ray was at"]
    with ThreadPoolExecutor(1) as thread:  # which hears no signals
        thread.submit(lambda: unbroken().__enter__()()).result()


FOREGROUND = """
import sys, time
from contextlib import contextmanager
from pathlib import Path
from serve_app import foreground

@contextmanager
def alone(*given):
    try:
        yield
    finally:
        foreground._listen(foreground._let_end)
        time.sleep(0.5)
        Path(sys.argv[1]).write_text("drained")

foreground.alone, foreground.deploy = alone, lambda *given, **more: None
foreground.serve_until_stopped(None, None, Path("unused"))
"""


def test_a_terminal_that_is_closed_ends_it_with_its_drain(tmp_path: Path) -> None:
    terminal, end = pty.openpty()

    def begin_there() -> None:
        """As the first process of a terminal's session."""
        os.open(os.ttyname(end), os.O_RDWR)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # however these tests were started

    process = subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, str(tmp_path / "done")], stdin=end, stdout=end, stderr=end,
        env=os.environ | {"RAY_ADDRESS": ""}, start_new_session=True, preexec_fn=begin_there,
    )  # fmt: skip
    os.close(end)
    said = b""
    while b"Ctrl-C stops it" not in said:
        said += os.read(terminal, 4096)
    os.close(terminal)
    assert process.wait(60) == 0 and (tmp_path / "done").read_text() == "drained"


def test_one_that_was_told_to_outlive_its_terminal_does(signals: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    _listen(_raise_stop)
    signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_try_that_failed_leaves_no_signal_ignored_to_the_next(signals: None) -> None:
    _listen(_let_end)
    signal.raise_signal(signal.SIGHUP)
    # A program that this process becomes inherits what is ignored, and would take it for nohup's.
    assert signal.SIG_IGN not in map(signal.getsignal, SIGNALS)


def test_ray_sets_no_handler_of_its_own_while_it_starts(signals: None) -> None:
    from ray._private import utils

    ended = []
    with pytest.raises(_Stop), unbroken():
        utils.set_sigterm_handler(lambda *_: ended.append("by Ray"))
        signal.raise_signal(signal.SIGTERM)
    assert ended == []
    utils.set_sigterm_handler(signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_the_unit_of_the_documents_starts_and_ends_it_as_it_wants() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    unit = configparser.ConfigParser()
    unit.read_string(next(block.text for block in blocks(text) if block.language == "ini"))
    service = unit["Service"]
    program, subcommand, *arguments = service["ExecStart"].split()
    assert (Path(program).name, subcommand) == ("verdict", "serve")
    # The configuration of an operator stands on no machine of ours.
    given = serve.make_context("serve", [word for word in arguments if not word.endswith(".yaml")]).params
    state = Path("/var/lib") / service["StateDirectory"]
    assert state in given["folder"].parents and len(os.fsencode(given["folder"])) <= MAX_DIRECTORY
    assert (service["StateDirectoryMode"], service["UMask"]) == ("0700", "0077")  # who asked for what is nobody else's
    assert unit["Unit"]["Wants"] == unit["Unit"]["After"]  # After alone waits for nothing that nobody starts
    assert "RuntimeDirectory" not in service  # systemd makes it for others to enter
    assert service["Restart"] == "always" and float(service["RestartSec"]) > 2  # 5 starts in 10 s are its last
    assert service["KillMode"] == "mixed"  # replicas hear of the end from us, and are let finish
    assert DRAIN_S < float(service["TimeoutStopSec"]) and int(service["LimitNOFILE"]) >= LEAST_FILES
