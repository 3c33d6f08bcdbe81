"""The end-to-end test of disks that are full or broken at length: each call that changes a file."""
import os
import pathlib
import runpy
import sys

os.environ["QUIRE_KILLS"] = "200"
sys.argv = sys.argv[:1]
runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "e2e" / "broken_disk.py"),
               run_name="__main__")
