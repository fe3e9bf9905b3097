"""Graph encoders: ``load_encoder(name).encode(graphs)`` maps architectures to vectors [N, d]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.encoders.base import Encoder as Encoder
    from gnas.encoders.config import PRESETS as PRESETS
    from gnas.encoders.config import EncoderConfig as EncoderConfig
    from gnas.encoders.config import encoder_config as encoder_config
    from gnas.encoders.graph import GraphEncoder as GraphEncoder
    from gnas.encoders.graph_config import GRAPH_PRESETS as GRAPH_PRESETS
    from gnas.encoders.graph_config import GraphEncoderConfig as GraphEncoderConfig
    from gnas.encoders.graph_config import graph_preset as graph_preset
    from gnas.encoders.nasgem import NASGEMEncoder as NASGEMEncoder
    from gnas.encoders.pretraining import GraphEncoderQuality as GraphEncoderQuality
    from gnas.encoders.pretraining import pool_of as pool_of
    from gnas.encoders.pretraining import pretrain as pretrain
    from gnas.encoders.storage import encoder_metadata as encoder_metadata
    from gnas.encoders.storage import list_encoders as list_encoders
    from gnas.encoders.storage import load_encoder as load_encoder
    from gnas.encoders.storage import save_encoder as save_encoder
    from gnas.encoders.training import EncoderQuality as EncoderQuality
    from gnas.encoders.training import PairQuality as PairQuality
    from gnas.encoders.training import encoder_quality as encoder_quality
    from gnas.encoders.training import fit_encoder as fit_encoder

_HOME = {
    "Encoder": "gnas.encoders.base",
    "EncoderConfig": "gnas.encoders.config",
    "EncoderQuality": "gnas.encoders.training",
    "GRAPH_PRESETS": "gnas.encoders.graph_config",
    "GraphEncoder": "gnas.encoders.graph",
    "GraphEncoderConfig": "gnas.encoders.graph_config",
    "GraphEncoderQuality": "gnas.encoders.pretraining",
    "NASGEMEncoder": "gnas.encoders.nasgem",
    "PRESETS": "gnas.encoders.config",
    "PairQuality": "gnas.encoders.training",
    "encoder_config": "gnas.encoders.config",
    "encoder_metadata": "gnas.encoders.storage",
    "encoder_quality": "gnas.encoders.training",
    "fit_encoder": "gnas.encoders.training",
    "graph_preset": "gnas.encoders.graph_config",
    "list_encoders": "gnas.encoders.storage",
    "load_encoder": "gnas.encoders.storage",
    "pool_of": "gnas.encoders.pretraining",
    "pretrain": "gnas.encoders.pretraining",
    "save_encoder": "gnas.encoders.storage",
}
__all__ = [
    "GRAPH_PRESETS",
    "PRESETS",
    "Encoder",
    "EncoderConfig",
    "EncoderQuality",
    "GraphEncoder",
    "GraphEncoderConfig",
    "GraphEncoderQuality",
    "NASGEMEncoder",
    "PairQuality",
    "encoder_config",
    "encoder_metadata",
    "encoder_quality",
    "fit_encoder",
    "graph_preset",
    "list_encoders",
    "load_encoder",
    "pool_of",
    "pretrain",
    "save_encoder",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
