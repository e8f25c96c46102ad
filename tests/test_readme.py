"""Our documents are true: their commands run, their Corefiles start a CoreDNS, their links lead somewhere."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serve_app import golang
from serve_app.local.ports import free_port
from tests.readme import DOCUMENTS, ROOT, Block, blocks, commands, on_ports, runnable
from tests.requires import need_go

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
START_S = 20.0


@pytest.fixture(scope="session")
def coredns() -> Path:
    """Our CoreDNS, built if these sources were not built before."""
    need_go()
    return golang.build()


@pytest.mark.parametrize("block", runnable("alone", "sh"), ids=lambda block: block.id)
def test_a_command_of_the_documents_runs(block: Block, tmp_path: Path) -> None:
    for command in commands(block):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=ROOT,
            env={**os.environ, "PATH": PATH, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=240,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{block.id}: {command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


@pytest.mark.golang
@pytest.mark.parametrize("block", runnable("alone", "corefile"), ids=lambda block: block.id)
def test_a_corefile_of_the_documents_starts(block: Block, coredns: Path, tmp_path: Path) -> None:
    said = start_and_stop(block.text, coredns, tmp_path)
    assert "CoreDNS-" in said, f"{block.id}: {said}"


@pytest.mark.golang
def test_a_corefile_with_an_unknown_key_would_be_noticed(coredns: Path, tmp_path: Path) -> None:
    assert "CoreDNS-" not in start_and_stop(
        ". {\n    verdict http://127.0.0.1:1 {\n        speed 9\n    }\n}", coredns, tmp_path
    )


def start_and_stop(corefile: str, coredns: Path, folder: Path) -> str:
    """Start a CoreDNS with this text; what it says until its banner or its end."""
    (folder / "token").write_text("a-token-of-the-test\n")
    port = free_port()
    (folder / "Corefile").write_text(on_ports(corefile, port, free_port(), folder / "token"))
    with (folder / "said").open("w+") as said:
        process = subprocess.Popen(
            [str(coredns), "-dns.port", str(port), "-conf", str(folder / "Corefile")],
            stdout=said,
            stderr=said,
            cwd=folder,
        )
        try:
            end = time.monotonic() + START_S
            while time.monotonic() < end and process.poll() is None:
                if "CoreDNS-" in (folder / "said").read_text():
                    break
                time.sleep(0.05)
        finally:
            process.terminate()
            process.wait(timeout=20)
    return (folder / "said").read_text()


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if (ROOT / d).exists()])
def test_links_to_files_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text)
    missing = [target for target in targets if not (ROOT / document).parent.joinpath(target).exists()]
    assert not missing


def test_the_readme_has_commands_to_run() -> None:
    assert any(block.language == "sh" for block in blocks((ROOT / "README.md").read_text()))


TEXT = """
<!-- not run by the tests: it stays -->
```sh
make run
```
text
```sh
a \\
  b
# c
d
```
<!-- run beside make run -->

~~~ corefile
.:53 {
}
~~~
"""


def test_blocks_know_when_they_are_run() -> None:
    assert [(b.language, b.when) for b in blocks(TEXT)] == [("sh", "never"), ("sh", "alone"), ("corefile", "beside")]


def test_commands_are_joined_and_comments_left_out() -> None:
    assert commands(blocks(TEXT)[1]) == ["a    b", "d"]


@pytest.mark.parametrize("said", ["<!-- not run -->", "<!-- skip in tests -->"])
def test_a_mistaken_comment_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="README.md:2: comment"):
        blocks(f"{said}\n```sh\nmake run\n```")


def test_a_block_that_does_not_end_is_refused() -> None:
    with pytest.raises(ValueError, match="a block that does not end"):
        blocks("```sh\nmake run\n")


def test_ports_and_tokens_are_replaced() -> None:
    text = on_ports(
        ".:1053 a.org {\n    prometheus :9153\n    verdict http://x:8053 {\n        token y\n", 7, 8, Path("/t")
    )
    assert text == ".:7 a.org {\n    prometheus 127.0.0.1:8\n    verdict http://x:8053 {\n        token /t\n"
