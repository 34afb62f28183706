"""Sharded data: features or audio with their labels in lhotse's Shar format, read in order.

For corpora that neither memory nor the local disk holds: shards lie in a folder, on an HTTP server
or in an object store, and are read one after the other, each as a whole.
"""
