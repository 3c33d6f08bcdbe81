"""generate --save and --resume: the same text as in one run, on any mesh; looked at by inspect and
export; and the files that are refused."""
import h5py
import numpy

import quire

PROMPT = "Call me Ishmael. Some years ago"


class Conversation(quire.Case):
    def setUp(self):
        super().setUp()
        self.file = self.directory / "talk.h5"

    def generate(self, *options, ranks=1):
        return quire.report("generate", "-m", quire.DEMO, *options, ranks=ranks)

    def test_as_in_one_run(self):
        for options, ranks in ((quire.EXACT, 1), (quire.EXACT, 3), (["--group", 4, "--window", 16], 1)):
            expected = self.generate("-p", PROMPT, "-n", 30, *options, ranks=ranks)
            first = self.generate("-p", PROMPT, "-n", 10, "--reserve", 20, "--save", self.file, *options,
                                  ranks=ranks)
            second = self.generate("--resume", self.file, "-n", 7, ranks=ranks)
            third = self.generate("--resume", self.file, "-n", 13, ranks=2)
            self.assertEqual(first["tokens"] + second["tokens"] + third["tokens"], expected["tokens"])
            self.assertEqual(first["text"] + second["text"] + third["text"], expected["text"])
            self.file.unlink()

    def test_turns(self):
        """A new text behind what was there, without BOS; asked about it as well."""
        self.generate("-p", PROMPT, "-n", 5, "--reserve", 40, "--save", self.file, *quire.EXACT)
        asked = quire.report("ask", "-m", quire.DEMO, "-c", self.file, "-p", " and then", "-n", 6)
        resumed = self.generate("--resume", self.file, "-p", " and then", "-n", 6, ranks=2)
        self.assertEqual(resumed["tokens"], asked["answers"][0]["tokens"])
        with h5py.File(self.file) as book:
            ids = book["tokens"][:quire.report("inspect", self.file)["reading"]["known_tokens"]]
        alone = self.generate("--tokens", self.write_tokens("ids", ids[:-6]), "-n", 6, *quire.EXACT)
        self.assertEqual(alone["tokens"], resumed["tokens"])

    def test_no_room(self):
        self.generate("-p", PROMPT, "-n", 5, "--save", self.file)
        before = self.file.read_bytes()
        result = quire.attempt("generate", "-m", quire.DEMO, "--resume", self.file, "-n", 5)
        self.assertEqual(result.status, 1, result)
        for word in ("capacity", "--reserve", "--save"):
            self.assertIn(word, result.errors[0])
        self.assertEqual(self.file.read_bytes(), before)
        result = quire.attempt("generate", "-m", quire.DEMO, "-p", PROMPT, "--save", self.file)
        self.assertEqual(result.status, 1, result)
        self.assertIn("--resume", result.errors[0])
        self.assertEqual(self.file.read_bytes(), before)


class Inspection(quire.Case):
    def setUp(self):
        super().setUp()
        self.book = self.directory / "book.h5"
        self.text = self.write("text", "The gate was old. Nobody knew who had built it, or why. " * 20)
        self.ingest()

    def ingest(self, *options, status=0):
        result = quire.attempt("ingest", "-m", quire.DEMO, "-f", self.text, "-o", self.book, "--chunk", 100,
                               *options)
        self.assertEqual(result.status, status, result)
        return result

    def verify(self, status=0):
        result = quire.attempt("inspect", self.book, "--verify")
        self.assertEqual(result.status, status, result)
        return result

    def test_contents(self):
        reading = quire.report("inspect", self.book, "--verify")["reading"]
        self.assertTrue(reading["complete"])
        self.assertEqual(reading["committed_tokens"], reading["text_tokens"])
        self.assertEqual(reading["commit"]["mesh"], {"pp": 1, "tp": 1, "sp": 1})
        self.assertIn("text", reading["text_name"])
        self.assertIn(b"complete", self.verify().stdout)

    def test_partial(self):
        """Intact without a commit, and with one that ends within a block."""
        self.book.unlink()
        self.ingest("--stop-after", 0, status=85)
        self.assertIn(b"not complete", self.verify().stdout)
        with h5py.File(self.book) as book:
            place = book["commits"].id.get_offset()
        content = bytearray(self.book.read_bytes())
        content[place:place + 8192] = bytes(8192)
        self.book.write_bytes(content)
        self.assertIn(b"none yet", self.verify().stdout)
        self.ingest()
        self.verify()

    def test_first_bad_block(self):
        content = bytearray(self.book.read_bytes())
        with h5py.File(self.book) as book:
            keys, values = (book[name].id.get_offset() for name in ("keys", "values"))
            tokens = book["tokens"].id.get_offset()
            row, count = 64, book["keys"].shape[2]  # bf16
        for place, words in ((values + row * (count * 7 + 3), "values, layer 1, KV head 3, tokens 0 to 63"),
                             (keys + row * (count * 9 + 130) + 5, "keys, layer 2, KV head 1, tokens 128 to 191"),
                             (tokens + 4 * 70 + 1, "ids of tokens 64 to 127")):
            content[place] ^= 0x10
            self.book.write_bytes(content)
            result = self.verify(status=1)
            self.assertIn(words, result.errors[0])

    def test_wrong_byte_in_the_record(self):
        """It costs nothing: the record's copy is taken, and a warning says so. (Each byte:
        test_reading_record.c.)"""
        whole = bytes(self.book.read_bytes())
        with h5py.File(self.book) as book:
            slot = book["commits"].id.get_offset() + 4096  # of the only commit, number 1
        for byte in (0, 16, 75, 127):
            content = bytearray(whole)
            content[slot + byte] ^= 0x41
            self.book.write_bytes(content)
            result = self.verify()
            self.assertIn("warning", result.stderr)
            self.assertIn("commits", result.stderr)
            self.assertIn(b"complete", result.stdout)
        result = self.ingest()
        self.assertIn("complete", result.stderr)
        # Both copies wrong is damage, not a reading that never began.
        content[slot + 2048] ^= 1
        self.book.write_bytes(content)
        self.assertIn("commits", self.verify(status=1).errors[0])
        before = self.book.read_bytes()
        self.ingest(status=1)
        self.assertEqual(self.book.read_bytes(), before)

    def test_attributes(self):
        """An attribute that was changed is found by the record."""
        with h5py.File(self.book, "r+") as book:
            book.attrs.modify("group", 3)
        result = self.verify(status=1)
        self.assertIn("attributes", result.errors[0])

    def test_cut_short(self):
        whole = self.book.read_bytes()
        for size in (0, 60, 5000, len(whole) // 2, len(whole) - 1):
            self.book.write_bytes(whole[:size])
            for arguments in (["inspect", self.book, "--verify"],
                              ["ask", "-m", quire.DEMO, "-c", self.book, "-p", "x"],
                              ["ingest", "-m", quire.DEMO, "-f", self.text, "-o", self.book, "--chunk", 100]):
                result = quire.attempt(*arguments)
                self.assertEqual(result.status, 1, result)
                self.assertEqual(len(result.errors), 1, result)
                self.assertIn("book.h5", result.errors[0])
            self.assertEqual(self.book.read_bytes(), whole[:size])

    def test_read_only(self):
        self.book.chmod(0o444)
        self.verify()
        quire.run("ask", "-m", quire.DEMO, "-c", self.book, "-p", " The", "-n", 2)
        self.ingest()  # complete: nothing to write
        self.book.chmod(0o644)
        self.book.unlink()
        self.ingest("--stop-after", 0, status=85)
        self.book.chmod(0o444)
        before = self.book.read_bytes()
        result = self.ingest(status=1)
        self.assertRegex(result.errors[0], "read-only|ermission denied")
        self.assertEqual(self.book.read_bytes(), before)

    def test_export(self):
        out = self.directory / "out.h5"
        quire.run("export", self.book, "-o", out, "--range", "30:170", "--layers", "0,2-3", ranks=2)
        with h5py.File(self.book) as book, h5py.File(out) as plain:
            self.assertEqual(sorted(plain["layers"]), ["000", "002", "003"])
            for layer, sites in plain["layers"].items():
                for site, name in (("k", "keys"), ("v", "values")):
                    self.assertEqual(sites[site].dtype, numpy.float32)
                    self.assertTrue((sites[site][:] == book[name][int(layer), :, 30:170]
                                     .transpose(1, 0, 2)).all())
            self.assertTrue((plain["tokens"][:] == book["tokens"][30:170]).all())
            self.assertTrue((plain["byte_offsets"][:] == book["byte_offsets"][30:170]).all())
        result = quire.attempt("export", self.book, "-o", out, "--range", "30:17000")
        self.assertEqual(result.status, 2, result)


if __name__ == "__main__":
    quire.main()
