"""The embedded corpus: speech, transcripts, lexicon and language-model text.

Laid out as Kaldi-style data folders::

    labeled unlabeled dev test_clean test_noisy test_very_noisy   wav.scp utt2spk utt2condition
                                              settings.json; text, but not of unlabeled
    audio/SPLIT/SPEAKER/UTTERANCE.flac        16 kHz, mono
    lexicon.txt lm_text.txt
    scoring_only/unlabeled_text               what the unlabelled speech says: for scoring alone
    speakers.tsv                              each speaker's espeak-ng voice
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

from am.corpus.espeak import EspeakProcess
from am.corpus.grammar import Grammar
from am.corpus.lexicon import make_lexicon
from am.corpus.render import Rendering, RenderPool, Utterance
from am.corpus.settings import CorpusSettings, TrainingPart
from am.corpus.sound_bank import SIDES, write_sound_bank
from am.corpus.voices import Voice, cast_voices
from am.manifests.source_folder import SourceRow, write_source_folder, write_table
from am.progress import track

log = logging.getLogger(__name__)

SPLITS = ("labeled", "unlabeled", "dev", "test")
SIDE_OF_SPLIT = {"labeled": "train", "unlabeled": "train", "dev": "dev", "test": "test"}
LEXICON_SENTENCES = 5000


def make_corpus(
    settings: CorpusSettings, seed: int, jobs: int, output: Path, final_place: Path
) -> None:
    """Build the whole corpus in ``output``.

    The same settings and seed give the same bytes, whatever ``jobs``.

    Args:
        final_place: where ``output`` will be renamed to; ``wav.scp`` names files there.

    Raises:
        InputError: the settings contradict themselves.
    """
    settings.check()
    # A killed run with more jobs may have rendered further ahead than this one will.
    shutil.rmtree(output / "audio", ignore_errors=True)
    grammar = Grammar.embedded()
    counts = {split: getattr(settings, split).voices for split in SPLITS}
    counts |= {f"babble {side}": settings.noise.babble_voices for side in SIDES}
    voices = cast_voices(counts, seed)
    _write_speakers(voices, output / "speakers.tsv")
    _write_lexicon_and_text(grammar, settings.lm_sentences, seed, output)
    with tempfile.TemporaryDirectory(prefix="sound-bank-") as bank:
        for side in SIDES:
            talkers = voices[f"babble {side}"]
            write_sound_bank(Path(bank), side, talkers, grammar, settings.noise, seed)
        with RenderPool(Path(bank), settings.noise, jobs) as pool:
            for split in SPLITS:
                part = getattr(settings, split)
                audio = output / "audio"
                utterances = plan(split, settings, grammar, voices[split], seed, audio)
                folders = _render_split(pool, utterances, split, part.minutes)
                for name, rows in folders.items():
                    _write_data_folder(output, name, rows, final_place)
                    # The tables alone do not tell that settings of the audio changed.
                    made_with = json.dumps({**asdict(settings), "seed": seed}, indent=1)
                    (output / name / "settings.json").write_text(made_with)


def plan(
    split: str,
    settings: CorpusSettings,
    grammar: Grammar,
    voices: Sequence[Voice],
    seed: int,
    audio: Path,
) -> Iterator[Utterance]:
    """The utterances of a split, without end: sentences, voices in turn, conditions."""
    side = SIDE_OF_SPLIT[split]
    generator = random.Random(f"{split} {seed}")
    for index, text in enumerate(grammar.sentences(side, f"{split} text {seed}")):
        voice = voices[index % len(voices)]
        utterance_id = f"{voice.speaker}-{split}-{index:06d}"
        renderings = tuple(
            Rendering(audio / folder / voice.speaker / f"{utterance_id}.flac", condition, snr_db)
            for folder, condition, snr_db in _conditions(split, index, settings, generator)
        )
        noise_seed = (seed, SPLITS.index(split), index)
        yield Utterance(utterance_id, voice, text, side, noise_seed, renderings)


def _conditions(
    split: str, index: int, settings: CorpusSettings, generator: random.Random
) -> list[tuple[str, str, float | None]]:
    """(data folder, condition, SNR) of each rendering of an utterance."""
    held_out: list[tuple[str, float | None]] = [
        ("clean", None),
        ("noisy", settings.noisy_snr_db),
        ("very_noisy", settings.very_noisy_snr_db),
    ]
    if split == "test":
        return [(f"test_{condition}", condition, snr) for condition, snr in held_out]
    if split == "dev":
        # Each round over the voices starts with the next condition, so each voice has them all.
        turn = index % settings.dev.voices + index // settings.dev.voices
        return [("dev", *held_out[turn % len(held_out)])]
    part: TrainingPart = getattr(settings, split)
    copies: list[tuple[str, str, float | None]] = []
    if part.clean_copies:
        copies.append((f"{split}_clean", "clean", None))
    if generator.random() < part.noisy_share:
        snr_db = generator.uniform(part.snr_db[0], part.snr_db[1])
        return [(split, "noisy", snr_db), *copies]
    return [(split, "clean", None), *copies]


def _render_split(
    pool: RenderPool, utterances: Iterator[Utterance], split: str, minutes: float
) -> dict[str, list[SourceRow]]:
    """Render a split; returns data folder → its rows."""
    folders: defaultdict[str, list[SourceRow]] = defaultdict(list)
    spoken, words, num_utterances = 0.0, 0, 0
    no_items: list[int] = []
    with track(no_items, f"speaking {split}", total=round(minutes * 60), unit="s") as bar:
        for utterance, seconds in pool.render_until(utterances, minutes * 60):
            spoken, words = spoken + seconds, words + len(utterance.text.split())
            num_utterances += 1
            bar.update(round(spoken) - bar.n)
            for rendering in utterance.renderings:
                row = SourceRow(
                    utterance_id=utterance.utterance_id,
                    speaker=utterance.voice.speaker,
                    audio=rendering.path,
                    text=utterance.text,
                    condition=rendering.condition,
                )
                folders[rendering.path.parent.parent.name].append(row)
    log.info("%s: %d utterances, %.1f min, %d words", split, num_utterances, spoken / 60, words)
    return folders


def _write_data_folder(
    output: Path, name: str, rows: Sequence[SourceRow], final_place: Path
) -> None:
    in_place = [replace(row, audio=final_place / row.audio.relative_to(output)) for row in rows]
    if name.startswith("unlabeled"):
        texts = sorted((row.utterance_id, row.text or "") for row in rows)
        write_table(output / "scoring_only" / f"{name}_text", texts)
        in_place = [replace(row, text=None) for row in in_place]
    write_source_folder(output / name, in_place)


def _write_speakers(voices: dict[str, list[Voice]], path: Path) -> None:
    lines = ["speaker\tgroup\tespeak_voice\trate\tpitch\tpitch_range"]
    for group, cast in voices.items():
        lines += [
            f"{v.speaker}\t{group}\t{v.espeak_name}\t{v.rate}\t{v.pitch}\t{v.pitch_range}"
            for v in cast
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_lexicon_and_text(grammar: Grammar, num_sentences: int, seed: int, output: Path) -> None:
    with (output / "lm_text.txt").open("w", encoding="utf-8") as stream:
        sentences = grammar.sentences("train", f"lm {seed}")
        stream.writelines(f"{text}\n" for text in islice(sentences, num_sentences))
    sample = islice(grammar.sentences("train", f"lexicon {seed}"), LEXICON_SENTENCES)
    with EspeakProcess() as espeak:
        lexicon = make_lexicon(grammar.vocabulary(), sample, espeak)
    with (output / "lexicon.txt").open("w", encoding="utf-8") as stream:
        for word, forms in lexicon.items():
            stream.writelines(f"{word} {' '.join(form)}\n" for form in forms)
    log.info("lexicon: %d words, %d pronunciations", len(lexicon), sum(map(len, lexicon.values())))
