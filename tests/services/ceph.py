"""A real S3 server for tests: Ceph with one monitor, one disk in a sparse file, and its S3 gateway.

Everything lies in a temporary folder and on free ports of 127.0.0.1, so several may run at once. The daemons are
children that the kernel kills when their owner dies, however it dies.

    python -m tests.services.ceph     # serve until Ctrl-C; prints the environment that points distmtl at it
"""

import hmac
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode, urlsplit

PACKAGES = ("ceph-mon", "ceph-osd", "ceph-common", "ceph-base", "radosgw")
"""Debian's names of what this needs."""

HOST = "127.0.0.1"
START_TIMEOUT_S = 120
STARTS = 3
"""A port that was free may be taken by the time its daemon binds it: then all begins again with others."""

CONFIGURATION = """\
[global]
fsid = {fsid}
mon_host = v2:{host}:{monitor_port}
public_addr = {host}
cluster_addr = {host}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
run_dir = {folder}
admin_socket =
log_file = {folder}/$name.log
mon_data = {folder}/mon
osd_data = {folder}/osd
keyring = {folder}/keyring
osd_objectstore = bluestore
bluestore_block_size = 10G
osd_memory_target = 939524096
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_crush_update_on_start = false
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_warn = 1
mon_data_avail_crit = 1
mon_osd_full_ratio = 0.97
mon_osd_backfillfull_ratio = 0.96
mon_osd_nearfull_ratio = 0.95
mon_max_pg_per_osd = 1000
osd_fast_shutdown = true
ms_bind_ipv6 = false
ms_mon_client_mode = crc
rgw_frontends = beast endpoint={host}:{port}
rgw_thread_pool_size = 64
rgw_enable_usage_log = false
debug_rgw = 0/0
"""


class ServerError(RuntimeError):
    """The server cannot be started. Tests that need it fail; they are never skipped."""


@dataclass(frozen=True)
class Endpoint:
    """Where an S3 server is, and who may use it."""

    url: str
    access_key: str = "distmtl-tests"
    secret_key: str = "distmtl-tests-secret"

    def environment(self) -> dict[str, str]:
        """The variables that point distmtl, boto3 and pyarrow at it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            # pyarrow and boto3 send checksums of a kind that this server refuses.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        }

    def signed(self, method: str, bucket: str, key: str = "", query: str = "") -> str:
        """A URL that whoever has it may use for an hour (signature version 4); without a key it is the bucket's."""
        path = quote(f"/{bucket}/{key}")
        time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{time[:8]}/us-east-1/s3/aws4_request"
        signing = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.access_key}/{scope}",
            "X-Amz-Date": time,
            "X-Amz-Expires": "3600",
            "X-Amz-SignedHeaders": "host",
        }
        asked = "&".join(
            sorted([urlencode({name: value}) for name, value in signing.items()] + ([query] if query else []))
        )
        host = urlsplit(self.url).netloc
        request = "\n".join([method, path, asked, f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"])
        signed = "\n".join(["AWS4-HMAC-SHA256", time, scope, sha256(request.encode()).hexdigest()])
        secret = f"AWS4{self.secret_key}".encode()
        for part in [*scope.split("/"), signed]:
            secret = hmac.digest(secret, part.encode(), "sha256")
        return f"{self.url}{path}?{asked}&X-Amz-Signature={secret.hex()}"

    def create_bucket(self, bucket: str) -> None:
        """Make an empty bucket."""
        with urllib.request.urlopen(urllib.request.Request(self.signed("PUT", bucket), method="PUT"), timeout=60):
            pass


@dataclass
class CephServer:
    """The server; a context manager that starts and stops it.

    Attributes:
        endpoint: Where it answers.
    """

    endpoint: Endpoint = field(init=False)
    _folder: Path = field(init=False)
    _daemons: dict[str, subprocess.Popen[bytes]] = field(init=False, default_factory=dict)

    def __enter__(self) -> Self:
        missing = [name for name in ("ceph-mon", "ceph-osd", "ceph", "radosgw", "setpriv") if not shutil.which(name)]
        if missing:
            raise ServerError(
                f"S3 tests need a real server, and {', '.join(missing)} cannot be found. As root: "
                f"apt-get install --no-install-recommends {' '.join(PACKAGES)}. Or leave the tests out: -m 'not s3'"
            )
        for attempt in range(1, STARTS + 1):
            self._folder = Path(tempfile.mkdtemp(prefix="distmtl-ceph-"))
            try:
                self._start()
                break
            except BaseException as error:
                self.stop()
                if attempt == STARTS or not isinstance(error, ServerError):
                    raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every daemon and delete the data."""
        for name in ("gateway", "disk", "monitor"):
            self.kill(name)
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self, name: str = "gateway") -> None:
        """Kill a daemon: "gateway", "disk" or "monitor". Its data stay."""
        daemon = self._daemons.pop(name, None)
        if daemon is not None:
            daemon.kill()
            daemon.wait()

    def pause(self) -> None:
        """Let the gateway take connections and never answer them."""
        self._daemons["gateway"].send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused gateway go on."""
        self._daemons["gateway"].send_signal(signal.SIGCONT)

    def start_gateway(self) -> None:
        """Start the gateway, after the monitor and the disk; returns when it answers."""
        self._spawn("gateway", "radosgw", "-n", "client.rgw.a")
        self._await("gateway", self._answers)

    def _start(self) -> None:
        monitor_port, port = _free_ports(2)
        self.endpoint = Endpoint(f"http://{HOST}:{port}")
        fsid = str(uuid.uuid4())
        for name in ("mon", "osd"):
            (self._folder / name).mkdir()
        (self._folder / "keyring").touch()
        (self._folder / "ceph.conf").write_text(
            CONFIGURATION.format(fsid=fsid, host=HOST, monitor_port=monitor_port, port=port, folder=self._folder)
        )
        addresses = f"[v2:{HOST}:{monitor_port}]"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", addresses, f"{self._folder}/monmap")
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", f"{self._folder}/monmap")
        self._spawn("monitor", "ceph-mon", "-i", "a")
        self._await("monitor", lambda: self._says("", "mon", "stat"))
        self._run("ceph", "osd", "create")
        self._run("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=h1")
        self._run("ceph-osd", "-i", "0", "--mkfs")
        self._spawn("disk", "ceph-osd", "-i", "0")
        self._await("disk", lambda: self._says("1 up", "osd", "stat"))
        self.start_gateway()
        keys = (f"--access-key={self.endpoint.access_key}", f"--secret-key={self.endpoint.secret_key}")
        self._run("radosgw-admin", "user", "create", "--uid=tests", "--display-name=tests", *keys)

    def _spawn(self, name: str, program: str, *arguments: str) -> None:
        # The kernel kills the daemon when the thread that starts it ends: let that be the main one.
        command = ["setpriv", "--pdeathsig", "KILL", *self._with_configuration(program), "-f", *arguments]
        with (self._folder / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def _await(self, name: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not condition():
            if self._daemons[name].poll() is not None:
                raise ServerError(f"Ceph's {name} has ended:\n{self._tail(name)}")
            if time.monotonic() > deadline:
                raise ServerError(f"Ceph's {name} is not ready after {START_TIMEOUT_S} s:\n{self._tail(name)}")
            time.sleep(0.1)

    def _says(self, text: str, *arguments: str) -> bool:
        command = [*self._with_configuration("ceph"), "--connect-timeout", "5", *arguments]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return asked.returncode == 0 and text in asked.stdout

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.endpoint.url, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._with_configuration(program), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_S)
        if ran.returncode != 0:
            raise ServerError(f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stderr[-2000:]}")

    def _with_configuration(self, program: str) -> list[str]:
        return [program] if program == "monmaptool" else [program, "-c", f"{self._folder}/ceph.conf"]

    def _tail(self, name: str) -> str:
        return (self._folder / f"{name}.out").read_text(errors="replace")[-2000:]


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def main() -> int:
    """Serve until Ctrl-C."""
    with CephServer() as server:
        server.endpoint.create_bucket("distmtl")
        for name, value in server.endpoint.environment().items():
            print(f"export {name}={value}")  # noqa: T201
        print("# s3://distmtl is an empty bucket", flush=True)  # noqa: T201
        try:
            signal.pause()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
