"""Configurations of the experiments on benchmark tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field

from gnas.config import Count, Seed, configuration, split_settings
from gnas.data.images.config import SearchImagesConfig
from gnas.data.images.names import ProxyDataset
from gnas.encoders.config import PRESETS, check_encoder
from gnas.errors import ConfigError
from gnas.predictors.names import check_predictor
from gnas.search.settings import NASGEM_POOL, SETTINGS, check_searcher
from gnas.search.toponas.config import BASELINES, ToponasConfig
from gnas.search.toponas.plan import ToponasPlan, plan_search
from gnas.spaces.names import table_images

Images = Literal["cifar10", "cifar100", "imagenet16-120"]
"""Image datasets of NAS-Bench-201."""
DEFAULT_IMAGES: Images = "cifar10"
"""Image dataset of the accuracies unless another one is asked for."""
Samples = tuple[Annotated[int, Field(ge=2, le=10_000_000)], ...]
"""Numbers of labelled cells."""
Repetitions = Annotated[int, Field(ge=1, le=100_000)]
"""Number of repetitions with different seeds."""
MIN_CANDIDATES = 10
"""Minimum number of cells to rank."""
SAMPLES = (39, 78, 156, 469, 781, 1563)
"""Sample sizes on NAS-Bench-201, at which published predictors are compared."""


def encoders_of(space: str) -> tuple[str, ...]:
    """Names of the shipped encoders of a space."""
    return tuple(name for name, make in PRESETS.items() if make().space == space)


@configuration
class RankingBench:
    """Options that every experiment on ranking the cells of a table has.

    Raises:
        ConfigError: a field is outside its range.
    """

    table: str
    """A file, or a name for `gnas.data.load_table`."""
    samples: Samples
    """Numbers of labelled cells that predictors are trained on, each its own experiment."""
    seeds: Repetitions = 20
    """Repetitions, each with its own samples, which all predictors share."""
    encoders: tuple[str, ...] = ()
    """Names of shipped encoders or files of one's own (``.safetensors``); may be empty. The
    perceptron reads their embeddings; graph networks start from those that are graph encoders."""
    predictors: tuple[str, ...] | None = None
    """Predictors that take part, in this order: keys of `gnas.predictors.PREDICTORS`, or
    ``FILE.py:NAME`` of one's own. None: those of the published tables and the baselines."""
    data_dir: str | None = None
    """Folder of tables to look in first."""
    seed: Seed = 0
    """Seed of samples, candidates and predictors."""

    def __post_init__(self) -> None:
        _check_different("samples", self.samples)
        _check_encoders(self.encoders)
        _check_predictors(self.predictors)


@configuration
class NASBench101Bench(RankingBench):
    """The experiment of NASGEM's figure 4.

    Raises:
        ConfigError: a field is outside its range.
    """

    table: str = "nasbench101"
    samples: Samples = (500,)
    seeds: Repetitions = 10
    encoders: tuple[str, ...] = encoders_of("nasbench101")
    pool: Annotated[int, Field(ge=MIN_CANDIDATES, le=10_000_000)] = NASGEM_POOL
    """Maximum number of candidate cells; from a larger table, this many are drawn once."""
    ops: Literal["vary", "fixed"] = "vary"
    """"fixed": topology only, see `one_operation_list`."""
    networks: bool = False
    """Whether to add the default predictor with its graph networks, which takes minutes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_named_alone(self.predictors, self.networks)


@configuration
class NASBench201Bench(RankingBench):
    """The experiment of published predictors on NAS-Bench-201: rank all cells after a few.

    Raises:
        ConfigError: a field is outside its range.
    """

    table: str = "nasbench201"
    samples: Samples = SAMPLES
    seeds: Repetitions = 10
    encoders: tuple[str, ...] = encoders_of("nasbench201")
    dataset: Images = DEFAULT_IMAGES
    """Images of the default columns: validation accuracy after the longest training."""
    cells: Literal["all", "clean"] = "all"
    """"clean": only the 9,445 cells of which every edge carries data from input to output."""
    train_column: str | None = None
    """Column of the training scores."""
    test_column: str | None = None
    """Column of the reference scores."""
    networks: bool = False
    """Whether to add the default predictor with its graph networks, which takes minutes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_named_alone(self.predictors, self.networks)


@configuration
class NASGEMBench(RankingBench):
    """The experiment on NASGEM's claims: embeddings help a predictor and smooth the score.

    Raises:
        ConfigError: a field is outside its range.
    """

    table: str = "nasgem-mini"
    """A file, or a name for `gnas.data.load_table`; with validation and test accuracies, MACs and
    numbers of parameters. The default ships with the package and is self-made."""
    samples: Samples = (50, 100, 200, 400)
    encoders: tuple[str, ...] = encoders_of("nasgem")
    equal_macs: bool = False
    """Whether to subtract the trend of accuracy over MACs first."""


@configuration
class DARTSBench(RankingBench):
    """Predictors and proxies on measured accuracies of DARTS' cells.

    Raises:
        ConfigError: a field is outside its range.
    """

    samples: Samples = (25, 50, 100)
    encoders: tuple[str, ...] = encoders_of("toponas")
    run_deviation: Annotated[float, Field(ge=0, lt=0.1)] = 0.0009
    """Standard deviation of the test accuracy of one cell's runs, for the ceiling. The default is
    that of ten runs of one cell (Liu et al., DARTS, ICLR 2019, Table 1: 2.76 ± .09% error)."""


@configuration
class PredictorsBench(RankingBench):
    """The experiment on a table of any space.

    Raises:
        ConfigError: a field is outside its range.
    """

    space: str
    """Space of the table: a key of `gnas.spaces.SPACES`, or ``FILE.py:NAME``."""
    samples: Samples = (100,)
    dataset: str | None = None
    """Images of the default columns, where a table has accuracies on several."""
    train_column: str | None = None
    """Column of the training scores; None takes validation accuracies, else test accuracies."""
    test_column: str | None = None
    """Column of the reference scores; None takes test accuracies, else validation accuracies."""


@configuration
class SearchBench:
    """The experiment on sample efficiency: queries until the best architecture of a table.

    Raises:
        ConfigError: a field is outside its range.
        MissingDataError: there is no such file of a searcher.
    """

    space: str
    """Space of the table; see `gnas.spaces.load_space`."""
    searchers: tuple[str, ...] = tuple(SETTINGS)
    """Keys of `gnas.search.samplers.SEARCHERS`, or ``FILE.py:NAME`` of one's own."""
    budget: Count = 150
    """Query budget of one search."""
    seeds: Repetitions = 100
    """Number of searches per searcher."""
    dataset: str | None = None
    """Images of the accuracies, where a table has several; None takes the first of
    `Space.table_images`."""
    epochs: Count | None = None
    """Training epochs of the accuracies; None takes the longest training."""
    table: str | None = None
    """A file, or a name for `gnas.data.load_table`; None takes the space's."""
    data_dir: str | None = None
    """Folder of tables to look in first."""
    seed: Seed = 0
    """Seed of the first search; the others use the following seeds."""

    def __post_init__(self) -> None:
        known = table_images()
        if self.table is None and self.space not in known:
            raise ConfigError(
                f"table must be given for space '{self.space:.80}', since only {', '.join(known)} "
                "have published ones, but got none"
            )
        choices = known.get(self.space)
        if choices and self.dataset is not None and self.dataset not in choices:
            raise ConfigError(
                f"dataset of {self.space} must be one of {[*choices]}, but got '{self.dataset}'"
            )
        _check_different("searchers", self.searchers)
        for name in self.searchers:
            check_searcher(name)


@configuration
class TopologyBench:
    """The experiment on topologies: accuracies averaged over operations."""

    dataset: Images = DEFAULT_IMAGES
    """Images of the accuracies."""
    split: Literal["test", "val"] = "test"
    """Split of the accuracies."""
    epochs: Count | None = None
    """Training epochs of the accuracies; None takes the longest training."""
    table: str = "nasbench201"
    """A file, or a name for `gnas.data.load_table`."""
    data_dir: str | None = None
    """Folder of tables to look in first."""


RANDOM, DARTS = "random", "darts"
METHODS: dict[str, dict[str, Any] | None] = {
    "darts": {"baseline": "darts"},
    "topo-arbitrary": {},
    RANDOM: None,
    "topo-fixed": {"topology": "fixed"},
    "gdas": {"baseline": "gdas"},
    "topo-gumbel": {"relaxation": "gumbel"},
    "drnas": {"baseline": "drnas"},
    "topo-dirichlet": {"relaxation": "dirichlet"},
    "pc-darts": {"baseline": "pc-darts"},
    "milenas": {"baseline": "milenas"},
    "topo-milenas": {"method": "milenas"},
    "topo-input": {"topology": "fixed", "mode": "input"},
    "snas": {"baseline": "snas"},
    "beta-darts": {"baseline": "beta-darts"},
    "darts-es": {"baseline": "darts-es"},
    "darts-second": {"baseline": "darts", "order": 2},
    "topo-second": {"order": 2},
}
"""Arguments of `plan_search` for each method, in the order of the runs; None draws a cell
uniformly from the space instead of searching."""


@configuration
class SupernetBench:
    """The experiment on differentiable searches, judged by a table.

    Raises:
        ConfigError: a field is outside its range.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    """Keys of `METHODS`."""
    seeds: Repetitions = 5
    """Number of searches per method."""
    seed: Seed = 0
    """Seed of the first search; the others use the following seeds."""
    dataset: ProxyDataset = "digits"
    """Images to search on."""
    data_dir: str | None = None
    """Folder of the images."""
    preset: str | None = None
    """Size of the searches: "cpu" or "paper"."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a search or of its images that differ from the preset, in all methods; those that
    are fields of this experiment or follow from it are none."""
    truth: Images = DEFAULT_IMAGES
    """Image dataset of the judging accuracies."""
    table: str = "nasbench201"
    """A file, or a name for `gnas.data.load_table`."""
    table_dir: str | None = None
    """Folder of tables to look in first."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown or not self.methods or len(set(self.methods)) < len(self.methods):
            raise ConfigError(
                f"methods must be different ones of {[*METHODS]}, but got {[*self.methods]}"
            )
        self.images()
        for method in self.methods:
            for name in self.settings.keys() & _decided(method):
                raise ConfigError(
                    f"{name} is what makes the method '{method}' that method; leave it out of the "
                    "settings, or choose other methods"
                )

    def images(self) -> SearchImagesConfig:
        """Images of every search."""
        own = ("dataset", "data_dir", "seed", "space")
        _, seeing = split_settings(self.settings, ToponasConfig, SearchImagesConfig, own=own)
        return SearchImagesConfig(
            dataset=self.dataset, data_dir=self.data_dir, seed=self.seed, **seeing
        )

    def plan(self, method: str, seed: int) -> ToponasPlan:
        """Search plan of a method.

        Args:
            method: A key of `METHODS`.
            seed: Seed of the search.

        Raises:
            ConfigError: unknown settings or impossible values.
        """
        return plan_search(
            self.dataset,
            space="nasbench201",
            size=self.preset,
            data_dir=self.data_dir,
            **{**(METHODS[method] or {}), **self.settings, "seed": seed},
        )


def _decided(method: str) -> set[str]:
    """Settings that a method decides: those by which methods differ, and its own."""
    by_methods = {name for own in METHODS.values() for name in own or ()}
    baseline = (METHODS[method] or {}).get("baseline", "")
    return by_methods | BASELINES.get(baseline, {}).keys()


def _check_encoders(names: tuple[str, ...]) -> None:
    """Raise if an encoder is unknown or named twice."""
    _check_different("encoders", names, empty=True)
    for name in names:
        check_encoder(name)


def _check_predictors(names: tuple[str, ...] | None) -> None:
    """Raise if a predictor is unknown or named twice."""
    if names is not None:
        _check_different("predictors", names)
        for name in names:
            check_predictor(name)


def _check_named_alone(predictors: tuple[str, ...] | None, networks: bool) -> None:
    """Raise if graph networks are asked for beside named predictors."""
    if networks and predictors is not None:
        raise ConfigError(
            "networks must be off where predictors are named; name 'default-networks' among them"
        )


def _check_different(name: str, items: Sequence[object], *, empty: bool = False) -> None:
    if not items and not empty:
        raise ConfigError(f"{name} must be at least one, but got none")
    if len(set(items)) < len(items):
        raise ConfigError(f"{name} must differ, but got {[*items]}")
