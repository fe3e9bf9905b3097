"""Published files of NAS-Bench-101."""

from __future__ import annotations

from gnas.data.sources import TableSource

CITATION = (
    "Ying, Klein, Christiansen, Real, Murphy, Hutter. NAS-Bench-101: Towards Reproducible Neural "
    "Architecture Search. ICML 2019."
)
READER = "gnas.spaces.nasbench101.tfrecord:read_tfrecord_table"
CHECKER = "gnas.data.tfrecord:check_records"
SOURCES = (
    TableSource(
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
        citation=CITATION,
        reader=READER,
        checker=CHECKER,
    ),
    TableSource(
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
        citation=CITATION,
        reader=READER,
        checker=CHECKER,
    ),
)
"""See `gnas.data.fetch.SOURCES`."""
