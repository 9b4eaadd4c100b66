"""Generates the Python code of utils/pb/*.proto, or checks that what is committed is fresh.

python -m bookstore.protobuf [--check]
"""

import argparse
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO_DIRECTORY = Path("utils/pb")


def generate(output: Path) -> None:
    """Writes *_pb2.py, *_pb2.pyi and *_pb2_grpc.py(i) of every .proto below `output`/utils/pb."""
    protos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PROTO_DIRECTORY).glob("*.proto"))
    scripts = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"--proto_path={ROOT}",
        f"--proto_path={resources.files('grpc_tools') / '_proto'}",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        f"--python_out={output}",
        f"--grpc_python_out={output}",
        f"--mypy_out=quiet:{output}",
        f"--mypy_grpc_out=quiet,only_async:{output}",
        *protos,
    ]
    if status := protoc.main(arguments):
        raise SystemExit(f"protoc failed with status {status}; its messages are above")


def stale_files(fresh: Path) -> list[str]:
    """Names of the generated files that differ from what `fresh` holds, those that are missing or left over too."""

    def generated(root: Path) -> dict[str, bytes]:
        directory = root / PROTO_DIRECTORY
        return {
            path.name: path.read_bytes() for pattern in ("*_pb2*.py", "*_pb2*.pyi") for path in directory.glob(pattern)
        }

    ours, theirs = generated(ROOT), generated(fresh)
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bookstore.protobuf", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the committed code is fresh")
    if not parser.parse_args().check:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        if stale := stale_files(Path(scratch)):
            raise SystemExit(f"not fresh, run `make proto`: {', '.join(stale)}")


if __name__ == "__main__":
    main()
