"""Graph encoders: ``load_encoder(name).encode(graphs)`` maps architectures to vectors [N, d]."""

from gnas.encoders.base import Encoder
from gnas.encoders.config import PRESETS, EncoderConfig, encoder_config
from gnas.encoders.graph import GraphEncoder
from gnas.encoders.graph_config import GRAPH_PRESETS, GraphEncoderConfig, graph_preset
from gnas.encoders.nasgem import NASGEMEncoder
from gnas.encoders.pretraining import GraphEncoderQuality, pool_of, pretrain
from gnas.encoders.storage import encoder_metadata, list_encoders, load_encoder, save_encoder
from gnas.encoders.training import EncoderQuality, PairQuality, encoder_quality, fit_encoder

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
