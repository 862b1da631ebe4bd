"""What the parts of the corpus runner share."""
import subprocess
from pathlib import Path


class Wrong(Exception):
    """What makes a case wrong, in a line."""


class Busy(Exception):
    """A replaced function never returns: which, in a line."""


class Missing(Exception):
    """What a short corpus needs and this machine can't have: nothing is tested."""


class Skipped(Exception):
    """Why a part of a case could not be tried here."""


def run(command, check=True, **options):
    """A command's (status, output with errors); Wrong with the last lines when it fails and `check`."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                          errors="replace", **options)
    if check and done.returncode:
        raise Wrong(f"{' '.join(map(str, command))[:90]}: status {done.returncode}: {' '.join(done.stdout.split()[-40:])}")
    return done.returncode, done.stdout


def bundle_of(scratch, target):
    return scratch / (Path(target).name + ".lpatch")
