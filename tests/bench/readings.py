#!/usr/bin/env python3
"""What keeping a reading costs, and how fast one is opened again and asked, with a model of
TinyLlama-1.1B's shape and random weights (as tests/bench/peers makes it).

    tests/bench/readings.py [--build DIR] [--directory DIR] [--tokens 16384] [--parts ingest,resume,ask]
                            [--runs 3] [quire options]

ingest  the time that writing and committing take of the time of reading, at the default interval
resume  the rate at which a reading is opened, beside that of reading its bytes from the same disk,
        each from a cold cache (as root, who can drop it)
ask     ten questions in one run beside ten runs, and the time to the first token beside 1.5 times
        the reading's bytes at the disk's rate, the loading of the weights and a second

Model and reading stay in --directory when it is given, so that the parts can run one by one.
"""
import argparse
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

QUESTIONS = 10


def load(path):
    """A program beside this one as a module."""
    loader = importlib.machinery.SourceFileLoader(path.name, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(path.name, loader))
    loader.exec_module(module)
    return module


peers = load(pathlib.Path(__file__).with_name("peers"))


def quire(asked, *arguments):
    return subprocess.run([asked.build / "quire", *map(str, arguments), *asked.options], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def make(asked, directory):
    if not (directory / "model.safetensors").exists():
        peers.write_model(directory)
    ids = directory / "ids"
    ids.write_text(" ".join(str((i * 7919 + 11) % peers.VOCAB) for i in range(asked.tokens)))
    return ids


def ingest(asked, directory, ids):
    book = directory / "book.h5"
    with contextlib.suppress(FileNotFoundError):
        book.unlink()
    report = json.loads(quire(asked, "ingest", "-m", directory, "--tokens", ids, "-o", book, "--reserve",
                              2048, "--json", "-"))
    reading, kept = report["timings"]["reading_s"], report["writing_s"] + report["committing_s"]
    print("ingest: %d tokens in %.1f s, of which writing %.3f s and %d commits %.3f s: %.2f %%" %
          (asked.tokens, reading, report["writing_s"], report["commits"], report["committing_s"],
           100 * kept / (reading - kept)), flush=True)


def drop_caches():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")


def disk_rate(path):
    """Bytes a second of the whole file, from a cold cache, in large pieces."""
    drop_caches()
    start = time.monotonic()
    with open(path, "rb", buffering=0) as file:
        while file.read(16 << 20):
            pass
    return path.stat().st_size / (time.monotonic() - start)


def ask(asked, directory, questions, count):
    arguments = [word for question in questions for word in ("-p", question)]
    start = time.monotonic()
    report = json.loads(quire(asked, "ask", "-m", directory, "-c", directory / "book.h5", *arguments, "-n",
                              count, "--ignore-eos", "--json", "-"))
    return report, time.monotonic() - start


def committed(asked, directory):
    return json.loads(quire(asked, "inspect", directory / "book.h5", "--json", "-"))["reading"]


def resume(asked, directory):
    rates, disks, firsts, allowed = [], [], [], []
    book = committed(asked, directory)
    for _ in range(asked.runs):
        disks.append(disk_rate(directory / "book.h5"))
        drop_caches()
        report, _ = ask(asked, directory, ["x"], 1)
        rates.append(book["committed_bytes"] / report["resuming_s"])
        firsts.append(report["first_token_s"])
        allowed.append(1.5 * book["committed_bytes"] / disks[-1] + report["timings"]["loading_s"] + 1)
    print("resume: %.0f MB at %.0f MB/s, the disk %.0f MB/s: %.0f %%; first token after %.2f s, allowed "
          "%.2f s" % (book["committed_bytes"] / 1e6, statistics.median(rates) / 1e6,
                      statistics.median(disks) / 1e6,
                      100 * statistics.median(r / d for r, d in zip(rates, disks)),
                      statistics.median(firsts), statistics.median(allowed)), flush=True)


def together(asked, directory):
    questions = ["Question %d: what does it say about it?" % i for i in range(QUESTIONS)]
    ratios = []
    ask(asked, directory, questions[:1], 1)  # brings the weights into memory for all
    for _ in range(asked.runs):
        _, ten = ask(asked, directory, questions, 32)
        _, one = ask(asked, directory, questions[:1], 32)
        ratios.append(ten / (QUESTIONS * one))
        print("ask: ten questions %.2f s, one %.2f s" % (ten, one), flush=True)
    print("ask: ten questions in one run take %.2f of ten runs" % statistics.median(ratios), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--build", type=pathlib.Path, default=root / "build")
    parser.add_argument("--directory", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--parts", default="ingest,resume,ask")
    parser.add_argument("--runs", type=int, default=3)
    asked, asked_options = parser.parse_known_args()
    asked.options = asked_options
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    with contextlib.ExitStack() as stack:
        directory = asked.directory or pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="quire-bench-")))
        directory.mkdir(parents=True, exist_ok=True)
        ids = make(asked, directory)
        parts = {"ingest": lambda: ingest(asked, directory, ids),
                 "resume": lambda: resume(asked, directory), "ask": lambda: together(asked, directory)}
        for part in asked.parts.split(","):
            parts[part]()


if __name__ == "__main__":
    main()
