"""Lines of mixed scripts, drawn with a seed, and tokenizers trained on them: nothing is fetched."""

import functools
import random
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SCRIPTS = {
    "latin": ((0x61, 0x7A), (0xE0, 0xFF), (0x41, 0x5A), (0x100, 0x17F)),
    "greek": ((0x3B1, 0x3C9), (0x1F00, 0x1F15)),
    "cyrillic": ((0x410, 0x44F),),
    "hebrew": ((0x5D0, 0x5EA), (0x5B0, 0x5BC)),
    "arabic": ((0x620, 0x64A), (0x64B, 0x652)),
    "devanagari": ((0x904, 0x939), (0x93E, 0x94D)),
    "thai": ((0xE01, 0xE3A),),
    "han": ((0x4E00, 0x4FFF), (0x20000, 0x20020)),
    "kana": ((0x3041, 0x3096), (0x30A1, 0x30FA)),
    "hangul": ((0xAC00, 0xADFF), (0x1100, 0x1112)),
    "emoji": ((0x1F600, 0x1F640), (0x1F1E6, 0x1F1FF), (0x200D, 0x200D), (0xFE0F, 0xFE0F)),
    "digits": ((0x30, 0x39), (0x660, 0x669), (0xFF10, 0xFF19)),
    "marks": ((0x300, 0x330), (0x21, 0x2F), (0x2010, 0x2027), (0x3001, 0x3011)),
    "odd": ((0x00, 0x1D), (0x7F, 0x9F), (0xAD, 0xAD), (0xFFFD, 0xFFFD), (0xE000, 0xE003), (0x200B, 0x200F)),
}
SPACES = (" ", " ", " ", " ", "  ", "\t", "\n", "\u00a0", "\u3000", "")
WORDS = ("the", "gateway", "Password", "isn't", "re-set", "naïve", "ﬁne", "[SEP]", "<s>", "don't", "I'LL", "x²", "…")
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def mixed_lines(count: int, seed: int) -> list[str]:
    """Texts of up to some 300 characters, most of them of one or two scripts."""
    rng = random.Random(seed)
    return ["".join(_parts(rng)) for _ in range(count)]


def _parts(rng: random.Random) -> Sequence[str]:
    scripts = rng.sample(list(SCRIPTS), rng.choice((1, 1, 2, 2, 3, 5)))
    parts = []
    for _ in range(rng.choice((0, 1, 2, 3, 5, 8, 13, 21, 34))):
        parts.append(rng.choice(WORDS) if rng.random() < 0.2 else _word(rng, rng.choice(scripts)))
        parts.append(rng.choice(SPACES))
    return parts


def _word(rng: random.Random, script: str) -> str:
    ranges = SCRIPTS[script]
    length = rng.choice((1, 2, 3, 4, 5, 6, 8, 12)) if rng.random() < 0.98 else 150
    return "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(length))


@functools.cache
def wordpiece(*, lowercase: bool = True) -> str:
    """A `tokenizer.json` as BERT has it, trained on lines of another seed."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=6000, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(mixed_lines(3000, seed=1), trainer)
    ends = [("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    return tokenizer.to_str()


@functools.cache
def byte_level_bpe(*, is_split: bool = False) -> str:
    """A `tokenizer.json` as GPT-2 and RoBERTa have it; is_split: with a regular expression, as newer ones have it."""
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not is_split)
    if is_split:
        split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
        tokenizer.normalizer = normalizers.NFC()
    else:
        tokenizer.pre_tokenizer = byte_level
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=6000,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(mixed_lines(3000, seed=2), trainer)
    if not is_split:
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return tokenizer.to_str()
