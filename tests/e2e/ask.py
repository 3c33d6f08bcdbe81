"""Questions about a reading: each is answered as if it alone stood behind the text, on any mesh and
whatever else is asked, and the file stays as it was."""
import json

import h5py

import quire

TEXT = "The gate was old. Nobody in the village knew who had built it, or why. " * 12
QUESTIONS = [" The gate", " Nobody in", "And so it"]


class Ask(quire.Case):
    def setUp(self):
        super().setUp()
        self.book = self.directory / "book.h5"
        self.text = self.write("text", TEXT)
        quire.run("ingest", "-m", quire.DEMO, "-f", self.text, "-o", self.book, "--group", 8, "--window",
                  32, "--chunk", 64, *quire.EXACT, ranks=2)

    def ask(self, *options, questions=QUESTIONS, **keywords):
        arguments = [argument for question in questions for argument in ("-p", question)]
        return quire.attempt("ask", "-m", quire.DEMO, "-c", self.book, *arguments, "-n", 12, *options,
                             **keywords)

    def answers(self, *options, **keywords):
        result = self.ask("--json", "-", *options, **keywords)
        self.assertEqual(result.status, 0, result)
        return result.json["answers"]


class Answers(Ask):
    def test_as_generated(self):
        """The answers of generate behind the same ids; the file is not touched."""
        before, stamp = self.book.read_bytes(), self.book.stat().st_mtime_ns
        answers = self.answers("--logprobs", 3, ranks=3)
        self.assertEqual(self.book.read_bytes(), before)
        self.assertEqual(self.book.stat().st_mtime_ns, stamp)
        with h5py.File(self.book) as book:
            ids = list(book["tokens"][:int(book.attrs["text_tokens"])])
        for question, answer in zip(QUESTIONS, answers):
            self.assertEqual(answer["question"], question)
            expected = quire.report(
                "generate", "-m", quire.DEMO, "--tokens",
                self.write_tokens("ids", ids + answer["question_tokens"]), "-n", 12, "--group", 8,
                "--window", 32, "--logprobs", 3, *quire.EXACT)
            self.assertEqual(answer["tokens"], expected["tokens"])
            self.assertEqual(answer["text"], expected["text"])
            self.assertEqual(answer["prompt_tokens"], len(answer["question_tokens"]))
            for got, wanted in zip(answer["logprobs"], expected["logprobs"]):
                self.assertAlmostEqual(got["logprob"], wanted["logprob"], delta=1e-4)

    def test_meshes(self):
        expected = [answer["tokens"] for answer in self.answers()]
        for ranks, mesh in ((2, "sp=2"), (3, "sp=3"), (4, "pp=2,sp=2"), (4, "tp=4")):
            answers = self.answers("--mesh", mesh, ranks=ranks)
            self.assertEqual([answer["tokens"] for answer in answers], expected, mesh)

    def test_alone_and_together(self):
        together = self.answers("--temperature", 0.8, "--seed", 3)
        for question, answer in zip(QUESTIONS, together):
            alone, = self.answers("--temperature", 0.8, "--seed", 3, questions=[question])
            self.assertEqual(alone["tokens"], answer["tokens"])

    def test_stdout(self):
        """One block for each answer, a blank line between; --questions as -p."""
        texts = [answer["text"] for answer in self.answers("--stop", ".")]
        expected = "\n".join(text + ("" if text.endswith("\n") else "\n") for text in texts).encode()
        self.assertEqual(self.ask("--stop", ".").stdout, expected)
        listed = self.write("questions", "\n\n".join(QUESTIONS) + "\n")
        result = self.ask("--stop", ".", "--questions", listed, questions=[], ranks=2)
        self.assertEqual(result.stdout, expected, result)

    def test_more_tokens_than_a_chunk(self):
        long = "It was said that " * 40
        first, second = self.answers(questions=[long, long])
        self.assertGreater(first["prompt_tokens"], 64)
        self.assertEqual(first["tokens"], second["tokens"])
        other, = self.answers(questions=[long], ranks=2)
        self.assertEqual(other["tokens"], first["tokens"])


class Refusals(Ask):
    def refuse(self, words, *options, status=1, **keywords):
        for ranks in (1, 2):
            result = self.ask(*options, ranks=ranks, **keywords)
            self.assertEqual(result.status, status, result)
            self.assertEqual(len(result.errors), 1, result)
            for word in words:
                self.assertIn(word, result.errors[0])

    def test_other_options(self):
        self.refuse(["group", "found 8"], "--group", 7)
        self.refuse(["kv", "found f32"], "--kv", "bf16")
        self.refuse(["method"], "--no-self-extend")

    def test_questions(self):
        self.refuse(["question"], questions=[], status=2)
        self.refuse(["question 2"], questions=["yes", ""])
        self.refuse(["none.txt"], "--questions", self.directory / "none.txt", questions=[])

    def test_other_model(self):
        result = quire.attempt("ask", "-m", quire.GOLDEN / "llama", "-c", self.book, "-p", "x")
        self.assertEqual(result.status, 1, result)

    def test_incomplete(self):
        self.book.unlink()
        result = quire.attempt("ingest", "-m", quire.DEMO, "-f", self.text, "-o", self.book, "--chunk",
                               64, "--stop-after", 0)
        self.assertEqual(result.status, 85, result)
        self.refuse(["tokens", "found 64 of", "--partial"])
        result = self.ask("--partial", "--json", "-")
        self.assertEqual(result.status, 0, result)
        self.assertEqual(json.loads(result.stdout)["book_tokens"], 64)

    def test_damaged_block(self):
        """Any wrong byte of keys or values is found, and its place named."""
        with h5py.File(self.book) as book:
            place = book["values"].id.get_offset() + 4 * 32 * (book["values"].shape[2] * 6 + 70)
        content = bytearray(self.book.read_bytes())
        content[place] ^= 4
        self.book.write_bytes(content)
        self.refuse(["values, layer 1, KV head 2, tokens 64 to 127", "checksum"])


if __name__ == "__main__":
    quire.main()
