"""Kernels of a supernet's training step: in C for CPUs, in plain PyTorch for everything else."""

from gnas.fused.choice import kernels_for
from gnas.fused.features import Block, FeatureMap, Kernels
from gnas.fused.native import native_problem

__all__ = ["Block", "FeatureMap", "Kernels", "kernels_for", "native_problem"]
