"""Megahour's package: the library ``am`` and the tools' shared command line."""

from pathlib import Path

from setuptools import find_packages, setup

# For --executor dask, slurm and sge.
CLUSTER = ["dask[distributed]>=2024.8", "dask-jobqueue>=0.9"]

setup(
    name="megahour",
    version="0.1.0",
    description="A Kaldi-style recipe toolkit for teacher-student acoustic models",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["am", "am.*"]),
    package_data={"am.corpus": ["*.yaml"], "am.report": ["*.css"]},
    py_modules=["commandline"],
    install_requires=[
        "torch>=2.1",
        "numpy>=1.26",
        "scipy>=1.10",
        "lhotse>=1.33,<2",
        "urllib3>=2",  # lhotse imports it without requiring it
        "kaldifst>=1.7,<2",
        "kaldi-decoder>=0.2,<1",
        "kaldi-native-fbank>=1.20,<2",
        "kaldi-native-io>=1.20,<2",
        "kaldialign>=0.9",
        "espeakng-loader>=0.2",
        "pyroomacoustics>=0.7",
        "soundfile>=0.12",
        "safetensors>=0.4",
        "PyYAML>=6",
        "tqdm>=4.60",
        "tensorboard>=2.14",
        "matplotlib>=3.7",
        "praatio>=6.2,<7",
        "sentencepiece>=0.2,<1",
    ],
    extras_require={
        "test": [
            "pytest>=8",
            "hypothesis>=6",
            "kaldi-hmm-gmm>=1.1.4",  # Kaldi's own code, for tests/kaldi
            "ruff",
            "mypy",
            "types-PyYAML",
            "types-tqdm",
            *CLUSTER,
        ],
        "cluster": CLUSTER,
    },
)
