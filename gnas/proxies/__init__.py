"""Zero-cost proxies: scores of untrained networks that correlate with their accuracy."""

from gnas.proxies.measure import PROXIES, ProxyConfig, compute_proxies, small_network
from gnas.proxies.naswot import naswot
from gnas.proxies.store import ProxyStore
from gnas.proxies.synflow import synflow

__all__ = [
    "PROXIES",
    "ProxyConfig",
    "ProxyStore",
    "compute_proxies",
    "naswot",
    "small_network",
    "synflow",
]
