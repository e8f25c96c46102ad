"""A registry: a folder of artifacts and one pointer, `serving` (contract 5).

The pointer is a text file: the serving version on its first line, those that served before below it, latest first.
It is replaced, never edited, so a reader sees the old or the new one; who moves it waits for whoever else of the
machine does. Artifacts are never changed once added.

At a URI nothing holds back who moves the pointer from another machine: pyarrow has no write that is bound to what was
read. Of two at the same moment both succeed, the later one's version serves, and the earlier's may be missing from
what a roll-back knows; its artifact stays. A roll-back, which loads a model in between, looks again before it writes.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model.artifact import (
    EVALUATION,
    HISTORY,
    MANIFEST,
    NETWORK,
    Artifact,
    BadArtifact,
    check_digests,
    is_version,
    read_manifest,
)
from model.manifest import Manifest
from model.remote import Remote, cache_of
from verdicts.files import READABLE, placed, write_atomically
from verdicts.locks import held

POINTER = "serving"
LOCK = ".moving"
WAIT_S = 30.0  # for who else moves the pointer: a roll-back loads a model meanwhile
FILES = (NETWORK, HISTORY, EVALUATION, MANIFEST)  # of an artifact; the manifest last, so that it vouches for the rest
KEPT = 50  # earlier versions the pointer remembers
RELEASED = Path(__file__).parent / "released"

Versions = list[str]  # `list` is a method of the class below
Manifests = list[Manifest]
Guard = Callable[[Artifact], list[str]]  # what is wrong with a candidate


class UnknownVersion(KeyError):
    """A version the registry does not hold; the message names those it does."""

    def __str__(self) -> str:
        return str(self.args[0])


class GuardFailed(Exception):
    """A candidate that fails the guard set; promote with force to serve it all the same."""


class Registry:
    """Artifacts by version in a local folder, or at a URI that pyarrow's filesystems know (`s3://...`).

    A remote registry is mirrored into `cache` (default: a folder of the user's temporary directory): artifacts
    as they are asked for, the pointer at each question.
    """

    def __init__(self, place: str | Path, cache: Path | None = None):
        self._remote = Remote(str(place)) if "://" in str(place) else None
        if self._remote is not None:
            self.root = cache or cache_of(self._remote.key)
        else:
            self.root = Path(place)
        self.root.mkdir(parents=True, exist_ok=True)

    def list(self) -> Manifests:
        """The manifests of all artifacts, by version; one that cannot be read is left out."""
        manifests = []
        for name in self.versions():
            try:
                manifests.append(self.manifest(name))
            except (BadArtifact, UnknownVersion):
                continue
        return manifests

    def versions(self) -> Versions:
        """All versions, sorted, no artifact looked into."""
        names = self._remote.folders() if self._remote else [p.name for p in self.root.iterdir() if p.is_dir()]
        return sorted(filter(is_version, names))

    def path(self, version: str) -> Path:
        """The local directory of this version's artifact; raises `UnknownVersion`."""
        path = self.root / version
        if is_version(version) and not path.is_dir() and self._remote is not None and version in self._remote.folders():
            self._remote.download(version, path)
        if not is_version(version) or not path.is_dir():
            raise UnknownVersion(f"model {version!r}: expected one of {', '.join(self.versions()) or 'none yet'}")
        return path

    def manifest(self, version: str) -> Manifest:
        """The manifest of this version, its network not loaded; raises `UnknownVersion`, `BadArtifact`."""
        path = self.path(version)
        found = read_manifest(path)
        if found.version != version:  # a copied folder: who follows the pointer would never see that it has it already
            raise BadArtifact(
                f"{path / MANIFEST}: version {found.version!r}, expected {version!r}, as the folder is named"
            )
        return found

    def get(self, version: str) -> Artifact:
        """Load this version; raises `UnknownVersion`, `BadArtifact`."""
        self.manifest(version)
        return Artifact.load(self.path(version))

    def add(self, directory: str | Path) -> str:
        """Copy a checked artifact into the registry and return its version; one already there stays as it is.

        Of the folder nothing else is copied. Raises `BadArtifact` for a file that is a link: it may lead anywhere.
        """
        directory = Path(directory)
        for name in FILES:
            if (directory / name).is_symlink():
                raise BadArtifact(f"{directory / name}: a link, expected the file itself")
        manifest = read_manifest(directory)
        check_digests(directory, manifest)
        if manifest.version in self.versions():
            if not _judges_alike(read_manifest(self.path(manifest.version)), manifest):
                raise FileExistsError(f"model {manifest.version}: the registry holds another of this version")
            return manifest.version
        own = [name for name in FILES if (directory / name).exists()]
        if self._remote is not None:
            self._remote.upload([directory / name for name in own], manifest.version)
        else:
            try:
                with placed(self.root / manifest.version) as staging:  # before a pointer names it
                    for name in own:
                        shutil.copy2(directory / name, staging)
            except OSError:
                if manifest.version not in self.versions():
                    raise
                return self.add(directory)  # somebody added it meanwhile, or another of this version
        return manifest.version

    def seed_from_released(self, released: Path = RELEASED) -> Versions:
        """Add the artifacts of this release; if nothing serves yet, the newest of them does. Returns the versions."""
        versions = [self.add(path) for path in sorted(released.iterdir()) if path.is_dir()]
        if not self.pointer() and versions:
            with self._moving():
                if not self.pointer():
                    self._point([newest(versions)])
        return versions

    def seed_if_empty(self) -> None:
        """Seed a registry where nothing serves yet, as a new cluster's is."""
        if not self.pointer():
            self.seed_from_released()

    def serving(self) -> str:
        """The version that serves; raises `UnknownVersion` when none does yet."""
        pointer = self.pointer()
        if not pointer:
            raise UnknownVersion(f"no model serves in {self._remote.uri if self._remote else self.root}")
        return pointer[0]

    def promote(
        self, version: str, guard: Guard | None = None, force: bool = False, last: Callable[[], None] = lambda: None
    ) -> None:
        """Let this version serve. It must load; and `guard` must find nothing wrong with it, unless forced.

        `last` is called before the pointer is moved: what it raises leaves it as it is. Raises `BlockingIOError` where
        another process moves it for too long.
        """
        artifact = self.get(version)
        failures = guard(artifact) if guard is not None and not force else []
        if failures:
            raise GuardFailed(f"model {version}: {len(failures)} of the guard set fail: {'; '.join(failures[:5])}")
        with self._moving():
            last()
            self._point([version, *(earlier for earlier in self.pointer() if earlier != version)])

    def rollback(self, last: Callable[[], None] = lambda: None) -> str:
        """Let the version serve that served before; it is returned. Raises `UnknownVersion` when there is none.

        `last` and `BlockingIOError` as of `promote`; that too where another machine moves the pointer meanwhile.
        """
        with self._moving():
            pointer = self.pointer()
            if len(pointer) < 2:
                raise UnknownVersion("no earlier model to roll back to")
            self.get(pointer[1])
            last()
            if self.pointer() != pointer:
                raise BlockingIOError(f"{self.root}: another machine moved the pointer meanwhile")
            self._point(pointer[1:])
        return pointer[1]

    def pointer(self) -> Versions:
        """The version that serves, then those that served before, latest first; empty when none does yet."""
        if self._remote is not None:
            return (self._remote.read(POINTER) or b"").decode(errors="replace").split()
        try:
            return (self.root / POINTER).read_text(errors="replace").split()
        except FileNotFoundError:
            return []

    def point(self, versions: Versions, instead_of: str = "") -> None:
        """Set the whole pointer, as a backup had it, or as it was before; only while `instead_of` serves, where given.

        Raises `UnknownVersion` where its first is not there.
        """
        if versions:
            self.path(versions[0])
        with self._moving():
            there = self.versions()  # of a URI a question over the network, which the pointer shall not wait for
            if not instead_of or self.pointer()[:1] == [instead_of]:
                self._point([version for version in versions if version in there])

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """The pointer for this process alone. Raises `BlockingIOError`."""
        lock = self.root / LOCK
        with held(lock, BlockingIOError(f"{self.root}: another process moves the pointer"), WAIT_S):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)  # else another user's process could not take it

    def _point(self, versions: Versions) -> None:
        text = "".join(f"{version}\n" for version in versions[: KEPT + 1]).encode()
        if self._remote is not None:
            self._remote.write(POINTER, text)
            return
        write_atomically(self.root / POINTER, text, READABLE)


def _judges_alike(one: Manifest, other: Manifest) -> bool:
    """Whether two manifests are of the same network and thresholds; an evaluation may have been written anew."""

    def core(found: Manifest) -> tuple[object, ...]:
        return found.digests.get(NETWORK), found.encoding, found.heads, found.calibration, found.thresholds

    return core(one) == core(other)


def newest(versions: Versions) -> str:
    """The version to serve of a release: by name, the seed network last."""
    return max(versions, key=lambda version: (not version.startswith("seed"), version))


def released() -> Versions:
    """The versions of this release."""
    return sorted(path.name for path in RELEASED.iterdir() if path.is_dir())


def load_named(name: str | None, registry: Registry | None = None) -> Artifact:
    """An artifact by its version in the registry, its released version (None: the newest release) or its folder.

    Raises `BadArtifact`.
    """
    if name is None:
        name = newest(released())
    if registry is not None and name in registry.versions():
        return registry.get(name)
    return Artifact.load(RELEASED / name if name in released() else Path(name))
