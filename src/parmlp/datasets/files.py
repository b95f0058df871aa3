"""Finding, verifying and downloading the original files of a data set.

A file is looked for in an explicit folder; else in ``$PARMLP_DATA``, then in the cache. It is used
only if its SHA-256 is the known one. Downloading happens when asked for, from several hosts.
"""

import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from parmlp.errors import DataError

DATA_VARIABLE = "PARMLP_DATA"
CACHE_VARIABLE = "PARMLP_CACHE"

# Seconds without an answer, or between two pieces of one, after which the next mirror is tried.
MIRROR_TIMEOUT = 30
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class DataFile:
    """One original file and how to recognize it.

    Attributes
    ----------
    dataset, name : str
        The file lies at ``dataset/name`` below a data folder.
    sha256 : str
        Of the file itself.
    unpacked_bytes, unpacked_sha256 : int, str or None
        Of what the gzip file holds, where known: a mirror may have packed the same data anew.
    urls : tuple of str
        Mirrors, on different hosts.
    optional : bool
        Fetched only on request, for its size.
    """

    dataset: str
    name: str
    sha256: str
    unpacked_bytes: int | None
    unpacked_sha256: str | None
    urls: tuple[str, ...]
    optional: bool = False

    @property
    def relative(self) -> Path:
        """Where the file lies below a data folder."""
        return Path(self.dataset) / self.name


@dataclass(frozen=True)
class DataFileStatus:
    """Where a data file was found; ``path`` and ``source`` are None if it was not."""

    dataset: str
    name: str
    sha256: str
    optional: bool
    path: Path | None
    source: str | None


def _mnist(name: str, sha256: str, unpacked_bytes: int, unpacked_sha256: str) -> DataFile:
    hosts = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    )
    urls = tuple(host + name for host in hosts)
    return DataFile("mnist", name, sha256, unpacked_bytes, unpacked_sha256, urls)


_KDD_HOSTS = (
    "http://kdd.ics.uci.edu/databases/kddcup99/",
    "https://archive.ics.uci.edu/ml/machine-learning-databases/kddcup99-mld/",
)

FILES = (
    _mnist(
        "train-images-idx3-ubyte.gz",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    _mnist(
        "train-labels-idx1-ubyte.gz",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    _mnist(
        "t10k-images-idx3-ubyte.gz",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    _mnist(
        "t10k-labels-idx1-ubyte.gz",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    DataFile(
        "kddcup99",
        "kddcup.data_10_percent.gz",
        "8045aca0d84e70e622d1148d7df782496f6333bf6eb979a1b0837c42a9fd9561",
        74_889_749,
        "f8c8267ebcd9c0ed1fd7d6277fe5bfff8732e9b7db8e61b873542b2a534b6f9a",
        (
            "https://ndownloader.figshare.com/files/5976042",
            *(host + "kddcup.data_10_percent.gz" for host in _KDD_HOSTS),
        ),
    ),
    DataFile(
        "kddcup99",
        "corrected.gz",
        "74f0daef49b242badc09f2adbd457dea6a45b4f77177efbd11216d333651044b",
        47_251_540,
        "547dfb9c0f0dc1d9944219ec79e851191faebaeb8acbfa1cd171c418397052a4",
        tuple(host + "corrected.gz" for host in _KDD_HOSTS),
    ),
    DataFile(
        "kddcup99",
        "kddcup.data.gz",
        # As scikit-learn publishes it; what it unpacks to has no published checksum.
        "3b6c942aa0356c0ca35b7b595a26c89d343652c9db428893e7494f837b274292",
        None,
        None,
        (
            "https://ndownloader.figshare.com/files/5976045",
            *(host + "kddcup.data.gz" for host in _KDD_HOSTS),
        ),
        optional=True,
    ),
)


def files_of(dataset: str) -> tuple[DataFile, ...]:
    """Return the original files of ``dataset``; DataError for one that has none."""
    files = tuple(file for file in FILES if file.dataset == dataset)
    if not files:
        known = ", ".join(dict.fromkeys(file.dataset for file in FILES))
        raise DataError(f"there are no files to find or fetch for {dataset!r}; there are: {known}")
    return files


def cache_dir() -> Path:
    """Return the folder downloads are kept in: ``$PARMLP_CACHE``, else the user's cache."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import pooch  # 60 ms, and most runs have no need of it

    return Path(pooch.os_cache("parmlp"))


def locate(
    dataset: str, name: str, *, data_dir: str | os.PathLike[str] | None = None, download: bool
) -> Path:
    """Return the path of a verified data file.

    Parameters
    ----------
    dataset, name : str
        As in ``FILES``.
    data_dir : path, optional
        Look here (in ``data_dir/dataset`` and in ``data_dir``) and nowhere else.
    download : bool
        Whether a file that is not on this machine is downloaded.

    Raises
    ------
    DataError
        The file is not there, or is not the known one.
    """
    file = next(file for file in files_of(dataset) if file.name == name)
    if data_dir is not None:
        folder = Path(data_dir).expanduser()
        for path in (folder / file.relative, folder / file.name):
            if path.is_file():
                return verified(file, path)
        raise DataError(
            f"{file.name} is neither in {folder / dataset} nor in {folder}; put the original file "
            f"there, or leave data_dir out to use ${DATA_VARIABLE} and the cache"
        )
    path_, _ = _find(file)
    if path_ is not None:
        return verified(file, path_)
    if download:
        return fetch_file(file)
    asked = os.environ.get(DATA_VARIABLE)
    raise DataError(
        f"{file.relative} of data set {dataset!r} is not on this machine: looked in "
        f"${DATA_VARIABLE} ({asked or 'not set'}) and in the cache ({cache_dir()}). Set "
        f"{DATA_VARIABLE} to a folder that holds it, or download it with `parmlp data fetch "
        f"{dataset}{' --full' if file.optional else ''}`"
    )


def data_files(name: str | None = None) -> list[DataFileStatus]:
    """Say for each original file, of one data set or of all, where it lies (not verified)."""
    files = FILES if name is None else files_of(name)
    return [
        DataFileStatus(file.dataset, file.name, file.sha256, file.optional, *_find(file))
        for file in files
    ]


def fetch(dataset: str, *, optional: bool = False, progress: Any = False) -> list[Path]:
    """Make sure the files of ``dataset`` are on this machine and intact, downloading what is not.

    Parameters
    ----------
    dataset : {"mnist", "kddcup99"}
    optional : bool, default=False
        Fetch the optional files too: for kddcup99 the full training set.
    progress : bool or object, default=False
        As pooch's ``progressbar``: True needs tqdm; an object has ``total``, ``update(n)``,
        ``reset()`` and ``close()``.

    Returns
    -------
    list of Path

    Raises
    ------
    DataError
        No mirror had a file, or what was found is not the known file.
    """
    paths = []
    for file in files_of(dataset):
        if optional or not file.optional:
            found, _ = _find(file)
            paths.append(fetch_file(file, progress) if found is None else verified(file, found))
    return paths


def fetch_file(file: DataFile, progress: Any = False) -> Path:
    """Download one file into the cache from the first mirror that has it, and return its path."""
    import pooch

    folder = cache_dir() / file.dataset
    download = pooch.HTTPDownloader(progressbar=progress, timeout=MIRROR_TIMEOUT)
    failures = []
    for url in file.urls:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=file.name + ".", suffix=".part", dir=folder)
        except OSError as error:
            raise DataError(
                f"cannot write to the cache {folder}: {error.strerror or error}; set "
                f"{CACHE_VARIABLE} to a folder that can be written"
            ) from error
        try:
            with os.fdopen(handle, "wb") as stream:
                download(url, stream, None)
            os.replace(verified(file, Path(name)), folder / file.name)
            return folder / file.name
        # requests' errors are OSErrors; a ValueError is a checksum or an address that is wrong.
        except (OSError, ValueError) as error:
            failures.append(f"{url}: {error}")
        finally:
            Path(name).unlink(missing_ok=True)
    raise DataError(
        f"no mirror gave {file.relative}:\n  " + "\n  ".join(failures) + f"\nCopy the file to "
        f"{folder}, or set {DATA_VARIABLE} to a folder that holds {file.relative}"
    )


def verified(file: DataFile, path: Path) -> Path:
    """Return ``path`` if it holds the known data; DataError naming both checksums otherwise."""
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if found == file.sha256 or _same_content(file, path):
        return path
    raise DataError(
        f"{path} is not the original {file.name}: its SHA-256 is {found}, expected {file.sha256}. "
        f"Replace it, or remove it and run `parmlp data fetch {file.dataset}`"
    )


def _same_content(file: DataFile, path: Path) -> bool:
    """Whether the gzip file at ``path`` unpacks to the known bytes."""
    if file.unpacked_bytes is None:
        return False
    digest, n_bytes = hashlib.sha256(), 0
    try:
        with gzip.open(path) as stream:
            for chunk in chunks(stream):
                n_bytes += len(chunk)
                if n_bytes > file.unpacked_bytes:
                    return False
                digest.update(chunk)
    except (OSError, EOFError, zlib.error):
        return False
    return digest.hexdigest() == file.unpacked_sha256


def chunks(stream: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    """Yield what ``stream`` holds, a mebibyte at a time."""
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def _find(file: DataFile) -> tuple[Path | None, str | None]:
    """Return where ``file`` lies and which place that is, or (None, None)."""
    asked = os.environ.get(DATA_VARIABLE)
    if asked:
        folder = Path(asked).expanduser()
        # A folder that does not exist is a slip of the pen, not a reason to look elsewhere.
        if not folder.is_dir():
            raise DataError(
                f"{DATA_VARIABLE} is {asked!r}, which is not a folder; set it to a folder that "
                "holds mnist/ and kddcup99/, or unset it"
            )
        if (folder / file.relative).is_file():
            return folder / file.relative, DATA_VARIABLE
    cached = cache_dir() / file.relative
    return (cached, "cache") if cached.is_file() else (None, None)
