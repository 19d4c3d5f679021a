"""Runs a command with the variables of an intake whose place is a bucket: an S3 server (moto's) is started for it on loopback, and ended with it.

    .venv/bin/python -m tests.bench.s3_server -- .venv/bin/python -m tests.bench.intake_load replicas --booths 40 --packets 3 --kills 4

For correctness, not for speed: the server keeps everything in memory and answers one request at a time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from tests.s3_rig import BUCKET, running_server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="+", help="what to run, after --")
    command = parser.parse_args().command
    with running_server() as endpoint:
        print(f"s3://{BUCKET}/bench at {endpoint}", file=sys.stderr, flush=True)
        variables = {
            "INTAKE_OBJECTS_URL": f"s3://{BUCKET}/bench",
            "INTAKE_S3_ENDPOINT": endpoint,
            "INTAKE_S3_ACCESS_KEY_ID": "tests",
            "INTAKE_S3_SECRET_KEY": "tests",
        }
        raise SystemExit(subprocess.run(command, env=os.environ | variables, check=False).returncode)


if __name__ == "__main__":
    main()
