"""The end-to-end tests of what readings survive, at length: 200 kills at random moments, each write
killed, each call failing, power lost at 400 moments."""
import os
import pathlib
import subprocess
import sys

NAMES = ["survival", "broken_disk", "power_loss"]
SCRIPTS = pathlib.Path(__file__).resolve().parents[1] / "e2e"

os.environ["QUIRE_KILLS"] = "200"
failed = [name for name in NAMES
          if subprocess.run([sys.executable, SCRIPTS / (name + ".py")], check=False).returncode]
sys.exit("failed: %s" % ", ".join(failed) if failed else 0)
