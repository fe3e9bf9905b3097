"""Kernels of the supernet's training step: in C for CPUs, in plain PyTorch for everything else."""

from gnas.models.fused.features import Block, Features, Kernels
from gnas.models.fused.native import native_problem

__all__ = ["Block", "Features", "Kernels", "native_problem"]
