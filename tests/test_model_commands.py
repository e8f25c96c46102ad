"""The model's commands, as a person types them."""

import contextlib
import functools
import io
import json
import logging
import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from model.classify import arriving
from model.commands import _progress, classify, evaluate, quiet, train
from model.plan import Plan
from tests.model_fixtures import SMALL

pytestmark = pytest.mark.patient


def run(command: object, *arguments: str, text: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(command, arguments, input=text)  # type: ignore[arg-type]
    return result.exit_code, result.output


def test_classify_prints_name_label_score_generated() -> None:
    code, output = run(classify, "--model", "seed-2020", "wikipedia.org", "localhost")
    lines = [line.split("\t") for line in output.splitlines()]
    assert code == 0 and [line[0] for line in lines] == ["wikipedia.org", "localhost"]
    assert all(len(line) == 4 for line in lines)


def test_classify_reads_standard_input() -> None:
    code, output = run(
        classify, "--model", "seed-2020", "-", text="".join(f"site{i}.example.com.de\n" for i in range(70))
    )
    assert code == 0 and len(output.splitlines()) == 70


def test_what_is_no_name_stands_in_its_place() -> None:
    names = [b" wikipedia.org \r", b"", b"a..b", b"two.dots..", b"m\xc3\xbcller.de", b"nul\x00in.com", b"\xff\xfe.com",
             b"x" * 9000, b"WWW.Wikipedia.ORG.", b"no.newline.org"]  # fmt: skip
    result = CliRunner().invoke(classify, ["--model", "seed-2020", "-"], input=b"\n".join(names))
    lines = [line.split("\t") for line in result.output.splitlines()]
    assert [line[0] for line in lines] == [
        "wikipedia.org", "a..b", "two.dots..", "m\u00fcller.de", "nul\\000in.com", "\\255\\254.com", "x" * 9000,
        "WWW.Wikipedia.ORG.", "no.newline.org",
    ]  # fmt: skip
    assert [number for number, line in enumerate(lines) if line[1] == "malformed"] == [1, 2, 6]


@pytest.mark.parametrize("octets", [3, 1])  # that come at once
def test_the_mark_of_utf_8_is_no_part_of_the_first_name(octets: int) -> None:
    class Few(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(octets)

    came = arriving(Few("\ufefffirst.org\r\n\ufeffsecond.org".encode()))
    assert [name for names in came for name in names] == ["first.org", "\ufeffsecond.org"]


@pytest.fixture
def piped() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`verdict classify` with pipes on both sides; ended with the test."""
    began: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", "serve_app.cli", "classify", "--model", "seed-2020", *arguments]
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        began.append(subprocess.Popen(program, env=os.environ | environment, **pipes))  # type: ignore[call-overload]
        return began[-1]

    yield start
    for process in began:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]


def test_a_trickle_is_answered_as_it_comes(piped: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = piped("-", PYTHONIOENCODING="ascii")
    assert process.stdin is not None and process.stdout is not None
    for name in (b"wikipedia.org", b"m\xc3\xbcller.de"):  # the second is asked once the first was answered
        process.stdin.write(name + b"\n")
        process.stdin.flush()
        assert process.stdout.readline().count(b"\t") == 3
    assert process.communicate()[1] == b"" and process.returncode == 0


@pytest.mark.parametrize("more_may_come", [False, True])
def test_a_reader_that_goes_away_ends_it_without_a_word(
    piped: Callable[..., subprocess.Popen[bytes]], more_may_come: bool
) -> None:
    process = piped("-")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"wikipedia.org\n")
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    process.stdin.write(b"wikipedia.org\n" * 5000)
    process.stdin.flush()
    if not more_may_come:
        process.stdin.close()
    assert process.stderr is not None and process.stderr.read() == b"" and process.wait(60) == 0


def test_an_end_that_does_not_wait_is_no_end() -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with open(read, "rb", 0) as stream, open(write, "wb", 0) as other:
        came = arriving(stream)
        other.write(b"one.org\n")
        assert next(came) == ["one.org"]
        other.write(b"two.org\n")
        assert next(came) == ["two.org"]
        other.close()
        assert list(came) == []


def test_a_line_without_end_takes_no_memory() -> None:
    class Endless(io.RawIOBase):
        left = 400

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            return b"x" * size if self.left > 0 else b"\nlast.org\n" if self.left == 0 else b""

    tracemalloc.start()
    found = [name for chunk in arriving(Endless()) for name in chunk]  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[-1] == "last.org" and len(found) == 2 and peak < 8 << 20


def test_names_that_cannot_be_read_are_told_after_those_before() -> None:
    class Torn(io.RawIOBase):
        blocks = [b"one.org\ntwo.org\nthr"]

        def read(self, size: int = -1) -> bytes:
            if not self.blocks:
                raise OSError(5, "Input/output error")
            return self.blocks.pop()

    found: list[str] = []
    with pytest.raises(OSError, match="Input/output error"):
        for chunk in arriving(Torn()):  # type: ignore[arg-type]
            found += chunk
    assert found == ["one.org", "two.org"]


def test_a_full_disk_under_what_is_printed_is_an_error() -> None:
    program = [sys.executable, "-m", "serve_app.cli", "classify", "--model", "seed-2020", "-"]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(program, input=b"wikipedia.org\n", stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (
        1,
        b"Error: not all names were judged: [Errno 28] No space left on device\n",
    )


@pytest.mark.parametrize(
    ("written", "asked"),
    [(("b\u00fccher.de",), "xn--bcher-kva.de"), ((os.fsdecode(b"\xff\xfe.com"),), "\\255\\254.com"),
     (("\u2615.la",), "xn--53h.la"), (("\u05d0a_.de",), "\\215\\144a_.de")],
)  # fmt: skip
def test_a_name_is_judged_as_resolvers_are_asked_for_it(written: tuple[str, ...], asked: str) -> None:
    code, output = run(classify, "--model", "seed-2020", "--json", "--explain", *written, asked)
    one, other = map(json.loads, output.splitlines())
    assert code == 0 and one["explanation"]["name"] == asked
    assert one["explanation"] == other["explanation"] and one["score"] == other["score"]


def test_standard_input_stands_alone() -> None:
    code, output = run(classify, "-", "wikipedia.org")
    assert code == 2 and "-: expected alone" in output


def test_classify_explains_as_json() -> None:
    code, output = run(classify, "--model", "seed-2020", "--json", "--explain", "wikipedia.org")
    assert code == 0 and len(json.loads(output)["explanation"]["characters"]) == len("wikipedia.org")


def test_an_artifact_that_is_none_is_named() -> None:
    code, output = run(classify, "--model", "/nonexistent", "a.de")
    assert code == 1 and "/nonexistent/manifest.json" in output


def test_the_experiment_of_2020_prints_each_seed_and_the_mean(tmp_path: Path) -> None:
    (tmp_path / "benign_domains.csv").write_text(
        "Rank,Domain,Open Page Rank\n" + "".join(f"{i},site{i}.com,9\n" for i in range(20))
    )
    (tmp_path / "malicious_domains.txt").write_text("".join(f"0{i}x.net\n" for i in range(20)))
    arguments = ("--network", "seed", "--rows", "10", "--epochs", "1", "--seeds", "2", "--data", str(tmp_path))
    code, output = run(train, *arguments)
    assert code == 0 and [line.split("\t")[0] for line in output.splitlines()[-3:]] == ["seed 0", "seed 1", "mean"]


@pytest.mark.parametrize(
    ("benign", "malicious", "told"),
    [(40, 0, "malicious_domains.txt: no names, expected some"), (0, 40, "benign_domains.csv: no names, expected some"),
     (5, 4, "5 benign and 4 malicious names: expected 10 in all")],
)  # fmt: skip
def test_the_experiment_of_2020_needs_names_of_both_lists(
    tmp_path: Path, benign: int, malicious: int, told: str
) -> None:
    (tmp_path / "benign_domains.csv").write_text("Domain\n" + "".join(f"site{i}.com\n" for i in range(benign)))
    (tmp_path / "malicious_domains.txt").write_text("# list\n" + "".join(f"0{i}x.net\n" for i in range(malicious)))
    for options in (["--rows", "10", "--seeds", "1"], ["--out", str(tmp_path / "run")]):
        code, output = run(train, "--network", "seed", "--epochs", "1", "--data", str(tmp_path), *options)
        assert code == 1 and told in output


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        (train, ["--network", "seed", "--rows", "9", "--out", "x"], "--out: not used by --network seed --rows"),
        (train, ["--seeds", "3"], "--seeds: not used by this training"),
        (evaluate, ["--network", "seed", "--model", "x"], "--model: not used by --network seed"),
        (evaluate, ["--epochs", "3"], "--epochs: not used by --network segments"),
        (evaluate, ["--compare", "3", "--out", "x"], "--out: not used by --compare without --fold"),
        (evaluate, ["--fold", "1"], "--fold: not used by an evaluation without --compare MINUTES"),
        (evaluate, ["--compare", "3", "--fold", "1"], "--fold: expected --reference beside it"),
        (
            evaluate,
            ["--compare", "3", "--fold", "1", "--reference", "yu", "--model", "x"],
            "--model: not used by --fold",
        ),
    ],
)
def test_an_option_that_would_be_passed_over_is_refused(command: object, arguments: list[str], told: str) -> None:
    code, output = run(command, *arguments, "--data", "/nonexistent")
    assert code == 2 and told in output


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_a_training_that_is_interrupted_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)
    (tmp_path / "good.txt").write_text("".join(f"river{rng.choice('abc')}stone{i}.com\n" for i in range(1500)))
    (tmp_path / "dga.csv").write_text(
        "name,family\n" + "".join("".join(rng.choices("bcdfghjkqxz", k=14)) + ".biz,qakbot\n" for _ in range(900))
    )
    (tmp_path / "sources.toml").write_text("".join(
        f'[[source]]\npath="{path}"\nform="{form}"\nkind="{kind}"\nuse="teach"\nlicence="MIT"\nreason="-"\n'
        for path, form, kind in (("good.txt", "plain", "benign"), ("dga.csv", "csv", "dga"))
    ))  # fmt: skip
    monkeypatch.setattr("model.plan.Plan", functools.partial(Plan, blocks=1, grammars=100, shape=SMALL))

    def interrupt(self: _progress, line: dict[str, object]) -> None:
        if line.get("epoch") == 1:
            raise KeyboardInterrupt  # as Python does on a SIGINT; the signal itself is ignored in a shell's background

    arguments = ["--data", str(tmp_path), "--epochs", "2", "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(_progress, "_report", interrupt)
        code, output = run(train, *arguments)
    assert code == 1 and f"stopped; the same command with --out {tmp_path / 'run'} goes on" in output
    code, output = run(train, *arguments)
    assert code == 0 and "epoch 2" in output and "epoch 1 " not in output
    assert "never blocks, it only alerts: its rate of false positives may be" in output  # of so few names


def test_tensorflow_s_warnings_of_retracing_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    quiet()
    printed: list[logging.LogRecord] = []
    log = tf.get_logger()
    monkeypatch.setattr(log, "handlers", [handler := logging.Handler()])
    monkeypatch.setattr(handler, "emit", printed.append)
    for _ in range(6):
        tf.function(lambda x: x + 1)(tf.constant(1))
    log.warning("something else")
    assert [record.getMessage() for record in printed] == ["something else"]


@pytest.mark.parametrize("command", [train, evaluate])
@pytest.mark.parametrize("network", ["segments", "seed"])
def test_a_folder_of_data_that_is_not_there_is_named(tmp_path: Path, command: object, network: str) -> None:
    code, output = run(command, "--network", network, "--data", f"{tmp_path}/absent")
    assert code == 2 and f"--data {tmp_path}/absent: no such folder, expected one of lists of names" in output


def test_a_list_of_2020_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "benign_domains.csv").write_text("Rank,Domain\n1,a.org\n")
    code, output = run(evaluate, "--network", "seed", "--data", str(tmp_path))
    told = (
        f"{tmp_path}/malicious_domains.txt: no such file, expected benign_domains.csv and malicious_domains.txt there"
    )
    assert code == 1 and told in " ".join(output.split("\n"))
