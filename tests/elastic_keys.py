"""A test Elasticsearch that issues API keys: the server of `tests.elastic`, with the analysers that the index of keys
needs. The archive lacks the module that has them; `tests/data/EmailAnalysis.java` stands for it."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.elastic import BUILD, VERSION, distribution, java_home

SOURCE = Path(__file__).parent / "data" / "EmailAnalysis.java"
DESCRIPTOR = {
    "description": "analysers of the index of API keys", "version": "1", "name": "email-analysis",
    "classname": "verdict.EmailAnalysis", "java.version": "21", "elasticsearch.version": VERSION,
}  # fmt: skip


def home_with_keys() -> Path:
    """The unpacked server with that plugin, made anew: the files of the other one are linked."""
    java, server = java_home(), distribution()
    assert java is not None
    home = BUILD / f"elasticsearch-keys-{VERSION}"
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        made = Path(scratch) / "home"
        shutil.copytree(server, made, copy_function=os.link, symlinks=True)
        plugin = made / "plugins" / "email-analysis"
        plugin.mkdir(parents=True)
        (plugin / "plugin-descriptor.properties").write_text("".join(f"{k}={v}\n" for k, v in DESCRIPTOR.items()))
        classes = Path(scratch) / "classes"
        for command in (
            ["javac", "--release", "21", "-proc:none", "-cp", f"{server / 'lib'}/*", "-d", str(classes), str(SOURCE)],
            ["jar", "cf", str(plugin / "email-analysis.jar"), "-C", str(classes), "."],
        ):
            done = subprocess.run(
                [java / "bin" / command[0], *command[1:]], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        for path in (plugin.parent, plugin, *plugin.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        shutil.rmtree(home, ignore_errors=True)
        made.rename(home)
    return home
