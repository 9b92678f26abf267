#!/bin/sh
# Makes the code of swarm_operator/memory/service/grpc/memory.proto. With --check it writes nothing and fails when that is stale.
set -eu
cd "$(dirname "$0")/.."
room=swarm_operator/memory/service/grpc
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"${PYTHON:-.venv/bin/python}" -m grpc_tools.protoc -I . --python_out="$made" --pyi_out="$made" --grpc_python_out="$made" $room/memory.proto
status=0
for file in memory_pb2.py memory_pb2.pyi memory_pb2_grpc.py; do
	cmp -s "$made/$room/$file" "$room/$file" && continue
	if [ "${1:-}" = --check ]; then
		echo "$room/$file is stale: run \`make proto\` and commit the result"
		status=1
	else
		cp "$made/$room/$file" "$room/$file"
	fi
done
exit $status
