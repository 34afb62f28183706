"""Distributed training: several processes, perhaps on several machines, train one model."""
