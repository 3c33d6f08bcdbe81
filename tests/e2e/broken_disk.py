"""Disks that are full or broken: whichever call that changes a file fails, once or from then on, the
program ends with one message and exit status 1, and what was complete before is what it was."""
import os
import pathlib

import h5py

import quire

SHIM = os.environ.get("QUIRE_CRASH_SHIM", str(quire.ROOT / "build" / "tests" / "libcrash_shim.so"))
WHOLE = int(os.environ.get("QUIRE_KILLS", "20")) >= 200
FAILURES = [{"do": "enospc"}, {"do": "eio", "lasts": 1}, {"do": "eio"}, {"do": "enospc", "lasts": 1}]


class BrokenDisk(quire.Case):
    def setUp(self):
        super().setUp()
        self.place = self.directory / "broken"
        self.place.mkdir()
        words = (quire.ROOT / "launch" / "demo-text.txt").read_text()
        ids = quire.run("tokenize", "-m", quire.DEMO, "-p", words[:3000]).stdout.split()
        self.text = ["-m", quire.DEMO, "--tokens", self.write("ids", b" ".join(ids[:100]))]

    def attempt(self, command, ranks, **crash):
        environment = {"CRASH_" + name.upper(): str(value) for name, value in crash.items()}
        environment.update(LD_PRELOAD=SHIM, CRASH_MATCH=str(self.place))
        return quire.attempt(*command, ranks=ranks, environment=environment)

    def calls(self, command, ranks):
        count = self.directory / "count"
        result = self.attempt(command, ranks, count=count)
        self.assertEqual(result.status, 0, result)
        return int(count.read_text())

    def failures(self, command, first, last, ranks=1):
        """A result for each failing call: the first and the last ones, each in one of the ways; all of
        them, each in two (QUIRE_KILLS)."""
        calls = self.calls(command, ranks)
        for point in range(1, calls + 1):
            if not WHOLE and first < point <= calls - last:
                continue
            for failure in FAILURES[point % 2::2] if WHOLE else [FAILURES[point % 4]]:
                result = self.attempt(command, ranks, at=point, **failure)
                self.assertIn(result.status, (0, 1), "call %d of %d: %s" % (point, calls, result))
                if result.status:
                    self.assertEqual(len(result.errors), 1, result)
                yield result

    def arrays(self, path):
        found = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: found.update({name: item[()]}) if
                            isinstance(item, h5py.Dataset) else None)
        return found

    def check_file(self, command, name, first, last, ranks=1):
        """Of a command that writes a file at once, over one that is there."""
        path = self.place / name
        quire.run(*command, ranks=ranks)
        expected = self.arrays(path)
        self.assertGreater(len(expected), 0)
        failed = 0
        for result in self.failures(command, first, last, ranks):
            failed += result.status
            got = self.arrays(path)
            self.assertEqual(sorted(got), sorted(expected))
            for key, values in expected.items():
                self.assertTrue((got[key] == values).all(), "%s\n%s" % (key, result))
            if result.status == 0:  # nothing depended on the call
                continue
            for left in self.place.iterdir():  # what could not be removed
                if left != path:
                    self.assertTrue(left.name.startswith(name + "."), left)
                    left.unlink()
        self.assertGreater(failed, 2)

    def check_reading(self, command, name, ranks, last=2):
        """Of one that keeps a reading: it is there and whole, or not there at all."""
        path, failed, created = self.place / name, 0, 0
        for result in self.failures([*command, path], 16, last, ranks):
            failed += result.status
            if path.exists():
                reading = quire.report("inspect", path, "--verify")["reading"]
                self.assertTrue(result.status or reading["committed_tokens"] >= 100, result)
                created += 1
            else:
                self.assertEqual(result.status, 1, result)
            for left in self.place.iterdir():
                left.unlink()
        self.assertGreater(created, 0)
        self.assertGreater(failed - created, 8)

    def test_ingest(self):
        for ranks in (1, 2):
            command = ["ingest", *self.text, "--chunk", 64, "--commit-every", 64, "-o"]
            self.check_reading(command, "book.h5", ranks)

    def test_conversation(self):
        self.check_reading(["generate", *self.text, "-n", 3, "--save"], "talk.h5", 1, 6)

    def test_capture(self):
        command = ["capture", *self.text, "--chunk", 64, "--sites", "q,logits", "--layers", 0, "-o",
                   self.place / "activations.h5"]
        self.check_file(command, "activations.h5", 20, 4)
        self.check_file([*command, "--gzip", 1], "activations.h5", 0, 16)
        self.check_file(command, "activations.h5", 0, 8, ranks=2)

    def test_export(self):
        book = self.directory / "book.h5"
        quire.run("ingest", *self.text, "-o", book)
        self.check_file(["export", book, "-o", self.place / "rows.h5"], "rows.h5", 8, 6)

    def test_losses(self):
        self.check_file(["perplexity", *self.text, "--nll", self.place / "losses.h5"], "losses.h5",
                        4, 6)


if __name__ == "__main__":
    if not pathlib.Path(SHIM).exists():
        raise SystemExit("no %s" % SHIM)
    quire.main()
