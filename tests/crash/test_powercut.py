"""The interposing library itself: what was synced stays, whatever the disk answered since.

Without that a failure of the store could not be told from one of the test: an earlier version emptied a file whose
only write since its sync had failed, and it looked as if every account was lost.
"""

import subprocess
import sys

import pytest

from crash.crash import build_shim

SYNCED = 5000

# The unlucky program: syncs a file, is refused a write, and loses power.
VICTIM = """
import os, sys, time

def disk(what):
    with open(trigger + ".new", "w") as file:
        file.write(what)
    os.rename(trigger + ".new", trigger)

path, trigger, trouble = sys.argv[1:]
file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
os.write(file, b"s" * %d)
os.fsync(file)
folder = os.open(os.path.dirname(path), os.O_RDONLY)
os.fsync(folder)
disk(trouble)
probe = os.open(path + ".probe", os.O_CREAT | os.O_WRONLY, 0o600)
for fd in (probe, file):
    try:
        # A single byte: a full disk would take the first half of more.
        while os.write(fd, b"u"):
            time.sleep(0.001)
    except OSError:
        continue
disk("cut")
time.sleep(2)
sys.exit("the power is still there")
""" % SYNCED


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("trouble", ["write-error", "full"])
@pytest.mark.parametrize("seed", range(12))
def test_what_was_synced_survives_a_cut_after_a_refused_write(shim, tmp_path, trouble, seed):
    data = tmp_path / "data"
    data.mkdir()
    path, trigger = data / "file", tmp_path / "trigger"
    environment = {
        "LD_PRELOAD": str(shim),
        "POWERCUT_DIR": str(data),
        "POWERCUT_TRIGGER": str(trigger),
        "POWERCUT_SEED": str(seed),
    }
    victim = subprocess.run(
        [sys.executable, "-c", VICTIM, str(path), str(trigger), trouble],
        env=environment, capture_output=True, timeout=10, check=False,
    )
    assert victim.returncode == -9, victim.stderr.decode()
    assert path.read_bytes() == b"s" * SYNCED
