#!/usr/bin/env python3
"""Speed of the libraries that compute features, on the same audio, in one run.

kaldi-native-fbank, kaldifeat (where it is installed) and lhotse's own torch extractor compute LFBE
and MFCC with the settings of conf/, utterance by utterance and some minutes at a time.  The rows
take turns, and the fastest of the rounds counts.  Audio is in memory; features come back to it, as
they must to be stored.  x real time: seconds of audio a second; the ratio is the time of
kaldi-native-fbank over a row's, and a difference the largest of any value to its features.

Example, after the recipe:

    benchmarks/features.py data/labeled
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from lhotse import CutSet, Fbank, FbankConfig, Mfcc, MfccConfig
from lhotse.features.base import FeatureExtractor
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.config import load_settings
from am.features.compute import SECONDS_A_BATCH
from am.features.engines import kaldifeat_problem
from am.features.extractors import SETTINGS_OF_KIND, LfbeSettings, MfccSettings, make_extractor
from am.features.feature_data import CUTS_NAME
from am.nnet.device import pick_device

ROOT = Path(__file__).resolve().parents[1]
Batches = list[list[Tensor]]
Compute = Callable[[list[Tensor]], Sequence[Tensor]]


def lhotse_extractor(settings: LfbeSettings, device: torch.device) -> FeatureExtractor:
    """lhotse's extractor of the same features."""
    shared = {
        "sampling_rate": settings.sampling_rate,
        "frame_length": settings.frame_length,
        "frame_shift": settings.frame_shift,
        "num_filters": settings.num_mel_bins,
        "low_freq": settings.low_frequency,
        "high_freq": settings.high_frequency,
        "preemph_coeff": settings.preemphasis,
        "window_type": settings.window_type,
        "device": str(device),
    }
    if not isinstance(settings, MfccSettings):
        return Fbank(FbankConfig(**shared))
    cepstra = {"num_ceps": settings.num_cepstra, "cepstral_lifter": settings.cepstral_lifter}
    return Mfcc(MfccConfig(**shared, **cepstra))


def engines(settings: LfbeSettings, device: torch.device) -> dict[str, Compute]:
    """Each library's way from audio to features."""
    found: dict[str, Compute] = {}
    for name in ("kaldi_native_fbank", "kaldifeat"):
        if name == "kaldifeat" and kaldifeat_problem() is not None:
            print(kaldifeat_problem(), file=sys.stderr)
            continue
        values = {**settings.to_dict(), "engine": name}
        found[name] = make_extractor(type(settings)(**values), device).compute
    theirs = lhotse_extractor(settings, device)

    found["lhotse"] = lambda waves: theirs.extract_batch(waves, settings.sampling_rate)
    return found


def computed(compute: Compute, batches: Batches) -> list[Tensor]:
    """Features of all batches, in memory."""
    return [matrix.cpu() for batch in batches for matrix in compute(batch)]


def load_batches(data: Path, settings: LfbeSettings, seconds: float) -> Batches:
    """So many seconds of a data folder's audio, in batches as am.features.compute makes them."""
    batches: Batches = [[]]
    checked = make_extractor(settings).checked
    total = left = seconds
    for cut in CutSet.from_jsonl_lazy(data / CUTS_NAME):
        if left <= 0.0:
            break
        batches[-1].append(torch.from_numpy(checked(cut.load_audio(), cut.sampling_rate)))
        left -= cut.duration
        if total - left >= len(batches) * SECONDS_A_BATCH:
            batches.append([])
    return [batch for batch in batches if batch]


def measure(settings: LfbeSettings, batches: Batches, options: argparse.Namespace) -> list[str]:
    """Rows of the table, for one kind of features."""
    device = pick_device(options.device)
    alone = [[wave] for batch in batches for wave in batch]
    ways = engines(settings, device)
    jobs = {
        (name, how): (ways[name], given)
        for name in ways
        for how, given in (("one by one", alone), ("batches", batches))
    }
    expected = computed(ways["kaldi_native_fbank"], alone)
    fastest = dict.fromkeys(jobs, float("inf"))
    difference = dict.fromkeys(jobs, 0.0)
    for _ in range(options.rounds):
        for key, (compute, given) in jobs.items():
            started = time.perf_counter()
            features = computed(compute, given)
            fastest[key] = min(fastest[key], time.perf_counter() - started)
            difference[key] = max(
                float((ours - theirs).abs().max())
                for ours, theirs in zip(features, expected, strict=True)
            )
    audio = sum(len(wave) for (wave,) in alone) / settings.sampling_rate
    reference = fastest["kaldi_native_fbank", "one by one"]
    kind = "MFCC" if isinstance(settings, MfccSettings) else "LFBE"
    return [
        f"| {kind} | {name} | {how} | {audio / seconds:.0f} | {reference / seconds:.2f} "
        f"| {difference[name, how]:.1e} |"
        for (name, how), seconds in fastest.items()
    ]


def main() -> None:
    """Parse the options and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of audio (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (%(default)s)")
    parser.add_argument("data", type=Path, help="a data folder")
    if len(sys.argv) == 1:
        parser.print_help()
        sys.exit(1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| features | library | audio | x real time | ratio | difference |")
    print("| --- | --- | --- |" + " ---: |" * 3)
    for kind, settings_class in SETTINGS_OF_KIND.items():
        settings = load_settings(settings_class, ROOT / "conf" / f"{kind}.yaml")
        batches = load_batches(options.data, settings, options.minutes * 60.0)
        print(*measure(settings, batches, options), sep="\n", flush=True)


if __name__ == "__main__":
    main()
