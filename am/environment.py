"""Importing this module succeeds where every package a recipe needs is installed."""

import espeakng_loader
import kaldi_decoder
import kaldi_native_fbank
import kaldi_native_io
import kaldialign
import kaldifst
import lhotse
import matplotlib
import praatio
import pyroomacoustics
import safetensors
import sentencepiece
import soundfile
import tensorboard
import torch
import yaml

__all__ = [
    "espeakng_loader",
    "kaldi_decoder",
    "kaldi_native_fbank",
    "kaldi_native_io",
    "kaldialign",
    "kaldifst",
    "lhotse",
    "matplotlib",
    "praatio",
    "pyroomacoustics",
    "safetensors",
    "sentencepiece",
    "soundfile",
    "tensorboard",
    "torch",
    "yaml",
]
