"""quire tokenize: every form of a vocabulary, both directions, options, batches, messages."""
import json
import unittest

import quire

SEPARATOR = "\n__ggml_vocab_test__\n"

# Where a vocabulary is in the shared data, and the set of llama.cpp's texts and ids that fits it.
FORMS = [("vocab/llama-2/tokenizer.json", "llama-spm"),
         ("vocab/llama-2/tokenizer.model", "llama-spm"),
         ("vocab/llama.cpp/ggml-vocab-llama-spm.gguf", "llama-spm"),
         ("vocab/llama.cpp/ggml-vocab-phi-3.gguf", "phi-3"),
         ("vocab/llama.cpp/ggml-vocab-gpt-2.gguf", "gpt-2"), ("vocab/phi-2", "gpt-2"),
         ("vocab/qwen2", "qwen2"),
         ("vocab/llama-3.2", "llama-bpe")]


def ids_of(result):
    return [int(word) for word in result.stdout.split()]


class Tokenize(quire.Case):
    def encode(self, path, *options, text=None, **keywords):
        return ids_of(quire.run("tokenize", "-m", path, *options,
                                stdin=text.encode() if text is not None else None, **keywords))

    def decode(self, path, ids, **keywords):
        return quire.run("tokenize", "-m", path, "--decode", **keywords,
                         stdin=" ".join(map(str, ids)).encode()).stdout.decode()

    def batch(self, path, lines, *options):
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        output = quire.run("tokenize", "-m", path, "--batch", "-", *options, stdin=text).stdout
        return [json.loads(line) for line in output.decode().split("\n")[:-1]]

    def vectors(self, name):
        folder = self.shared("vocab/llama.cpp")
        texts = (folder / ("ggml-vocab-%s.gguf.inp" % name)).read_bytes().decode().split(SEPARATOR)[:46]
        ids = (folder / ("ggml-vocab-%s.gguf.out" % name)).read_text().split("\n")[:len(texts)]
        return texts, [[int(word) for word in line.split()] for line in ids]

    def check(self, path, name):
        texts, expected = self.vectors(name)
        got = self.batch(path, [{"text": text} for text in texts], "--no-special")
        self.assertEqual(len(got), 46)
        for text, line, ids in zip(texts, got, expected):
            if path.name == "phi-2" and any(i >= 50257 for i in line["ids"]):
                # Its added tokens are runs of blanks, which the set's vocabulary lacks.
                self.assertTrue("  " in text or "\t\t" in text, text)
                continue
            self.assertEqual(line["ids"], ids, (path, text))
        back = self.batch(path, [{"ids": ids} for ids in expected] + got, "--decode")
        self.assertEqual([line["text"] for line in back], 2 * texts, path)

    def test_vectors_in_every_form(self):
        for path, name in FORMS:
            with self.subTest(path):
                self.check(self.shared(path), name)

    def test_vocabulary_and_merges(self):
        for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
            self.write(name, self.shared("vocab/qwen2/" + name).read_bytes())
        self.check(self.directory, "qwen2")
        text = "a<|im_end|>\n<|endoftext|>"
        self.assertEqual(self.encode(self.directory, "-p", text),
                         self.encode(self.shared("vocab/qwen2"), "-p", text))
        (self.directory / "tokenizer_config.json").unlink()
        self.check(self.directory, "qwen2")
        self.write("merges.txt", "#version: 0.2\na b\n")
        self.refuse("found 151643 tokens and 1 merges", "-m", self.directory, "-p", "x")
        self.write("merges.txt", "a b\na bc d\n")
        self.refuse("merges.txt: line 2: found \"a bc d\"", "-m", self.directory, "-p", "x")

    def test_demo(self):
        text = "The lighthouse, \u00e9t\u00e9.\n"
        ids = self.encode(quire.DEMO, text=text)
        self.assertEqual(self.encode(quire.DEMO / "tokenizer.json", text=text), ids)
        self.assertEqual(self.encode(quire.DEMO, "-f", self.write("t", text)), ids)
        self.assertEqual(self.encode(quire.DEMO, "-p", "The lighthouse, ", "-p", "\u00e9t\u00e9.\n"),
                         ids)
        self.assertEqual(self.decode(quire.DEMO, ids), text)
        self.assertEqual(self.encode(quire.DEMO, text=text, ranks=3), ids)
        self.assertEqual(quire.run("tokenize", "-m", quire.DEMO, stdin=b"").stdout, b"\n")

    def test_offsets(self):
        text = "The \u00e9t\u00e9  x"
        lines = quire.run("tokenize", "-m", quire.DEMO, "--offsets",
                          stdin=text.encode()).stdout.decode().splitlines()
        rows = [[int(word) for word in line.split()] for line in lines]
        self.assertEqual([row[0] for row in rows], self.encode(quire.DEMO, text=text))
        self.assertEqual([row[1] for row in rows], [0] + [row[2] for row in rows[:-1]])
        self.assertEqual(rows[-1][2], len(text.encode()))
        line, = self.batch(quire.DEMO, [{"text": text}], "--offsets")
        self.assertEqual(line, {"ids": [row[0] for row in rows], "offsets": [row[1:] for row in rows]})

    def test_special_tokens(self):
        text = "a<|endoftext|>  b"
        phi = self.shared("vocab/phi-2")
        self.assertEqual(self.encode(phi, text=text), [64, 50256, 50286, 65])
        self.assertEqual(self.encode(phi, "--no-special", text=text),
                         [64, 27, 91, 437, 1659, 5239, 91, 29, 50286, 65])
        self.assertEqual(self.decode(phi, [64, 50256, 50286, 65]), "a  b")
        llama = self.shared("vocab/llama-2")
        self.assertEqual(self.encode(llama, text="a<s>b"), [1, 263, 1, 289])
        self.assertEqual(self.encode(llama, "--no-special", text="a<s>b"), [263, 29966, 29879, 29958, 29890])
        self.assertEqual(self.encode(llama / "tokenizer.model", text="a<s>b"),
                         [1, 263, 29966, 29879, 29958, 29890])

    def test_batch(self):
        texts = ["", "a", "a\u0000b", "\u0000", "caf\u00e9 \U0001f600\n", "\u2028", "<|endoftext|>"]
        got = self.batch(quire.DEMO, [{"id": 1, "text": text} for text in texts], "--no-special")
        self.assertEqual([line["ids"] for line in got],
                         [self.encode(quire.DEMO, "--no-special", text=text) for text in texts])
        back = self.batch(quire.DEMO, got, "--decode")
        self.assertEqual([line["text"] for line in back], texts)
        path = self.write("b.jsonl", '\n{"text": "a"}\n  \r\n{"text": "b"}')
        output = quire.run("tokenize", "-m", quire.DEMO, "--batch", path).stdout
        self.assertEqual(len(output.splitlines()), 2)

    def refuse(self, words, *arguments, status=1, stdin=None):
        result = quire.attempt("tokenize", *arguments, stdin=stdin)
        self.assertEqual(result.status, status, result)
        self.assertEqual(len(result.errors), 1, result)
        self.assertIn(words, result.errors[0])
        self.assertIn("expected", result.errors[0])

    def test_refusals(self):
        def batch(words, line, *options):
            self.refuse(words, "-m", quire.DEMO, "--batch", "-", *options, stdin=line)
        batch("standard input: line 1: text: found 5", b'{"text": 5}')
        batch("standard input: line 2: text: found nothing", b'{"text": "a"}\n{"txt": "b"}')
        batch("standard input: line 2: found ", b'{"text": "a"}\n{"text": "b"')
        batch("standard input: line 1: found ", b'{"text": "\xff"}')
        batch("standard input: line 1: found ", b'{"text": "\\ud800"}')
        batch("standard input: line 1: found a list of 0", b'[]')
        batch("standard input: line 1: ids: found nothing", b'{"text": "a"}', "--decode")
        batch("standard input: line 1: ids: found 1.5 at 1", b'{"ids": [1, 1.5]}', "--decode")
        batch("standard input: line 1: ids: found -1 at 0", b'{"ids": [-1]}', "--decode")
        batch("expected ids from 0 to 1023", b'{"ids": [1024]}', "--decode")
        self.refuse("nowhere.jsonl: found No such file", "-m", quire.DEMO, "--batch", "nowhere.jsonl")
        self.refuse("ids: token 1 at byte 2: found \"x\"", "-m", quire.DEMO, "--decode", stdin=b"1 x")
        self.refuse("found \"1024\"", "-m", quire.DEMO, "--decode", stdin=b"1024")
        self.refuse("standard input: byte 1: found 0xff", "-m", quire.DEMO, stdin=b"a\xff")
        self.refuse("nowhere: found No such file", "-m", "nowhere", stdin=b"")
        self.refuse("found neither tokenizer.json", "-m", self.directory, stdin=b"")
        self.refuse("-m: found no model, expected -m PATH", stdin=b"", status=2)
        self.refuse("--batch: found together", "-m", quire.DEMO, "--batch", "-", "-p", "x", status=2)
        self.refuse("--offsets: found together", "-m", quire.DEMO, "--decode", "--offsets", status=2)
        self.refuse("--group: found an option of other commands", "-m", quire.DEMO, "--group", "4",
                    status=2)


class Chat(quire.Case):
    """The demo model has no template of its own; solar's needs no special tokens."""

    def generated(self, *arguments, **keywords):
        report = quire.report(*arguments, "-m", quire.DEMO, "-n", "6", "--group", "4", "--window",
                              "64", *quire.EXACT, **keywords)
        return report["prompt_tokens"], report["tokens"]

    def test_template_stands_around_the_text(self):
        plain = self.generated("generate", "-p", "### System:\nBe kind.\n\n### User:\nWho?\n\n### "
                               "Assistant:\n")
        self.assertEqual(self.generated("generate", "-p", "Wh", "-p", "o?", "--system", "Be kind.",
                                        "--chat-template", "solar"), plain)
        self.assertEqual(self.generated("generate", "-p", "Who?", "--system", "Be kind.",
                                        "--chat-template", "solar", ranks=2), plain)

    def test_reading_and_question_are_one_turn(self):
        book = self.write("book.txt", "The lighthouse stood on a rock. " * 20 + "End.\n")
        _, whole = self.generated("generate", "-f", book, "-p", "Where?", "--chat-template", "solar")
        quire.run("ingest", "-m", quire.DEMO, "-f", book, "-o", self.directory / "b.h5", "--group",
                  "4", "--window", "64", "--chat-template", "solar", *quire.EXACT)
        answer = quire.report("ask", "-m", quire.DEMO, "-c", self.directory / "b.h5", "-p", "Where?",
                              "-n", "6", "--chat-template", "solar")
        self.assertEqual(answer["answers"][0]["tokens"], whole)

    def test_own_template(self):
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            self.write(name, (quire.DEMO / name).read_bytes())
        config = json.loads((quire.DEMO / "tokenizer_config.json").read_text())
        config["chat_template"] = (
            "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
            "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{{ '<|im_start|>assistant\\n' }}")
        self.write("tokenizer_config.json", json.dumps(config))
        text = "<|im_start|>user\nHi<|endoftext|><|im_end|>\n<|im_start|>assistant\n"
        report = quire.report("generate", "-m", self.directory, "-p", "Hi<|endoftext|>", "--chat",
                              "-n", "1")
        ids = quire.run("tokenize", "-m", quire.DEMO, "--no-special", "-p", text).stdout.split()
        self.assertEqual(report["prompt_tokens"], len(ids))
        config["chat_template"] = "{{ messages[0]['content'] }}"
        self.write("tokenizer_config.json", json.dumps(config))
        result = quire.attempt("generate", "-m", self.directory, "-p", "Hi", "--chat", "-n", "1",
                               ranks=2)
        self.assertEqual(result.status, 1, result)
        self.assertIn("chat_template: found one that is not known, expected that of one of llama-2, ",
                      result.errors[0])

    def test_refusals(self):
        for options, words in ((["--chat-template", "nobody"], "--chat-template: found \"nobody\""),
                               (["--chat", "--tokens", "x"], "--chat: found together with --tokens")):
            text = [] if "--tokens" in options else ["-p", "x"]
            result = quire.attempt("generate", "-m", quire.DEMO, *text, *options, ranks=2)
            self.assertEqual(result.status, 2, result)
            self.assertIn(words, result.errors[0])


if __name__ == "__main__":
    quire.main()
