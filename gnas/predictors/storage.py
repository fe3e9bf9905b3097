"""Fitted predictors on disk: what they were made with, their samples, weights of encoders.

A file is safetensors with a header of text. Reading it runs no code: classes are looked up by name
among those of gnas, scikit-learn's regressors and the class that the caller asked for.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from torch import Tensor

import gnas.models
from gnas.config import from_record
from gnas.data.files import FORMAT_ERRORS, atomic_write, utf8_path
from gnas.encoders import GraphEncoder, NASGEMEncoder
from gnas.encoders.paths import PathStatistics
from gnas.encoders.storage import encoder_from_tensors, encoder_tensors
from gnas.errors import ConfigError, DataError, GnasError, MissingDataError, UnsupportedError
from gnas.predictors import average, baselines, calibrated, gaussian_process, graph_network, mlp
from gnas.predictors.base import Predictor
from gnas.predictors.channels import ChannelStatistics
from gnas.predictors.embedding import Embedding, FeatureUnion
from gnas.predictors.features import NumParams, OneHot, OneHotOps
from gnas.predictors.graph_network import PackedGraphs
from gnas.predictors.random_walks import RandomWalkStatistics
from gnas.predictors.wl import WLLabels
from gnas.predictors.zero_cost import ZeroCost
from gnas.proxies import ProxyConfig
from gnas.spaces import Space, space_of_record, space_record
from gnas.spaces.vocabulary import Vocabulary

FORMAT = "gnas-predictor"
MAX_DEPTH = 20
"""Parts within parts of a predictor."""
MAX_PARAMETER = 100_000
"""Largest parameter of a part that is read, as a file must not make a fit that never ends."""
_CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        average.Average,
        baselines.BoostedTrees,
        baselines.Forest,
        baselines.GaussianProcess,
        baselines.IdentityPredictor,
        baselines.Regressor,
        calibrated.Calibrated,
        graph_network.GraphNetwork,
        graph_network.OnPackedGraphs,
        mlp.MLP,
        gaussian_process.ARDGaussianProcess,
        gaussian_process.WLGaussianProcess,
        ChannelStatistics,
        Embedding,
        PackedGraphs,
        FeatureUnion,
        NumParams,
        OneHot,
        OneHotOps,
        PathStatistics,
        ProxyConfig,
        Vocabulary,
        WLLabels,
        RandomWalkStatistics,
        ZeroCost,
    )
}
"""Predictors, features and their settings that a file may name."""
_COUNTS = ("nasbench101_num_params", "nasbench201_num_params")
"""Functions of `gnas.models` that a file may name."""


def save_predictor(predictor: Predictor, path: Path) -> None:
    """Write a fitted predictor, whole or not at all; see `Predictor.save`.

    Args:
        predictor: A fitted one.
        path: The file; its name ends in ``.safetensors``.

    Raises:
        ConfigError: the predictor is not fitted, or the name has another ending.
        UnsupportedError: something that it was made with cannot be written down.
        DataError: the file cannot be written.
    """
    _check_path(path)
    rows, scores = predictor.training_data()
    writer = _Writer()
    header = {
        "format": FORMAT,
        "predictor": json.dumps(writer.record(predictor)),
        "name": predictor.name,
    }
    tensors = {
        **writer.tensors,
        "rows": torch.from_numpy(np.ascontiguousarray(rows)),
        "scores": torch.from_numpy(np.ascontiguousarray(scores)),
    }
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(tensors, header))


def load_predictor(
    path: Path, kind: type[Predictor] = Predictor, *, space: Space | None = None
) -> Predictor:
    """Read a fitted predictor; see `Predictor.load`.

    Args:
        path: A file of `save_predictor`.
        kind: Class that the predictor must be of; it may be one of a user's own.
        space: The space of the architectures, where that is a user's own.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is damaged, or holds a predictor of another class.
    """
    _check_path(path)
    header, tensors = _read(path)
    try:
        if header.get("format") != FORMAT:
            raise ConfigError(f"its format is {header.get('format')!r:.40}, not {FORMAT!r}")
        reader = _Reader(tensors, kind, space)
        predictor = reader.value(json.loads(header["predictor"]))
        if not isinstance(predictor, kind):
            raise ConfigError(f"it is of class {type(predictor).__name__}, not {kind.__name__}")
        rows, scores = tensors["rows"].numpy(), tensors["scores"].numpy()
        return predictor.fit_features(rows, scores)
    except (*FORMAT_ERRORS, GnasError, RuntimeError) as error:
        raise DataError(
            f"{path} must hold a predictor of this version of gnas: {error}"
        ) from error


class _Writer:
    """Writer of what predictors are made with as JSON, and of the weights of encoders."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._encoders = 0

    def record(self, value: Any) -> Any:
        """JSON record of a value; `_Reader.value` is the inverse.

        Raises:
            UnsupportedError: there is none.
        """
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, list | tuple):
            return {"kind": "sequence", "items": [self.record(one) for one in value]}
        if isinstance(value, NASGEMEncoder | GraphEncoder):
            metadata, tensors = encoder_tensors(value)
            prefix, self._encoders = f"encoder.{self._encoders}.", self._encoders + 1
            self.tensors |= {prefix + key: tensor for key, tensor in tensors.items()}
            return {"kind": "encoder", "prefix": prefix, "metadata": metadata}
        if isinstance(value, Space):
            return {"kind": "space", "space": space_record(value)}
        if isinstance(value, Predictor):
            params = value.get_params(deep=False)
            return self._object("predictor", value, params)
        if isinstance(value, BaseEstimator):
            return self._object("estimator", value, value.get_params(deep=False))
        if type(value) in _CLASSES.values() and dataclasses.is_dataclass(value):
            fields = [one for one in dataclasses.fields(value) if one.init and one.compare]
            return self._object("part", value, {f.name: getattr(value, f.name) for f in fields})
        for name in _COUNTS:
            if value is getattr(gnas.models, name):
                return {"kind": "count", "name": name}
        raise UnsupportedError(
            f"a predictor's parts must be values, spaces and classes of gnas or scikit-learn to "
            f"be saved, but got {value!r:.80}"
        )

    def _object(self, kind: str, value: Any, params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "kind": kind,
            "class": type(value).__name__,
            "params": {name: self.record(one) for name, one in params.items()},
        }


class _Reader:
    """Reader of what `_Writer` wrote.

    Args:
        tensors: Tensors of the file.
        kind: A class that may be named beside those of gnas.
        space: The space, where that is a user's own.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], kind: type[Predictor], space: Space | None
    ) -> None:
        self._tensors = tensors
        self._classes = {**_CLASSES, kind.__name__: kind}
        self._space = space

    def value(self, record: Any, depth: int = 0) -> Any:
        """The value of a record."""
        if depth > MAX_DEPTH:
            raise ConfigError(f"its parts lie more than {MAX_DEPTH} deep")
        if not isinstance(record, dict):
            if isinstance(record, list):
                raise ConfigError("a list must be a sequence")
            return record
        readers: dict[str, Callable[[dict[str, Any], int], Any]] = {
            "sequence": self._sequence,
            "encoder": self._encoder,
            "space": self._of_space,
            "predictor": self._object,
            "part": self._object,
            "estimator": self._estimator,
            "count": self._count,
        }
        kind = record.get("kind")
        if kind not in readers:
            raise ConfigError(f"it has a part of unknown kind {kind!r:.40}")
        return readers[kind](record, depth + 1)

    def _sequence(self, record: dict[str, Any], depth: int) -> tuple[Any, ...]:
        return tuple(self.value(one, depth) for one in record["items"])

    def _encoder(self, record: dict[str, Any], depth: int) -> NASGEMEncoder | GraphEncoder:
        prefix = record["prefix"]
        own = {
            key.removeprefix(prefix): tensor
            for key, tensor in self._tensors.items()
            if key.startswith(prefix)
        }
        return encoder_from_tensors(record["metadata"], own)

    def _of_space(self, record: dict[str, Any], depth: int) -> Space:
        return space_of_record(record["space"], self._space)

    def _params(self, record: dict[str, Any], depth: int) -> dict[str, Any]:
        params = {name: self.value(one, depth) for name, one in record["params"].items()}
        for name, value in params.items():
            if name != "random_state" and isinstance(value, int) and value > MAX_PARAMETER:
                raise ConfigError(f"{name} must be at most {MAX_PARAMETER}, but is {value!s:.20}")
        return params

    def _object(self, record: dict[str, Any], depth: int) -> Any:
        name = record["class"]
        if name not in self._classes:
            raise ConfigError(
                f"its class {name!r:.60} is none of gnas; call `load` of the class itself"
            )
        params = self._params(record, depth)
        if name == ProxyConfig.__name__:
            return from_record(ProxyConfig, params)
        return self._classes[name](**params)

    def _estimator(self, record: dict[str, Any], depth: int) -> Any:
        from sklearn.utils import all_estimators

        known = {**dict(all_estimators()), "Pipeline": Pipeline}
        if record["class"] not in known:
            raise ConfigError(f"{record['class']!r:.60} is no estimator of scikit-learn")
        params = self._params(record, depth)
        if params.get("memory") is not None:
            raise ConfigError("its pipeline has a memory, from which joblib would read pickles")
        if "steps" in params:
            params["steps"] = list(params["steps"])
        return known[record["class"]](**params)

    def _count(self, record: dict[str, Any], depth: int) -> Any:
        if record["name"] not in _COUNTS:
            raise ConfigError(f"unknown count {record['name']!r:.60}")
        return getattr(gnas.models, record["name"])


def _check_path(path: Path) -> None:
    if path.suffix != ".safetensors":
        raise ConfigError(f"a predictor's file must end in .safetensors, but got {path}")


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a file."""
    if not path.is_file():
        raise MissingDataError(f"predictor not found: {path} must be a file of `save`")
    try:
        with utf8_path(path) as readable, safe_open(readable, framework="pt") as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path} must be a file of `save`, but is damaged: {error}") from error
