"""Who may log in with a password: a file of one user a line, `NAME ROLE scrypt:SALT:HASH`.

A file that holds one bare word is the password of `admin`: what `verdict up` generates and puts into its link.
"""

import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

Role = Literal["viewer", "analyst", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may do what those before it may

logger = logging.getLogger("dashboard")

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**14, 8, 1


class BadAccounts(ValueError):
    """A password file that is none; the message names the file, the line and what was expected."""


class Account(NamedTuple):
    name: str
    role: Role
    matches: Callable[[str], bool]  # of a password
    kept: str  # what its password is kept as: another one, another text


class AccountsFile:
    """The accounts of a file as it is now: it is read again when it changes, so that who is taken out of it is out.

    One that was changed into no password file is told in the log, and those of before go on: a slip of the pen locks
    nobody out. Raises as `load_or_generate`, at its making alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._accounts = load_or_generate(path)
        self._seen: tuple[int, ...] = ()  # unlike any file: a change since it was read is not missed

    def __call__(self) -> Sequence[Account]:
        seen = self._state()
        if seen != self._seen:
            self._seen = seen
            try:
                self._accounts = load(self._path)
            except (OSError, ValueError) as error:
                logger.error("%s; the accounts of before go on", error)
        return self._accounts

    def _state(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return (0,)
        return found.st_mtime_ns, found.st_size, found.st_ino


def load(path: Path) -> list[Account]:
    """The accounts of a password file."""
    every = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    lines = {number: line for number, line in every if line.strip() and line[0] != "#"}
    if [len(line.split()) for line in lines.values()] == [1]:
        return [bare(line.strip()) for line in lines.values()]
    if not lines:
        raise BadAccounts(f"{path}: empty; expected a password, or lines of NAME ROLE scrypt:SALT:HASH")
    return [_account(path, number, line) for number, line in lines.items()]


def load_or_generate(path: Path) -> list[Account]:
    """The accounts of the file; one that does not exist is written, with a generated password, for its owner only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
    return load(path)


def hashed(password: str) -> str:
    """What stands in a password file for this password."""
    salt = secrets.token_bytes(16)
    return f"scrypt:{salt.hex()}:{_digest(password, salt).hex()}"


def allows(role: Role | None, needed: Role) -> bool:
    """True where `role` may do what `needed` may."""
    return role is not None and ROLES.index(role) >= ROLES.index(needed)


def bare(secret: str) -> Account:
    """The account of `admin`, whose password this is."""
    return Account("admin", "admin", lambda password: hmac.compare_digest(secret.encode(), password.encode()), secret)


def _account(path: Path, number: int, line: str) -> Account:
    fields = line.split()
    parts = fields[2].split(":") if len(fields) == 3 else []
    if len(parts) != 3 or parts[0] != "scrypt":
        raise BadAccounts(f"{path}, line {number}: expected NAME ROLE scrypt:SALT:HASH")
    name, role = fields[0], fields[1]
    if role not in ROLES:
        raise BadAccounts(f"{path}, line {number}: role {role!r}, expected one of {', '.join(ROLES)}")
    try:
        salt, digest = bytes.fromhex(parts[1]), bytes.fromhex(parts[2])
    except ValueError:
        raise BadAccounts(f"{path}, line {number}: salt and hash: expected hexadecimal digits") from None
    return Account(name, role, lambda password: hmac.compare_digest(digest, _digest(password, salt)), fields[2])


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P)
