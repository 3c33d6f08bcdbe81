"""Tokenizers against the reference implementations on many random hard texts, both directions.

Needs the Python packages tokenizers and sentencepiece (pip), and is left out without them. Models of
SentencePiece and of the tokenizers library are trained here as well, with options of every kind.
"""
import json
import random

import quire

try:
    import sentencepiece
    from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                            pre_tokenizers, trainers)
except ImportError:
    sentencepiece = None

COUNT = 20000
PARTS = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\u00a0", "\u3000", "\u2003", "\u200b", "\u180e", "\ufeff",
         "\x00", "\x0b", "\x85", "the", " The", "a", "A", "\u00e9", "e\u0301", "\u00df", "\u0130", "\u0131", "\u017f", "\u212a", "\u212b",
         "\ufb01", "\u00bd", "\u2167", "\u00b2", "\uff11", "\u0663", "0", "12", "123", "1234", "3.14", "1,000", "'s", "'S",
         "'ll", "'RE", "don't", "!", "?", "...", "\u2014", "\u201c", "$", "%", "&", "+", "=", "<", ">", "|", "/", "\\", "_",
         "`", "~", "^", "#", "@", "{", "}", "[", "]", "(", ")", "\u4e2d", "\u65e5\u672c\u8a9e", "\ud55c\uad6d\uc5b4", "\u1100\u1161\u11a8",
         "\u3042", "\u30ab\u3099", "\u0e01\u0e33", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u05e2\u05d1\u05e8\u05d9\u05ea", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0915\u093c", "\U0001f600",
         "\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\U00020000", "\ue000", "\U0010ffff", "\ufffd",
         "\u0301", "\u0327", "\u1c89", "\U00011f02", "<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>",
         "[INST]", "<0x41>", "\u2581", "\u2581\u2581", "<sym>", "xyzzy", "def f(x):\n    return x", "http://a.b/c?d=e",
         "ABCdef", "x" * 20, "ab" * 10]


def random_texts(count, seed):
    chance, texts = random.Random(seed), []
    for _ in range(count):
        text = ""
        for _ in range(chance.choice([1, 2, 3, 4, 6, 8, 12, 20])):
            kind = chance.random()
            if kind < 0.8:
                text += chance.choice(PARTS)
            elif kind < 0.9:
                point = chance.choice([chance.randrange(0x20, 0x250), chance.randrange(0x300, 0xd800),
                                       chance.randrange(0xe000, 0x20000)])
                text += chr(point)
            else:
                text += "".join(chance.choice("abcdefghij klmnopqrstuvwxyz") for _ in range(8))
        texts.append(text)
    return texts


class RandomTexts(quire.Case):
    def setUp(self):
        super().setUp()
        if not sentencepiece:
            print("SKIP: %s (no tokenizers and sentencepiece packages)" % self.id(), flush=True)
            self.skipTest("no reference implementations")
        self.texts = random_texts(COUNT, 1)

    def batch(self, path, key, values, *options):
        lines = "".join(json.dumps({key: value}) + "\n" for value in values).encode()
        output = quire.run("tokenize", "-m", path, "--batch", "-", *options, stdin=lines,
                           timeout=600).stdout
        other = "ids" if key == "text" else "text"
        return [json.loads(line)[other] for line in output.decode().split("\n")[:-1]]

    def compare(self, path, ids, decode, *options):
        got = self.batch(path, "text", self.texts, *options)
        wrong = [i for i in range(COUNT) if got[i] != ids[i]]
        self.assertFalse(wrong, [(self.texts[i], got[i], ids[i]) for i in wrong[:3]])
        back = self.batch(path, "ids", ids, "--decode")
        for i in range(COUNT):
            self.assertEqual(back[i], decode(ids[i]), (self.texts[i], ids[i]))

    def compare_tokenizers(self, path, plain=True):
        reference = Tokenizer.from_file(str(path))
        for ordinary in (False, True) if plain else (False,):
            reference.encode_special_tokens = ordinary
            ids = [encoding.ids for encoding in
                   reference.encode_batch(self.texts, add_special_tokens=not ordinary)]
            self.compare(path, ids, lambda one: reference.decode(one, skip_special_tokens=True),
                         *(["--no-special"] if ordinary else []))

    def compare_sentencepiece(self, path):
        reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.compare(path, reference.encode(self.texts), reference.decode, "--no-special")

    def test_shared_vocabularies(self):
        for name in ("llama-2", "phi-2", "qwen2"):
            with self.subTest(name):
                self.compare_tokenizers(self.shared("vocab/%s/tokenizer.json" % name))
        for name in ("llama-2/tokenizer.model", "mistral/tokenizer.model.v1",
                     "mistral/mistral_instruct_tokenizer_240216.model.v2",
                     "mistral/mistral_instruct_tokenizer_240323.model.v3"):
            with self.subTest(name):
                self.compare_sentencepiece(self.shared("vocab/" + name))

    def corpus(self):
        lines = (quire.ROOT / "launch" / "demo-text.txt").read_text().split("\n")
        return [line for line in lines if line.strip()] + [
            text.replace("\n", " ").replace("\x00", "") for text in random_texts(300, 99)]

    def test_trained_by_sentencepiece(self):
        kinds = {
            "plain": dict(vocab_size=1000),
            "bytes": dict(vocab_size=1000, byte_fallback=True, control_symbols=["<usr>"],
                          user_defined_symbols=["<sym>", "xyzzy", "  "]),
            "identity": dict(vocab_size=900, normalization_rule_name="identity",
                             remove_extra_whitespaces=False, add_dummy_prefix=False),
            "suffix": dict(vocab_size=900, treat_whitespace_as_suffix=True,
                           normalization_rule_name="nfkc_cf"),
            "whole": dict(vocab_size=800, split_by_whitespace=False, split_by_unicode_script=False,
                          split_digits=True, byte_fallback=True, remove_extra_whitespaces=False,
                          user_defined_symbols=["\u2581\u2581", "<s2>"])}
        for kind in ("unigram", "bpe"):
            for name, options in kinds.items():
                prefix = self.directory / (kind + name)
                sentencepiece.SentencePieceTrainer.train(
                    sentence_iterator=iter(self.corpus()), model_prefix=str(prefix), model_type=kind,
                    character_coverage=0.98, minloglevel=2, hard_vocab_limit=False, **options)
                with self.subTest(kind=kind, name=name):
                    self.compare_sentencepiece(prefix.with_suffix(".model"))

    def test_unigram_trained_by_tokenizers(self):
        forms = {
            "nmt": (normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(),
                                          normalizers.Replace(Regex(" {2,}"), " ")]),
                    pre_tokenizers.Metaspace(), decoders.Metaspace()),
            "first": (normalizers.NFD(), pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
                      decoders.Metaspace(prepend_scheme="first")),
            "words": (normalizers.NFC(), pre_tokenizers.Sequence(
                [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]), decoders.Metaspace())}
        for name, (normalizer, splitter, decoder) in forms.items():
            tokenizer = Tokenizer(models.Unigram())
            tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
            tokenizer.decoder = decoder
            tokenizer.train_from_iterator(self.corpus(), trainers.UnigramTrainer(
                vocab_size=1200, special_tokens=["<unk>", "<s>"], unk_token="<unk>",
                show_progress=False))
            tokenizer.add_tokens([AddedToken("xyzzy", normalized=True), AddedToken("<sym>", lstrip=True)])
            path = self.directory / (name + ".json")
            tokenizer.save(str(path))
            with self.subTest(name):
                # The reference makes special tokens of ordinary text here, which quire never does.
                self.compare_tokenizers(path, plain=False)


if __name__ == "__main__":
    quire.main()
