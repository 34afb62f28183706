"""Importing this module succeeds where every package a recipe needs is installed."""

import espeakng_loader
import kaldi_decoder
import kaldi_native_fbank
import kaldialign
import kaldifst
import lhotse
import matplotlib
import pyroomacoustics
import safetensors
import soundfile
import tensorboard
import torch
import yaml

__all__ = [
    "espeakng_loader",
    "kaldi_decoder",
    "kaldi_native_fbank",
    "kaldialign",
    "kaldifst",
    "lhotse",
    "matplotlib",
    "pyroomacoustics",
    "safetensors",
    "soundfile",
    "tensorboard",
    "torch",
    "yaml",
]
