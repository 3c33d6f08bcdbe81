"""Loss of power: what a run did to its files is recorded, and states are made of it as a disk may hold
them afterwards. What was synced is there; of what came later, any writes and any sectors of them, and
any first part of the changes of names. The last commit must be there and whole, and the run must go on
from it to the same end."""
import os
import pathlib
import random
import struct

import h5py

import quire

SHIM = os.environ.get("QUIRE_CRASH_SHIM", str(quire.ROOT / "build" / "tests" / "libcrash_shim.so"))
STATES = 400 if int(os.environ.get("QUIRE_KILLS", "20")) >= 200 else 10
SECTOR, CHUNK = 512, 64
DONE = struct.Struct("=8q")  # struct done of crash_shim.c


class Done:
    """A call: what it did, to which file, from when to when."""

    def __init__(self, fields, path, to, data):
        self.begin, self.end, self.file, self.at, self.size = fields[:5]
        self.what, self.path, self.to, self.data = chr(fields[7]), path, to, data


def read_record(record):
    """All ranks' calls in the order of their ends."""
    found = []
    for part in record.parent.glob(record.name + ".*"):
        data, at = part.read_bytes(), 0
        while at < len(data):
            fields = DONE.unpack_from(data, at)
            at += DONE.size
            texts = []
            for length in fields[5:7]:
                texts.append(data[at:at + length].decode())
                at += length
            size = fields[4] if fields[7] == ord("w") else 0
            found.append(Done(fields, *texts, data[at:at + size]))
            at += size
    return sorted(found, key=lambda done: done.end)


def is_durable(done, calls, file):
    """Whether a sync of the file began after the call and is over."""
    return any(sync.what == "s" and sync.file == file and sync.begin >= done.end for sync in calls)


def apply(content, done, numbers=None):
    """With random numbers: some of the sectors."""
    if done.what == "t":
        content.extend(bytes(max(0, done.size - len(content))))
        del content[done.size:]
        return
    end = done.at + done.size
    content.extend(bytes(max(0, end - len(content))))
    first = done.at
    while first < end:
        last = min(end, (first // SECTOR + 1) * SECTOR)
        if not numbers or numbers.random() < 0.5:
            content[first:last] = done.data[first - done.at:last - done.at]
        first = last


def file_after(calls, file, mode, numbers):
    """A file's bytes, all calls having been made. mode: what is there of what was not synced."""
    content = bytearray()
    for done in calls:
        if done.file != file or done.what not in "wt":
            continue
        if is_durable(done, calls, file) or mode == "all" or (mode == "some" and
                                                              numbers.random() < 0.5):
            apply(content, done)
        elif mode == "torn" and numbers.random() < 0.7:
            apply(content, done, numbers)
    return content


def names_after(calls, directory, directory_file, numbers):
    """Names and their files; of changes since the directory was synced, the first ones."""
    names, known = {}, set()
    pending = False
    for done in calls:
        if done.path == directory:
            continue
        new = done.file and done.path not in names and done.file not in known
        if not (new or done.what in "ru"):
            continue
        pending = pending or (not is_durable(done, calls, directory_file) and numbers.random() < 0.3)
        known.add(done.file)
        if pending:
            continue
        if done.what == "u":
            names.pop(done.path, None)
        elif done.what == "r":
            names[done.to] = names.pop(done.path)
        else:
            names[done.path] = done.file
    return names


def commits_of(calls, durable):
    """Tokens that the records say, of those that are on the disk for sure, or of all."""
    return {struct.unpack_from("<q", done.data, 16)[0] for done in calls
            if done.what == "w" and done.data[:8] == b"quirecmt" and
            (not durable or is_durable(done, calls, done.file))}


class PowerLoss(quire.Case):
    TOKENS = 200

    def setUp(self):
        super().setUp()
        self.place = self.directory / "disk"
        self.place.mkdir()
        words = (quire.ROOT / "launch" / "demo-text.txt").read_text()
        ids = quire.run("tokenize", "-m", quire.DEMO, "-p", words[:4000]).stdout.split()
        self.text = ["-m", quire.DEMO, "--tokens", self.write("ids", b" ".join(ids[:self.TOKENS])),
                     "--chunk", CHUNK, "--commit-every", CHUNK, "--group", 12, "--window", 32,
                     "--threads", 1, *quire.EXACT]

    def clear(self):
        for path in self.place.iterdir():
            path.unlink()

    def record(self, command, ranks):
        record = self.directory / "record"
        self.clear()
        quire.run(*command, ranks=ranks, environment={
            "LD_PRELOAD": SHIM, "CRASH_MATCH": str(self.place), "CRASH_RECORD": str(record)})
        calls = read_record(record)
        for part in self.directory.glob("record.*"):
            part.unlink()
        return calls

    def arrays(self, path, rows):
        found = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: found.update({name: item[()]}) if
                            isinstance(item, h5py.Dataset) and name in rows else None)
        return found

    def lose_power(self, calls, after, mode, numbers):
        """Leaves the directory as a disk may hold it when the power went `after` calls."""
        self.clear()
        made = calls[:after]
        directory = os.stat(self.place).st_ino
        for path, file in names_after(made, str(self.place), directory, numbers).items():
            pathlib.Path(path).write_bytes(file_after(made, file, mode, numbers))
        return made

    def states(self, calls):
        """Moments: before each sync is over, when most is at stake, and between."""
        numbers = random.Random(11)
        syncs = [i for i, done in enumerate(calls) if done.what in "sru"]
        for number in range(STATES):
            after = numbers.choice(syncs) if number % 4 else numbers.randrange(len(calls) + 1)
            mode = ("torn", "some", "none", "all")[number // 2 % 4]
            yield after, mode, self.lose_power(calls, after, mode, numbers)

    def check(self, command, ranks, reading, result, rows, resumed):
        """What the run left, and what it leaves when it goes on, to the bit."""
        calls = self.record(command, ranks)
        self.assertGreater(len([done for done in calls if done.what == "s"]), 5)
        whole = self.arrays(result, rows)
        self.assertEqual(len(whole), len(rows))
        for after, mode, made in self.states(calls):
            what = "power lost after %d of %d calls, %s" % (after, len(calls), mode)
            least = max(commits_of(made, True) | {0})
            if reading.exists():
                found = quire.report("inspect", reading, "--verify")["reading"]["committed_tokens"]
                self.assertGreaterEqual(found, least, what)
                self.assertIn(found, commits_of(made, False) | {0}, what)
            report = quire.report(*command, ranks=ranks)
            if resumed(made):
                self.assertGreaterEqual(report["resumed_at"], least, what)
            got = self.arrays(result, rows)
            for name, values in whole.items():
                self.assertTrue((got[name] == values).all(), "%s: %s" % (name, what))

    def test_ingest(self):
        book = self.place / "book.h5"
        for ranks in (1, 2):
            self.check(["ingest", *self.text, "-o", book], ranks, book, book,
                       ["keys", "values", "tokens"], lambda made: True)

    def test_capture(self):
        """Once the file has its name, the reading beside it may go."""
        path = self.place / "activations.h5"
        beside = self.place / "activations.h5.reading"
        self.check(["capture", *self.text, "--sites", "k,resid_post", "-o", path], 1, beside, path,
                   ["tokens", "layers/000/k", "layers/003/resid_post"],
                   lambda made: not any(done.what == "u" for done in made))


if __name__ == "__main__":
    if not pathlib.Path(SHIM).exists():
        raise SystemExit("no %s" % SHIM)
    quire.main()
