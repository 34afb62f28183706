"""Neural acoustic models: network, losses, training."""

from am.nnet.network import LoadedNetwork, load_network

__all__ = ["LoadedNetwork", "load_network"]
