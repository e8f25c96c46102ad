"""Mends a module of Ray's when a process imports it: to import it here would cost each other one a second."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


def at_import(name: str, mend: Callable[[ModuleType], None]) -> None:
    """Call `mend` with the module of this name once it is imported, before whoever imports it has it."""
    sys.meta_path.insert(0, _Finder(name, mend))


class _Finder(MetaPathFinder):
    def __init__(self, name: str, mend: Callable[[ModuleType], None]) -> None:
        self._name, self._mend = name, mend

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def mended(module: ModuleType) -> None:
                execute(module)
                self._mend(module)

            spec.loader.exec_module = mended  # type: ignore[method-assign]
        return spec
