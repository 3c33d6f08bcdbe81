"""The end-to-end test of killed readings at length: 200 kills at random moments, and each write."""
import os
import pathlib
import runpy
import sys

os.environ["QUIRE_KILLS"] = "200"
sys.argv = sys.argv[:1]
runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "e2e" / "survival.py"),
               run_name="__main__")
