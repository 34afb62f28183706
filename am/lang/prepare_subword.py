"""From text to a lang folder of pieces: sentencepiece, graphemes, topology, L."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import sentencepiece

from am.errors import InputError
from am.lang.lang import Lang
from am.lang.lexicon import LexiconEntry
from am.lang.piece_lexicon import (
    PieceForm,
    forms_of,
    piece_lexicon_fst,
    unknown_form,
)
from am.lang.prepare import LangSettings, phone_set_of, write_lang
from am.lang.subword_model import (
    MODEL_NAME,
    WORD_MARK,
    SubwordDescription,
    SubwordModel,
    load_sentencepiece,
    usable_pieces,
)
from am.lang.text_rules import TextRules, check_digit_words
from am.lm.text import read_sentences
from am.outputs import sha256_of_file

log = logging.getLogger(__name__)

# Bytes of a sentence; longer ones are left out of the training of pieces.
MAX_SENTENCE_BYTES = 1 << 20


@dataclass(frozen=True)
class PieceSettings:
    """How pieces are trained.

    Attributes:
        model_type: ``unigram`` (Kudo, 2018) or ``bpe`` (Sennrich et al., 2016).
        num_pieces: how many, single characters included; a small text may give fewer.
        max_length: characters of the longest piece, ``▁`` included.
        max_sentences: more are not read but drawn; 0: all are read.
        seed: of that draw.
    """

    model_type: Literal["unigram", "bpe"] = "unigram"
    num_pieces: int = 500
    max_length: int = 16
    max_sentences: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.num_pieces, self.max_length) < 1 or self.max_sentences < 0:
            raise ValueError(
                "num_pieces and max_length must be at least 1, max_sentences at least 0"
            )


@dataclass(frozen=True)
class SubwordSettings:
    """How a lang folder of pieces is made.

    Attributes:
        pieces: how they are trained.
        text: how text becomes words.
        lang: silence, unknown word, position variants and topology; what it says of lexicons has
            no effect.
    """

    pieces: PieceSettings = field(default_factory=PieceSettings)
    text: TextRules = field(default_factory=TextRules)
    lang: LangSettings = field(default_factory=LangSettings)

    def check(self) -> None:
        """Raise InputError for a value outside its range."""
        self.lang.check()
        check_digit_words(self.text)
        unknown = self.lang.unknown_word
        if self.text.can_spell(unknown):
            raise InputError(f"lang.unknown_word: text may hold '{unknown}'; choose '<{unknown}>'")


def prepare_subword_lang(
    text: Path, settings: SubwordSettings, folder: Path, *, model: Path | None = None
) -> None:
    """Write a lang folder whose words are pieces, and whose phones are graphemes.

    Args:
        text: that of the language model, a sentence a line.
        settings: how.
        folder: exists; gets what :func:`am.lang.prepare.prepare_lang` writes, the sentencepiece
            model and ``subword.json``.
        model: a sentencepiece model to take instead of training one on the text.

    Raises:
        InputError: a setting is out of range, the text holds no word or is too short for the
            pieces wanted, or ``model`` is no such model.
    """
    settings.check()
    path = folder / MODEL_NAME
    if model is not None:
        load_sentencepiece(model)
        path.write_bytes(model.read_bytes())
    else:
        with tempfile.TemporaryFile("w+", encoding="utf-8") as spelled:
            # Read to its end first: an error must not be raised inside of sentencepiece.
            spelled.writelines(f"{' '.join(s)}\n" for s in spelled_sentences(text, settings.text))
            spelled.seek(0)
            path.write_bytes(train_pieces(map(str.rstrip, spelled), settings.pieces, text))
    pieces = usable_pieces(load_sentencepiece(path), settings.text)
    if not set(pieces) - {WORD_MARK}:
        raise InputError(
            f"{model or text}: has no piece that the text rules can spell; change them"
        )
    _write_pieces(folder, pieces, settings)
    description = SubwordDescription(
        sha256_of_file(path),
        settings.lang.unknown_word,
        settings.lang.position_dependent_phones,
        settings.text,
    )
    description.save(folder)
    (folder / "settings.json").write_text(
        json.dumps(dataclasses.asdict(settings), indent=1, ensure_ascii=False), encoding="utf-8"
    )
    _log_coverage(SubwordModel(description, path), text)


def train_pieces(sentences: Iterable[str], settings: PieceSettings, source: Path) -> bytes:
    """A sentencepiece model of sentences that the rules spelled; ``source`` names them in errors.

    The bytes depend on the sentences, their order and the settings alone.
    """
    model = io.BytesIO()
    sentencepiece.set_random_generator_seed(settings.seed)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type=settings.model_type,
            vocab_size=settings.num_pieces,
            hard_vocab_limit=False,
            max_sentencepiece_length=settings.max_length,
            max_sentence_length=MAX_SENTENCE_BYTES,
            input_sentence_size=settings.max_sentences,
            character_coverage=1.0,
            # The text rules have done it; a second rule would have to be undone in the words.
            normalization_rule_name="identity",
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{source}: sentencepiece cannot make {settings.num_pieces} pieces of it ({reason}); "
            "change pieces.num_pieces or give more text"
        ) from error
    return model.getvalue()


def text_to_pieces(lang: Path, text: Path, output: Path) -> None:
    """Write a text as pieces of a lang folder, a sentence a line, to train a language model on.

    A word that no pieces spell becomes the unknown word.

    Raises:
        InputError: ``lang`` is no folder of pieces, or is not whole.
    """
    model = Lang.load(lang).subword
    if model is None:
        raise InputError(
            f"{lang}: not a lang folder of pieces; give one of utils/prepare_subword_lang.py"
        )
    with output.open("w", encoding="utf-8") as stream:
        for words in spelled_sentences(text, model.rules):
            pieces = [model.pieces_of(word) or [model.description.unknown_word] for word in words]
            stream.write(" ".join(itertools.chain(*pieces)) + "\n")


def spelled_sentences(text: Path, rules: TextRules) -> Iterator[list[str]]:
    """The words of each sentence of a text, spelled by the rules; empty ones are left out.

    Raises:
        InputError: the text cannot be read, or holds no word.
    """
    is_empty = True
    for sentence in read_sentences(text):
        if words := rules.words(" ".join(sentence)):
            is_empty = False
            yield words
    if is_empty:
        raise InputError(f"{text}: holds no word; give a text with a sentence a line")


def _write_pieces(folder: Path, pieces: Sequence[str], settings: SubwordSettings) -> None:
    lang = settings.lang
    graphemes = [settings.text.graphemes(piece.removeprefix(WORD_MARK)) for piece in pieces]
    phone_set = phone_set_of(graphemes, lang)
    forms_of_entry: dict[tuple[str, tuple[str, ...]], list[PieceForm]] = {}
    forms = [form for piece in pieces for form in forms_of(piece, settings.text, phone_set)]
    forms.append(unknown_form(lang.unknown_word, lang.spoken_noise_phone, phone_set))
    for form in sorted(forms, key=lambda form: (form.piece, form.phones)):
        forms_of_entry.setdefault((form.piece, form.phones), []).append(form)
    entries = [LexiconEntry(piece, 1.0, phones) for piece, phones in forms_of_entry]
    make_fst = partial(piece_lexicon_fst, list(forms_of_entry.values()))
    write_lang(folder, entries, phone_set, lang, make_fst)


def _log_coverage(model: SubwordModel, text: Path) -> None:
    counts = Counter(word for words in spelled_sentences(text, model.rules) for word in words)
    num_pieces = {word: len(model.pieces_of(word)) for word in counts}
    spelled = sum(counts[word] for word, count in num_pieces.items() if count)
    total = counts.total()
    if spelled < total:
        log.warning("%s: no pieces spell %d of %d words", text, total - spelled, total)
    log.info(
        "%d pieces, %.2f a word of %s",
        len(model.pieces()),
        sum(counts[word] * count for word, count in num_pieces.items()) / max(spelled, 1),
        text,
    )
