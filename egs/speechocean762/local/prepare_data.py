#!/usr/bin/env python3
"""Prepare speechocean762 (OpenSLR 101); see the usage."""

from __future__ import annotations

import argparse
import logging
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from am.errors import InputError
from am.manifests.source_folder import SourceRow, read_table, write_source_folder, write_table
from commandline import Tool, positive_int, whole_number

log = logging.getLogger(__name__)
# Younger speakers count as children in the results.
ADULT_AGE = 16
# Without a list of labelled speakers every third training speaker is labelled.
LABELED_EVERY = 3

tool = Tool(
    summary="Make data folders of speechocean762: labelled, unlabelled, development and test.",
    reads=[
        "CORPUS/{train,test}/{wav.scp,text,utt2spk,spk2age}",
        "CORPUS/WAVE   audio, as wav.scp names it",
        "CORPUS/resource/lexicon.txt",
    ],
    writes=[
        "OUT/{labeled,unlabeled,dev,test}   data folders; unlabeled has no text",
        "OUT/test/utt2condition   adult or child",
        "OUT/lexicon.txt",
        "OUT/lm_text.txt   what the labelled speakers say",
        "OUT/scoring_only/unlabeled_text   no step but scoring may read it",
    ],
    example="local/prepare_data.py --labeled-speakers CORPUS/labeled_speakers CORPUS "
    "data/local/speechocean762",
)


def main(options: argparse.Namespace) -> None:
    inputs = [options.corpus / name for name in ("train", "test", "resource/lexicon.txt")]
    if options.labeled_speakers:
        inputs.append(options.labeled_speakers)
    settings = {
        "corpus": str(options.corpus),
        "all_labeled": options.all_labeled,
        "dev_speakers": options.dev_speakers,
        "max_speakers": options.max_speakers,
    }
    tool.build(options.output, inputs, settings, lambda partial: prepare(options, partial))


def prepare(options: argparse.Namespace, output: Path) -> None:
    """Write everything into ``output``."""
    rows = read_rows(options.corpus, "train")
    speakers = sorted({row.speaker for row in rows})
    labeled = speakers[::LABELED_EVERY]
    if options.all_labeled:
        labeled = speakers
    elif options.labeled_speakers:
        labeled = read_speaker_list(options.labeled_speakers, speakers)
    labeled = labeled[: options.max_speakers]
    if len(labeled) <= options.dev_speakers:
        raise InputError(
            f"--dev-speakers {options.dev_speakers}: only {len(labeled)} speakers are labelled; "
            "hold out fewer"
        )
    # Spread over the sorted speakers, so that the choice does not hang on who comes first.
    dev = {labeled[i * len(labeled) // options.dev_speakers] for i in range(options.dev_speakers)}
    split_of_speaker = {speaker: "dev" if speaker in dev else "labeled" for speaker in labeled}
    splits: defaultdict[str, list[SourceRow]] = defaultdict(list)
    for row in rows:
        splits[split_of_speaker.get(row.speaker, "unlabeled")].append(row)
    splits["test"] = read_rows(options.corpus, "test")
    for name in ("unlabeled", "test"):
        splits[name] = of_first_speakers(splits[name], options.max_speakers)

    transcripts = sorted((row.utterance_id, row.text or "") for row in splits["unlabeled"])
    write_table(output / "scoring_only" / "unlabeled_text", transcripts)
    splits["unlabeled"] = [without_text(row) for row in splits["unlabeled"]]
    for name, members in splits.items():
        if not members:
            continue
        write_source_folder(output / name, members)
        num_speakers = len({row.speaker for row in members})
        log.info("%s: %d utterances of %d speakers", name, len(members), num_speakers)
    lexicon = options.corpus / "resource" / "lexicon.txt"
    (output / "lexicon.txt").write_text(lexicon.read_text(encoding="utf-8"), encoding="utf-8")
    lm_text = "".join(f"{row.text}\n" for row in splits["labeled"])
    (output / "lm_text.txt").write_text(lm_text, encoding="utf-8")


def read_rows(corpus: Path, part: str) -> list[SourceRow]:
    """The utterances of ``train`` or ``test``, adults and children told apart."""
    folder = corpus / part
    ages = read_table(folder / "spk2age")
    speakers = read_table(folder / "utt2spk")
    texts = read_table(folder / "text")
    rows = []
    for utterance_id, audio in read_table(folder / "wav.scp").items():
        for table, name in ((speakers, "utt2spk"), (texts, "text")):
            if utterance_id not in table:
                raise InputError(f"{folder / name}: '{utterance_id}' of wav.scp is missing")
        path, speaker = corpus / audio, speakers[utterance_id]
        if not path.is_file():
            raise InputError(f"{folder / 'wav.scp'}: {utterance_id}: no file {path}")
        if not ages.get(speaker, "").isdigit():
            raise InputError(f"{folder / 'spk2age'}: no age of speaker '{speaker}'")
        condition = "child" if int(ages[speaker]) < ADULT_AGE else "adult"
        rows.append(SourceRow(utterance_id, speaker, path, texts[utterance_id], condition))
    return rows


def read_speaker_list(path: Path, known: Iterable[str]) -> list[str]:
    """Speakers, one a line, all of which the training part must know."""
    speakers = sorted(set(path.read_text(encoding="utf-8").split()))
    unknown = set(speakers) - set(known)
    if unknown:
        raise InputError(f"{path}: not among the training speakers: {' '.join(sorted(unknown))}")
    return speakers


def of_first_speakers(rows: list[SourceRow], count: int | None) -> list[SourceRow]:
    """The rows of the first ``count`` speakers in sorted order; all where it is None."""
    kept = set(sorted({row.speaker for row in rows})[:count])
    return [row for row in rows if row.speaker in kept]


def without_text(row: SourceRow) -> SourceRow:
    """The row as unlabelled data."""
    return SourceRow(row.utterance_id, row.speaker, row.audio, condition=row.condition)


if __name__ == "__main__":
    labeled = tool.parser.add_mutually_exclusive_group()
    labeled.add_argument("--labeled-speakers", type=Path, help="a file of speaker ids, one a line")
    labeled.add_argument(
        "--all-labeled", action="store_true", help="every training speaker is labelled"
    )
    tool.add_argument(
        "--dev-speakers",
        type=whole_number,
        default=4,
        help="how many of the labelled speakers are held out for development (%(default)s)",
    )
    tool.add_argument(
        "--max-speakers",
        type=positive_int,
        help="take at most so many speakers of the labelled, unlabelled and test parts each",
    )
    tool.add_argument("corpus", type=Path, metavar="CORPUS", help="the unpacked corpus")
    tool.add_argument("output", type=Path, metavar="OUT", help="data/local/speechocean762")
    tool.run(main)
