"""Finding, verifying and downloading files. Nothing here reaches beyond this machine."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from parmlp import datasets
from parmlp.datasets import files
from parmlp.datasets.files import DataFile, fetch_file, locate, verified
from parmlp.errors import DataError

CONTENT = b"".join(b"%d,tcp,http\n" % (n * n) for n in range(1000))


def known_file(content: bytes, packed: bytes, *urls: str, optional: bool = False) -> DataFile:
    return DataFile(
        "toy",
        "toy.gz",
        hashlib.sha256(packed).hexdigest(),
        len(content),
        hashlib.sha256(content).hexdigest(),
        urls,
        optional,
    )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> DataFile:
    """A data set "toy" of one known file, with no mirror."""
    file = known_file(CONTENT, gzip.compress(CONTENT, mtime=0))
    monkeypatch.setattr(files, "FILES", (file,))
    return file


def put(folder: Path, packed: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy.gz").write_bytes(packed)
    return folder / "toy.gz"


class TestLocate:
    """Explicit folder, else $PARMLP_DATA, then the cache; and nothing else."""

    GOOD = gzip.compress(CONTENT, mtime=0)

    def test_the_order_of_places(
        self, toy: DataFile, no_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        explicit, variable = tmp_path / "explicit", tmp_path / "variable"
        in_cache = put(no_data / "toy", self.GOOD)
        assert locate("toy", "toy.gz", download=False) == in_cache
        in_variable = put(variable / "toy", self.GOOD)
        monkeypatch.setenv("PARMLP_DATA", str(variable))
        assert locate("toy", "toy.gz", download=False) == in_variable
        flat = put(explicit, self.GOOD)
        assert locate("toy", "toy.gz", data_dir=explicit, download=False) == flat
        nested = put(explicit / "toy", self.GOOD)
        assert locate("toy", "toy.gz", data_dir=explicit, download=False) == nested

    def test_an_explicit_folder_without_the_file_is_an_error(
        self, toy: DataFile, no_data: Path, tmp_path: Path
    ) -> None:
        put(no_data / "toy", self.GOOD)
        with pytest.raises(DataError, match=r"neither in .*elsewhere"):
            locate("toy", "toy.gz", data_dir=tmp_path / "elsewhere", download=False)

    def test_a_missing_file_names_both_remedies(self, toy: DataFile, no_data: Path) -> None:
        with pytest.raises(DataError, match="not on this machine") as caught:
            locate("toy", "toy.gz", download=False)
        assert "Set PARMLP_DATA" in str(caught.value)
        assert "`parmlp data fetch toy`" in str(caught.value)
        assert str(no_data) in str(caught.value)

    def test_a_variable_that_names_no_folder_is_an_error(
        self, toy: DataFile, no_data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(no_data / "toy", self.GOOD)
        monkeypatch.setenv("PARMLP_DATA", "/no/such/folder")
        with pytest.raises(DataError, match="/no/such/folder"):
            locate("toy", "toy.gz", download=False)

    @pytest.mark.parametrize(
        "packed",
        [
            GOOD[:-1],
            GOOD[:40],
            GOOD[:100] + bytes([GOOD[100] ^ 1]) + GOOD[101:],
            gzip.compress(CONTENT[:-1] + b"!"),
            gzip.compress(CONTENT + b"more"),
            b"",
            b"<html>404</html>",
        ],
    )
    def test_another_file_is_refused_wherever_it_lies(
        self, toy: DataFile, no_data: Path, packed: bytes
    ) -> None:
        path = put(no_data / "toy", packed)
        with pytest.raises(DataError, match="not the original") as caught:
            locate("toy", "toy.gz", download=False)
        assert str(path) in str(caught.value)
        assert hashlib.sha256(packed).hexdigest() in str(caught.value)

    def test_the_same_data_packed_anew_is_the_same_data(self, toy: DataFile, no_data: Path) -> None:
        path = put(no_data / "toy", gzip.compress(CONTENT, compresslevel=1, mtime=12345))
        assert verified(toy, path) == path

    def test_without_a_known_content_the_packed_file_must_match(self, tmp_path: Path) -> None:
        file = DataFile("toy", "toy.gz", hashlib.sha256(self.GOOD).hexdigest(), None, None, ())
        path = put(tmp_path, gzip.compress(CONTENT, compresslevel=1))
        with pytest.raises(DataError, match="not the original"):
            verified(file, path)
        assert verified(file, put(tmp_path, self.GOOD)) == path


class Mirror:
    """A web server on this machine; answers each path with what ``pages`` holds for it."""

    def __init__(self) -> None:
        pages = self.pages = dict[str, bytes]()
        asked = self.asked = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                page = pages.get(self.path)
                self.send_response(404 if page is None else 200)
                self.send_header("Content-Length", str(len(page or b"")))
                self.end_headers()
                self.wfile.write(page or b"")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    mirror = Mirror()
    thread = threading.Thread(target=mirror.server.serve_forever, daemon=True)
    thread.start()
    yield mirror
    mirror.server.shutdown()
    mirror.server.server_close()
    thread.join()


class TestFetch:
    GOOD = gzip.compress(CONTENT, mtime=0)

    def file(self, mirror: Mirror, *paths: str, optional: bool = False) -> DataFile:
        urls = tuple(mirror.address + path for path in paths)
        return known_file(CONTENT, self.GOOD, *urls, optional=optional)

    def test_the_first_mirror_that_has_it_is_used(self, mirror: Mirror, no_data: Path) -> None:
        mirror.pages["/wrong"] = b"<html>captive portal</html>"
        mirror.pages["/right"] = self.GOOD
        mirror.pages["/never"] = self.GOOD
        path = fetch_file(self.file(mirror, "/gone", "/wrong", "/right", "/never"))
        assert path == no_data / "toy" / "toy.gz"
        assert path.read_bytes() == self.GOOD
        assert mirror.asked == ["/gone", "/wrong", "/right"]
        assert list(path.parent.iterdir()) == [path]

    def test_no_mirror_is_an_error_with_every_reason(self, mirror: Mirror, no_data: Path) -> None:
        mirror.pages["/wrong"] = b"something else"
        with pytest.raises(DataError, match=r"no mirror gave toy/toy\.gz") as caught:
            fetch_file(self.file(mirror, "/gone", "/wrong"))
        text = str(caught.value)
        assert "404" in text
        assert "not the original" in text
        assert "set PARMLP_DATA" in text
        assert list((no_data / "toy").iterdir()) == []

    def test_a_cache_that_cannot_be_written_names_the_variable(
        self, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("PARMLP_CACHE", str(tmp_path / "file"))
        with pytest.raises(DataError, match="PARMLP_CACHE"):
            fetch_file(self.file(mirror, "/right"))

    def test_fetch_downloads_what_is_missing_and_no_optional_file(
        self, mirror: Mirror, no_data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mirror.pages["/a"] = self.GOOD
        monkeypatch.setattr(files, "FILES", (self.file(mirror, "/a"),))
        assert datasets.fetch("toy") == [no_data / "toy" / "toy.gz"]
        assert datasets.fetch("toy") == [no_data / "toy" / "toy.gz"]
        assert mirror.asked == ["/a"]
        monkeypatch.setattr(files, "FILES", (self.file(mirror, "/a", optional=True),))
        assert datasets.fetch("toy") == []
        assert len(datasets.fetch("toy", optional=True)) == 1

    def test_locate_downloads_only_when_told_to(
        self, mirror: Mirror, no_data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mirror.pages["/a"] = self.GOOD
        monkeypatch.setattr(files, "FILES", (self.file(mirror, "/a"),))
        with pytest.raises(DataError, match="not on this machine"):
            locate("toy", "toy.gz", download=False)
        assert mirror.asked == []
        assert locate("toy", "toy.gz", download=True).read_bytes() == self.GOOD


def test_every_known_file_has_a_checksum_and_mirrors_on_several_hosts() -> None:
    for file in files.FILES:
        assert len(file.sha256) == 64
        assert len({url.split("/")[2] for url in file.urls}) >= 2


def test_the_real_files_are_the_known_ones(real_data: Path) -> None:
    checked = [
        file
        for file in files.FILES
        if not file.optional and verified(file, real_data / file.relative)
    ]
    assert len(checked) == 6
    for file in checked:
        # What the file unpacks to is known as well, so a mirror may pack it anew.
        assert files._same_content(file, real_data / file.relative)


def test_data_files_says_where_each_lies(
    real_data: Path, no_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(file.path is None and file.source is None for file in datasets.data_files())
    monkeypatch.setenv("PARMLP_DATA", str(real_data))
    assert [file.source for file in datasets.data_files("mnist")] == ["PARMLP_DATA"] * 4
    with pytest.raises(DataError, match=r"'iris'.*mnist, kddcup99"):
        datasets.data_files("iris")


def test_the_status_names_a_remedy_for_what_is_missing(no_data: Path) -> None:
    status = {entry.name: entry for entry in datasets.dataset_status()}
    assert tuple(status) == datasets.NAMES
    assert status["digits"].available
    assert status["digits"].remedy is None
    for name in ("mnist", "kddcup99"):
        assert not status[name].available
        assert f"parmlp data fetch {name}" in str(status[name].remedy)
