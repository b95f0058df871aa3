"""KDD Cup 1999: network connections, normal or one of 39 attacks (Stolfo et al., 1999).

41 features a connection. The three symbolic ones are one-hot encoded over the values of the full
training set (3 protocols, 70 services, 11 flags), the 38 numeric ones scaled, so every subset has
the same 122 columns. The test set has 17 attacks and one service that training never shows.
"""

import os
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from parmlp.datasets.dataset import Dataset, class_names
from parmlp.datasets.files import locate
from parmlp.errors import DataError
from parmlp.preprocessing import CategoricalColumn, NumericColumn, TablePreprocessing, Target

Subset = Literal["10_percent", "full", "test"]
KddTarget = Literal["label", "category", "attack"]

TARGETS: tuple[str, ...] = get_args(KddTarget)
LABEL_COLUMN = "label"

FILE_NAMES = {
    "10_percent": "kddcup.data_10_percent.gz",
    "full": "kddcup.data.gz",
    "test": "corrected.gz",
}
N_ROWS = {"10_percent": 494_021, "full": 4_898_431, "test": 311_029}

PROTOCOLS = ("icmp", "tcp", "udp")

# The values of the full training set. aol, harvest, http_2784 and http_8001 do not occur in the
# 10 % set or the test set; the test set's service icmp is not listed and becomes all zeros.
SERVICES = (
    "IRC",
    "X11",
    "Z39_50",
    "aol",
    "auth",
    "bgp",
    "courier",
    "csnet_ns",
    "ctf",
    "daytime",
    "discard",
    "domain",
    "domain_u",
    "echo",
    "eco_i",
    "ecr_i",
    "efs",
    "exec",
    "finger",
    "ftp",
    "ftp_data",
    "gopher",
    "harvest",
    "hostnames",
    "http",
    "http_2784",
    "http_443",
    "http_8001",
    "imap4",
    "iso_tsap",
    "klogin",
    "kshell",
    "ldap",
    "link",
    "login",
    "mtp",
    "name",
    "netbios_dgm",
    "netbios_ns",
    "netbios_ssn",
    "netstat",
    "nnsp",
    "nntp",
    "ntp_u",
    "other",
    "pm_dump",
    "pop_2",
    "pop_3",
    "printer",
    "private",
    "red_i",
    "remote_job",
    "rje",
    "shell",
    "smtp",
    "sql_net",
    "ssh",
    "sunrpc",
    "supdup",
    "systat",
    "telnet",
    "tftp_u",
    "tim_i",
    "time",
    "urh_i",
    "urp_i",
    "uucp",
    "uucp_path",
    "vmnet",
    "whois",
)

FLAGS = ("OTH", "REJ", "RSTO", "RSTOS0", "RSTR", "S0", "S1", "S2", "S3", "SF", "SH")

# Maxima of the 10 % set, the one models are trained on; the other subsets are scaled by them too,
# so that a column means the same everywhere. A test holds them against the file.
MAXIMA = {
    "duration": 58_329,
    "src_bytes": 693_375_640,
    "dst_bytes": 5_155_468,
    "land": 1,
    "wrong_fragment": 3,
    "urgent": 3,
    "hot": 30,
    "num_failed_logins": 5,
    "logged_in": 1,
    "num_compromised": 884,
    "root_shell": 1,
    "su_attempted": 2,
    "num_root": 993,
    "num_file_creations": 28,
    "num_shells": 2,
    "num_access_files": 8,
    "num_outbound_cmds": 0,
    "is_host_login": 0,
    "is_guest_login": 1,
    "count": 511,
    "srv_count": 511,
    "serror_rate": 1,
    "srv_serror_rate": 1,
    "rerror_rate": 1,
    "srv_rerror_rate": 1,
    "same_srv_rate": 1,
    "diff_srv_rate": 1,
    "srv_diff_host_rate": 1,
    "dst_host_count": 255,
    "dst_host_srv_count": 255,
    "dst_host_same_srv_rate": 1,
    "dst_host_diff_srv_rate": 1,
    "dst_host_same_src_port_rate": 1,
    "dst_host_srv_diff_host_rate": 1,
    "dst_host_serror_rate": 1,
    "dst_host_srv_serror_rate": 1,
    "dst_host_rerror_rate": 1,
    "dst_host_srv_rerror_rate": 1,
}

# The task description's categories; for the attacks of the test set those that give the published
# totals (u2r 228, r2l 16,189), so httptunnel is u2r.
ATTACKS = {
    "probe": "ipsweep mscan nmap portsweep saint satan",
    "dos": "apache2 back land mailbomb neptune pod processtable smurf teardrop udpstorm",
    "u2r": "buffer_overflow httptunnel loadmodule perl ps rootkit sqlattack xterm",
    "r2l": """ftp_write guess_passwd imap multihop named phf sendmail snmpgetattack snmpguess spy
        warezclient warezmaster worm xlock xsnoop""",
}
CATEGORY_OF = {"normal": "normal"} | {
    label: category for category, labels in ATTACKS.items() for label in labels.split()
}


def _columns() -> tuple[NumericColumn | CategoricalColumn, ...]:
    columns: list[NumericColumn | CategoricalColumn] = [
        NumericColumn.log1p_minmax(name, maximum) for name, maximum in MAXIMA.items()
    ]
    # In the files the symbolic columns stand second to fourth.
    columns[1:1] = [
        CategoricalColumn("protocol_type", PROTOCOLS),
        CategoricalColumn("service", SERVICES),
        CategoricalColumn("flag", FLAGS),
    ]
    return tuple(columns)


PREPROCESSING = TablePreprocessing(
    _columns(), Target(LABEL_COLUMN, "string", "classification"), header=False
)


def load_kddcup99(
    subset: Subset = "10_percent",
    *,
    target: KddTarget = "attack",
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> Dataset:
    """Load KDD Cup 1999 from its original files.

    Parameters
    ----------
    subset : {"10_percent", "full", "test"}, default="10_percent"
        494,021, 4,898,431 (X takes 2.4 GB) or 311,029 connections.
    target : {"label", "category", "attack"}, default="attack"
        "label": one of 40, such as "smurf"; "category": "normal", "probe", "dos", "u2r" or "r2l";
        "attack": "attack" or "normal".
    data_dir : path, optional
        Folder with the ``.gz`` files; by default ``$PARMLP_DATA/kddcup99``, then the cache.
    download : bool, default=False
        Download a file that is not on this machine (1 to 18 MB).

    Returns
    -------
    Dataset
        X float32 (n, 122): numeric columns log1p(x) / log1p(maximum of the 10 % set), so zeros stay
        zeros and the 10 % set lies in [0, 1]; symbolic ones one-hot. y (n,): strings.

    Raises
    ------
    DataError
        Unknown subset or target; the file is missing or not the original.
    """
    if subset not in FILE_NAMES:
        raise DataError(f"kddcup99 has no subset {subset!r}; choose one of {', '.join(FILE_NAMES)}")
    _check_target(target)
    path = locate("kddcup99", FILE_NAMES[subset], data_dir=data_dir, download=download)
    n_rows = N_ROWS[subset]
    X = np.empty((n_rows, PREPROCESSING.n_features_out), dtype=np.float32)
    codes = np.empty(n_rows, dtype=np.int32)
    labels: dict[str, int] = {}
    # Read and transformed a megabyte of text at a time, so the file is never in memory as a whole.
    start = stop = 0
    for table in _read_pieces(os.fspath(path)):
        stop = start + table.num_rows
        if stop > n_rows:
            break
        X[start:stop] = PREPROCESSING.transform(table)
        codes[start:stop] = _encode(table.column(LABEL_COLUMN), labels)
        start = stop
    if stop != n_rows:
        raise DataError(f"{path} does not hold {n_rows:,} rows; get the file anew")
    y = to_target(list(labels), target)[codes]
    return Dataset("kddcup99", X, y, PREPROCESSING.feature_names(), class_names(y), PREPROCESSING)


def to_target(labels: Sequence[str] | npt.NDArray[Any], target: str) -> npt.NDArray[np.str_]:
    """Map the data's labels, with or without their full stop, to labels of ``target``, shape (n,).

    Raises
    ------
    DataError
        Unknown target, or a label that is no KDD'99 label.
    """
    _check_target(target)
    distinct, codes = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    names = [str(label).removesuffix(".") for label in distinct]
    unknown = [name for name in names if name not in CATEGORY_OF]
    if unknown:
        raise DataError(f"{unknown[0]!r} is not a label of KDD'99")
    if target == "category":
        names = [CATEGORY_OF[name] for name in names]
    elif target == "attack":
        names = ["normal" if name == "normal" else "attack" for name in names]
    return np.array(names, dtype=str)[codes]


def column_types() -> dict[str, Any]:
    """Return the pyarrow type of each of the 42 columns of the original files."""
    types = {
        column.name: pa.string() if isinstance(column, CategoricalColumn) else pa.float64()
        for column in PREPROCESSING.columns
    }
    return {**types, LABEL_COLUMN: pa.string()}


def _read_pieces(path: str) -> Any:
    """Yield the rows of an original file as tables of about a megabyte of text."""
    types = column_types()
    try:
        reader = pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=list(types)),
            convert_options=pyarrow.csv.ConvertOptions(column_types=types),
        )
        for batch in reader:
            yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}; get the file anew") from error


def _encode(column: Any, codes: dict[str, int]) -> npt.NDArray[np.int32]:
    """Return ``column``'s strings as codes, adding those not met before to ``codes``."""
    encoded = column.combine_chunks().dictionary_encode()
    here = [codes.setdefault(label, len(codes)) for label in encoded.dictionary.to_pylist()]
    table: npt.NDArray[np.int32] = np.array(here, dtype=np.int32)
    indices: npt.NDArray[np.int32] = encoded.indices.to_numpy()
    return table[indices]


def _check_target(target: str) -> None:
    if target not in TARGETS:
        raise DataError(f"kddcup99 has no target {target!r}; choose one of {', '.join(TARGETS)}")
