"""Published benchmark files: where they are, how large, under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NASBENCH101_CITATION = (
    "Ying, Klein, Christiansen, Real, Murphy, Hutter. NAS-Bench-101: Towards Reproducible Neural "
    "Architecture Search. ICML 2019."
)
NATS_CITATION = (
    "Dong, Liu, Musial, Gabrys. NATS-Bench: Benchmarking NAS Algorithms for Architecture "
    "Topology and Size. IEEE TPAMI 2021."
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One published file, or folder."""

    name: str
    """What `gnas data fetch` calls it."""
    space: str
    """Key in `gnas.spaces.SPACES`."""
    table: str
    """Name of the table that it converts to."""
    file: str
    """Name of the file or folder in the data folder."""
    content: str
    url: str | None
    """Where it can be downloaded from directly; None where that takes a browser."""
    page: str
    """Where a person finds it."""
    megabytes: int
    """About how large (10^6 bytes)."""
    sha256: str | None
    """None: its publishers give no checksum. Then the size is checked, the md5 that the server
    states, and every record's own crc32c at conversion."""
    licence: str
    citation: str
    is_folder: bool = False
    """Whether it is a folder of NATS-Bench files; otherwise a TFRecord."""


SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        Source(
            name="nasbench101",
            space="nasbench101",
            table="nasbench101",
            file="nasbench_only108.tfrecord",
            content="423,624 cells, 3 runs at 108 epochs",
            url="https://storage.googleapis.com/nasbench/nasbench_only108.tfrecord",
            page="https://github.com/google-research/nasbench",
            megabytes=499,
            sha256=None,
            licence="Apache-2.0",
            citation=NASBENCH101_CITATION,
        ),
        Source(
            name="nasbench101-full",
            space="nasbench101",
            table="nasbench101-full",
            file="nasbench_full.tfrecord",
            content="423,624 cells, 3 runs each at 4, 12, 36 and 108 epochs",
            url="https://storage.googleapis.com/nasbench/nasbench_full.tfrecord",
            page="https://github.com/google-research/nasbench",
            megabytes=1950,
            sha256=None,
            licence="Apache-2.0",
            citation=NASBENCH101_CITATION,
        ),
        Source(
            name="nasbench201",
            space="nasbench201",
            table="nasbench201",
            file="NATS-tss-v1_0-3ffb9-simple",
            content="15,625 cells on three datasets, 12 and 200 epochs",
            url=None,
            page="https://github.com/D-X-Y/NATS-Bench",
            megabytes=2000,
            sha256=None,
            licence="MIT",
            citation=NATS_CITATION,
            is_folder=True,
        ),
    )
}
