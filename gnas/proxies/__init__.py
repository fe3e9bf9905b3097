"""Zero-cost proxies: what an untrained network says about its accuracy, in milliseconds."""

from gnas.proxies.measure import PROXIES, ProxyConfig, measure, small_network
from gnas.proxies.naswot import naswot
from gnas.proxies.store import ProxyStore
from gnas.proxies.synflow import synflow

__all__ = ["PROXIES", "ProxyConfig", "ProxyStore", "measure", "naswot", "small_network", "synflow"]
