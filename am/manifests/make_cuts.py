"""A Kaldi-style data folder to lhotse cuts, good utterances only.

The folder made has ``cuts.jsonl.gz``, sorted by the bytes of the ids, and ``rejected.tsv``: id,
reason and detail of everything left out.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource

from am.errors import InputError
from am.manifests.audio_check import AudioFacts, Fault, check_audio
from am.manifests.settings import DataRules
from am.manifests.source_tables import SourceTables, SourceUtterance
from am.progress import track

log = logging.getLogger(__name__)

CUTS_NAME, REJECTED_NAME = "cuts.jsonl.gz", "rejected.tsv"
UTTERANCES_AT_ONCE = 64


def make_cuts(source: Path, output: Path, rules: DataRules, jobs: int) -> None:
    """Check every utterance of ``source`` and write the good ones to ``output``.

    Raises:
        InputError: a table is missing or malformed, or too many utterances were rejected.
    """
    words = read_lexicon_words(rules.lexicon) if rules.lexicon else None
    rejected: Counter[str] = Counter()
    num_kept, seconds = 0, 0.0
    with SourceTables(source) as tables:
        if rules.needs_text and not tables.has_text:
            raise InputError(f"{source}: holds no text; write it, or give --no-text")
        with (
            CutSet.open_writer(output / CUTS_NAME, overwrite=True) as cuts,
            (output / REJECTED_NAME).open("w", encoding="utf-8") as rejects,
            closing(_checked(tables, rules, words, jobs)) as results,
        ):
            for utterance, result in track(results, f"checking {source}", total=len(tables)):
                if isinstance(result, Fault):
                    rejected[result.reason] += 1
                    detail = " ".join(result.detail.split())
                    rejects.write(f"{utterance.utterance_id}\t{result.reason}\t{detail}\n")
                else:
                    cut = _cut(utterance, result, rules)
                    cuts.write(cut)
                    num_kept, seconds = num_kept + 1, seconds + cut.duration
    _judge(source, output, num_kept, rejected, rules)
    log.info("%s: %d cuts, %.2f h", source, num_kept, seconds / 3600)


def read_lexicon_words(path: Path) -> set[str]:
    """The words of a Kaldi lexicon, ``word phone phone …`` a line."""
    if not path.is_file():
        raise InputError(f"{path}: no such lexicon; give the path of one")
    words = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        word, *phones = line.split() or [""]
        if not phones:
            raise InputError(f"{path}:{number}: expected 'word phone ...', found '{line}'")
        words.add(word)
    return words


def _checked(
    tables: SourceTables, rules: DataRules, words: set[str] | None, jobs: int
) -> Generator[tuple[SourceUtterance, AudioFacts | Fault], None, None]:
    """Each utterance with what its check said, in order, read by ``jobs`` threads.

    Decoding happens outside Python's lock, so threads are as fast as processes, and start at once.
    """
    utterances = iter(tables)
    pending: deque[tuple[list[SourceUtterance], Future[list[AudioFacts | Fault]]]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while True:
                while len(pending) < 4 * jobs and (
                    chunk := list(islice(utterances, UTTERANCES_AT_ONCE))
                ):
                    faults = [table_fault(utterance, rules, words) for utterance in chunk]
                    pending.append((chunk, pool.submit(_check_chunk, chunk, faults, rules)))
                if not pending:
                    return
                chunk, future = pending.popleft()
                yield from zip(chunk, future.result(), strict=True)
        finally:
            for _, future in pending:
                future.cancel()


def _check_chunk(
    chunk: Sequence[SourceUtterance], faults: Sequence[Fault | None], rules: DataRules
) -> list[AudioFacts | Fault]:
    return [
        fault or audio_fault_or_facts(utterance, rules)
        for utterance, fault in zip(chunk, faults, strict=True)
    ]


def table_fault(
    utterance: SourceUtterance, rules: DataRules, words: set[str] | None
) -> Fault | None:
    """What is wrong with an utterance's rows, before its audio is read."""
    if utterance.duplicated_in:
        return Fault("duplicate id", f"more than once in {', '.join(utterance.duplicated_in)}")
    if utterance.audio is None:
        return Fault("no audio", f"'{utterance.recording_id}' is not in wav.scp or segments")
    if utterance.speaker is None:
        return Fault("no speaker", "not in utt2spk")
    if not rules.needs_text:
        return None
    if utterance.text is None:
        return Fault("missing transcript", "not in text")
    if not utterance.text:
        return Fault("empty transcript", "no words in text")
    unknown = [word for word in utterance.text.split() if words is not None and word not in words]
    if unknown and rules.unknown_words == "reject":
        return Fault("word outside the lexicon", " ".join(unknown))
    return None


def audio_fault_or_facts(utterance: SourceUtterance, rules: DataRules) -> AudioFacts | Fault:
    """Read an utterance's audio and hold it against the rules."""
    assert utterance.audio is not None
    facts = check_audio(utterance.audio, rules.sampling_rate, utterance.start, utterance.end)
    if isinstance(facts, Fault):
        return facts
    end = facts.num_samples / rules.sampling_rate if utterance.end is None else utterance.end
    duration = end - utterance.start
    if duration < rules.min_duration:
        return Fault("too short", f"{duration:.3f} s, below {rules.min_duration:g} s")
    return facts


def _cut(utterance: SourceUtterance, facts: AudioFacts, rules: DataRules) -> MonoCut:
    assert utterance.audio is not None
    recording = Recording(
        id=utterance.recording_id,
        sources=[AudioSource(type="file", channels=[0], source=utterance.audio)],
        sampling_rate=facts.sampling_rate,
        num_samples=facts.num_samples,
        duration=facts.num_samples / facts.sampling_rate,
    )
    end = recording.duration if utterance.end is None else utterance.end
    duration = round(end - utterance.start, ndigits=8)
    supervision = SupervisionSegment(
        id=utterance.utterance_id,
        recording_id=recording.id,
        start=0.0,
        duration=duration,
        text=utterance.text if rules.needs_text else None,
        speaker=utterance.speaker,
        custom={"condition": utterance.condition} if utterance.condition else None,
    )
    return MonoCut(
        id=utterance.utterance_id,
        start=utterance.start,
        duration=duration,
        channel=0,
        supervisions=[supervision],
        recording=recording,
    )


def _judge(
    source: Path, output: Path, num_kept: int, rejected: Counter[str], rules: DataRules
) -> None:
    total = num_kept + rejected.total()
    if total == 0:
        raise InputError(f"{source}: no utterances; write wav.scp, utt2spk and text")
    if not rejected:
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in rejected.most_common())
    summary = f"{rejected.total()} of {total} utterances rejected ({reasons})"
    log.warning("%s: %s; listed in %s", source, summary, REJECTED_NAME)
    if rejected.total() > rules.max_rejected * total:
        raise InputError(
            f"{source}: {summary}, more than {rules.max_rejected:.0%}; mend those that "
            f"{output / REJECTED_NAME} lists, or raise --max-rejected"
        )
    if num_kept == 0:
        raise InputError(f"{source}: {summary}, none is left")
