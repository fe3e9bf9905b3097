"""Published files of NAS-Bench-201: the topology space of NATS-Bench."""

from __future__ import annotations

from gnas.data.sources import TableSource

CITATION = (
    "Dong, Liu, Musial, Gabrys. NATS-Bench: Benchmarking NAS Algorithms for Architecture "
    "Topology and Size. IEEE TPAMI 2021."
)
SOURCES = (
    TableSource(
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
        citation=CITATION,
        reader="gnas.spaces.nasbench201.nats:read_nats_folder",
        checker="gnas.spaces.nasbench201.pickles:check_nats_folder",
        is_folder=True,
    ),
)
"""See `gnas.data.fetch.SOURCES`."""
