"""Published lists, as they are published."""

import gzip
import http.server
import threading
import zipfile
from pathlib import Path

import pytest

from model.formats import BadRow, read

pytestmark = pytest.mark.patient

LISTS = {
    "plain": ("# note\nexample.org\n\nEXAMPLE.net # why\n", ["example.org", "example.net"]),
    "ctc": ("# COVID19 Cyber Threat Coalition blocklist\nbad.example\n", ["bad.example"]),
    "hosts": ("127.0.0.1 localhost\n0.0.0.0 a.example b.example # c\n::1 ip6-localhost\n", ["a.example", "b.example"]),
    "ranked": ("1,example.org\r\n2,example.net\r\n", ["example.org", "example.net"]),
    "domcop": ('"Rank","Domain","Open Page Rank"\n"1","example.org","10.00"\n', ["example.org"]),
    "csv": ("name,family,first_seen\na.example,tiny,2026-01-02\n", ["a.example"]),
    "rpz": (
        "$TTL 60\n@ SOA localhost. root.localhost. (1 2 3 4 5)\n@ NS localhost.\nbad.example CNAME .\n"
        "*.bad.example 60 IN CNAME . ; all below\n32.1.2.0.192.rpz-ip CNAME .\n"
        "good.example CNAME rpz-passthru.\n$ORIGIN rpz.local.\nworse.example.rpz.local. in cname *.\n",
        ["bad.example", "bad.example", "worse.example"],
    ),
}


@pytest.mark.parametrize("form", LISTS)
def test_a_published_form_is_read(form: str, tmp_path: Path) -> None:
    text, expected = LISTS[form]
    (tmp_path / "list").write_text(text)
    assert [row.name for row in read(tmp_path / "list", form)] == expected


def test_family_and_date_come_with_a_csv_row(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(LISTS["csv"][0])
    row = next(read(tmp_path / "list", "csv"))
    assert (row.family, row.date) == ("tiny", "2026-01-02")


def test_a_family_is_one_however_a_list_writes_it(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("name,family\na.example, Qakbot\nb.example,qakbot\n")
    assert [row.family for row in read(tmp_path / "list", "csv")] == ["qakbot", "qakbot"]


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("plain", "ok.example\na..b\n", r"list:2: name 'a\.\.b': empty label, expected a plain row"),
        ("plain", "a.example..\n", "list:1: .*empty label"),
        ("plain", "ok.example\n<td>a.example</td>\n", "list:2: '<td>a.example</td>': expected letters"),
        ("plain", "1,a.example\n", "list:1: '1,a.example': expected letters"),
        ("plain", "a.example b.example\n", "list:1: .*: expected one name$"),
        ("plain", "\u00fc" * 70 + ".example\n", "list:1: .*expected a plain row"),
        ("csv", 'name,family\na.example,x\n"b.example,x\nc.example,y\n', "list:4: .*expected comma-separated"),
        ("csv", 'name\n"a" b\n', "list:2: .*expected comma-separated"),
        ("ranked", "one,example.org\n", r"list:1: 'one,example\.org', expected RANK,NAME"),
        ("hosts", "example.org\n", "list:1: .* expected an address and names"),
        ("csv", "title\nx\n", "list:1: header 'title', expected a column name or domain"),
        ("csv", "name,family\na.example\n", "list:2: 1 columns, expected 2"),
        ("rpz", "bad.example TXT x\n", "list:1: .* expected NAME"),
    ],
)
def test_a_bad_row_is_named(form: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(BadRow, match=message):
        list(read(tmp_path / "list", form))


def test_an_idn_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("b\u00fccher.example\nstra\u00dfe.example\n")
    assert [row.name for row in read(tmp_path / "list", "plain")] == ["xn--bcher-kva.example", "xn--strae-oqa.example"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.gz", gzip.compress(b"a.example\n" * 9000, mtime=0)[:60]),
        ("no.gz", b"a.example\n"),
        ("no.zip", b"a.example\n"),
        ("torn.gz", gzip.compress(b"a.example\n", mtime=0)[:12] + b"\xff" * 20),
        ("none.zip", b"PK\x05\x06" + bytes(18)),
    ],
)
def test_a_file_that_is_not_whole_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OSError, match=name):
        list(read(tmp_path / name, "plain"))


@pytest.mark.parametrize(("place", "value", "told"), [(8, 1, "encrypted"), (10, 9, "compression")])
def test_a_zip_that_cannot_be_unpacked_is_named(place: int, value: int, told: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inner.txt", "a.example\n")
    octets = bytearray((tmp_path / "a.zip").read_bytes())
    octets[octets.find(b"PK\x03\x04") + place - 2] = octets[octets.find(b"PK\x01\x02") + place] = value
    (tmp_path / "a.zip").write_bytes(octets)
    with pytest.raises(OSError, match=rf"a\.zip: .*{told}"):
        list(read(tmp_path / "a.zip", "plain"))


def test_compressed_files_and_folders_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"a.example\n"))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.mkdir("inner")  # as of a folder that was packed
        archive.writestr("inner/inner.txt", "b.example\n")
    (tmp_path / ".DS_Store").write_bytes(b"\x00\x01")
    assert [row.name for row in read(tmp_path, "plain")] == ["a.example", "b.example"]


def test_a_url_is_read(tmp_path: Path) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if "list" in self.path else 404)
            if "short" in self.path:
                self.send_header("Content-Length", "99")
            self.end_headers()
            self.wfile.write(gzip.compress(b"u.example\n") if ".gz" in self.path else b"u.example\n")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        at = f"http://127.0.0.1:{server.server_port}"
        assert [row.name for row in read(f"{at}/list", "plain")] == ["u.example"]
        assert [row.name for row in read(f"{at}/list.gz?v=1", "plain")] == ["u.example"]
        with pytest.raises(OSError, match=f"{at}/short-list: 89 octets are missing, expected a whole file"):
            list(read(f"{at}/short-list", "plain"))
        with pytest.raises(OSError, match=f"{at}/none.*404"):
            list(read(f"{at}/none", "plain"))
    finally:
        server.shutdown()
        server.server_close()


def test_a_url_that_is_not_read_is_named() -> None:
    with pytest.raises(OSError, match="ftp://127.0.0.1/list: expected a path, or a URL"):
        list(read("ftp://127.0.0.1/list", "plain"))


def test_an_unknown_form_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of plain"):
        list(read(tmp_path, "pdf"))
