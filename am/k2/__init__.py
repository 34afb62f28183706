"""Decoding, alignment and training with k2: batched, on CPU and GPU.

k2 is never needed by the default installation; :mod:`am.k2.engine` alone imports it.
"""
