"""Graph encoders: ``load(name).encode(graphs)`` maps architectures to vectors [N, d]."""

from gnas.encoders.base import Encoder
from gnas.encoders.config import PRESETS, EncoderConfig
from gnas.encoders.nasgem import NASGEMEncoder
from gnas.encoders.storage import encoder_metadata, load, names, save_encoder
from gnas.encoders.training import EncoderQuality, PairQuality, encoder_quality, fit_encoder

__all__ = [
    "PRESETS",
    "Encoder",
    "EncoderConfig",
    "EncoderQuality",
    "NASGEMEncoder",
    "PairQuality",
    "encoder_metadata",
    "encoder_quality",
    "fit_encoder",
    "load",
    "names",
    "save_encoder",
]
