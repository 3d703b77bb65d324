"""versitygw, an S3-compatible server on a folder: the store of files is driven against it, not against a mock.

Apache-2.0, and a program of its own; `scripts/setup.sh test` builds it from its Go module.
"""

import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import certificates
import pytest
from wire import trusting_context

from .servers import chosen, free_ports

PROGRAM = Path(__file__).parents[2] / ".venv" / "versitygw" / "versitygw"
READY_WITHIN = 30.0
KEY_ID, SECRET = "posthaste-tests", "a secret of the tests"


class S3Server:
    """One S3 server with an empty bucket, on a port that stays the same; with `secure` over TLS."""

    bucket = "files"

    def __init__(self, folder, secure=False):
        if not PROGRAM.exists():
            pytest.skip("there is no S3 server here; scripts/setup.sh test builds it where there is Go")
        self.root, self.journal = folder / "s3", folder / "s3.log"
        # What it keeps of an object besides its bytes: not every file system has extended attributes.
        self.beside = folder / "beside"
        (self.root / self.bucket).mkdir(parents=True)
        self.beside.mkdir()
        [self.port] = free_ports(1)
        self.process = None
        # Who has signed its certificate, and what it is started with for that.
        self.authority, self.tls = None, []
        self.endpoint = f"http://127.0.0.1:{self.port}"
        if secure:
            self.authority = certificates.Authority(folder)
            certificate, key = self.authority.issue_server("localhost")
            self.tls = ["--cert", str(certificate), "--key", str(key)]
            self.endpoint = f"https://localhost:{self.port}"

    def start(self):
        with self.journal.open("ab") as journal:
            self.process = subprocess.Popen(
                [
                    str(PROGRAM), *self.tls, "--port", f"127.0.0.1:{self.port}", "--access", KEY_ID, "--secret", SECRET,
                    "posix", "--sidecar", str(self.beside), str(self.root),
                ],
                stdin=subprocess.DEVNULL, stdout=journal, stderr=journal, env={"PATH": os.environ["PATH"]},
            )
        deadline = time.monotonic() + READY_WITHIN
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the S3 server does not answer:\n{self.journal.read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def _answers(self):
        try:
            urllib.request.urlopen(self.endpoint, timeout=5, context=trusting_context()).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def stop(self):
        """Gone as by a crash: connections to it are refused when this returns."""
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def objects(self):
        """The objects of the bucket, by their keys, and the files that hold them."""
        folder = self.root / self.bucket
        files = (path for path in folder.rglob("*") if path.is_file())
        named = {str(path.relative_to(folder)): path for path in files}
        return {name: path for name, path in named.items() if not name.startswith(".sgwtmp")}

    def parts(self):
        """The files of uploads in parts that the server still waits for."""
        folder = self.root / self.bucket / ".sgwtmp"
        return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def on_s3(s3, secret=SECRET, trusting=True):
    """The server under test with its files in that bucket; or with a wrong key, or no trust in its certificate."""
    if chosen().name != "posthaste":
        pytest.skip("a setting of ours")

    class OnS3(chosen()):
        def configure(self):
            super().configure()
            keys = self.folder / "s3-credentials"
            keys.write_text(f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {secret}\n")
            keys.chmod(0o600)
            settings = [
                "[media]", 'store = "s3"', "[s3]", f'bucket = "{s3.bucket}"', f'endpoint = "{s3.endpoint}"',
                f'credentials = "{keys}"',
            ]
            if s3.authority and trusting:
                settings.append(f'authorities = "{s3.authority.certificate_file}"')
            self.config.write_text("\n".join([self.config.read_text(), *settings, ""]))

        def staged(self):
            """What lies in the staging folder."""
            return sorted(path.name for path in (self.folder / "data" / "media" / "staging").iterdir())

        def remove_user(self, user):
            subprocess.run(
                [str(self.binary), "--config", str(self.config), "user", "remove", f"{user}@{self.domain}"],
                check=True, capture_output=True, text=True,
            )

    return OnS3().start()
