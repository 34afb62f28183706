"""Reading transcripts: of cuts, of Kaldi's ``text`` files, of hypotheses."""

from __future__ import annotations

from pathlib import Path

from lhotse.cut import Cut

from am.errors import InputError

HYPOTHESES_NAME = "hypotheses.txt"


def reference_words(cut: Cut) -> list[str]:
    """The words of a cut's supervision.

    Raises:
        InputError: the cut has no transcript.
    """
    supervisions = cut.supervisions
    if not supervisions or supervisions[0].text is None:
        raise InputError(
            f"cut {cut.id}: has no transcript; give transcribed data, or the transcripts "
            "with --reference"
        )
    return str(supervisions[0].text).split()


def read_transcripts(path: Path) -> dict[str, list[str]]:
    """Read ``id words ...`` a line (Kaldi's ``text``; hypotheses); an id alone has no words.

    Raises:
        InputError: the file is missing or not UTF-8, or an id stands twice.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a file of lines 'id words ...'")
    transcripts: dict[str, list[str]] = {}
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                # Only these separate words: others, as the no-break space, may stand inside one.
                fields = line.replace("\t", " ").strip(" \r\n").split(" ")
                cut_id, *words = [entry for entry in fields if entry] or [""]
                if not cut_id:
                    continue
                if cut_id in transcripts:
                    raise InputError(f"{path}: line {number}: {cut_id} stands twice; keep one")
                transcripts[cut_id] = words
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason}); convert it") from error
    return transcripts
