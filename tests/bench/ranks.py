#!/usr/bin/env python3
"""What two ranks make of two cores, with the shape of TinyLlama-1.1B: one rank of one thread, two
ranks of one thread and one rank of two threads, in turns.

    tests/bench/ranks.py [--build DIR] [--prefill 512,4096] [--depths 0,16384] [--runs 3] [quire options]

Medians in tokens per second, and of each round's ratios: two ranks to one; the same when generating
beside what the cores read together and one of them alone, measured next to each run; two ranks to
one of two threads.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

WAYS = {"1 x 1": (1, 1), "2 x 1": (2, 1), "1 x 2": (1, 2)}


def bench(asked, way, report):
    ranks, threads = WAYS[way]
    lengths = ["--prefill", asked.prefill] if asked.prefill else []
    depths = ["--decode-depth", asked.depths] if asked.depths else []
    subprocess.run(["mpirun", "-n", str(ranks), asked.build / "quire", "bench", "--machine", "--shape",
                    "tinyllama-1.1b", "--method", "plain", "--threads", str(threads), *lengths, *depths,
                    "--runs", "1", "--json", report, *asked.options],
                   check=True, stdout=subprocess.DEVNULL)
    runs = json.loads(report.read_text())["runs"]
    return {(run["phase"], run["depth"] or run["tokens"] * (run["phase"] == "prefill")): run
            for run in runs}


def median(rounds, value):
    return statistics.median(value(taken) for taken in rounds)


def show(rounds, place):
    speed = {way: median(rounds, lambda taken: taken[way][place]["tokens_per_s"]) for way in WAYS}

    def ratio(field, over, under):
        return median(rounds, lambda taken: taken[over][place][field] / taken[under][place][field])
    bandwidth = "%9.3f" % ratio("of_peak", "2 x 1", "1 x 1") if place[0] == "decode" else "%9s" % "-"
    print("%-8s%8d%s%11.3f%s%11.3f" %
          (*place, "".join("%9.2f" % speed[way] for way in WAYS),
           ratio("tokens_per_s", "2 x 1", "1 x 1"), bandwidth,
           ratio("tokens_per_s", "2 x 1", "1 x 2")), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--build", type=pathlib.Path, default=root / "build")
    parser.add_argument("--prefill", default="512,4096")
    parser.add_argument("--depths", default="0,16384")
    parser.add_argument("--runs", type=int, default=3)
    asked, options = parser.parse_known_args()
    asked.options = options
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    with tempfile.TemporaryDirectory(prefix="quire-bench-") as directory:
        report = pathlib.Path(directory) / "report"
        rounds = [{way: bench(asked, way, report) for way in WAYS} for _ in range(asked.runs)]
    print("phase     tokens    1 x 1    2 x 1    1 x 2  to 1 rank  of read  to 1 x 2")
    for place in rounds[0]["1 x 1"]:
        show(rounds, place)


if __name__ == "__main__":
    main()
