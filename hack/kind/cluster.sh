#!/usr/bin/env bash
# A kind cluster, also where no image registry can be reached. README.md says how.
#
#   cluster.sh up             make the cluster, or use the one that is there
#   cluster.sh down           delete it, and stop the Docker engine if this started it
#   cluster.sh load IMAGE...  put images into it
#   cluster.sh engine         only make sure that a Docker engine answers
#   cluster.sh status         say what is there
. "$(dirname "$0")/lib/common.sh"
. "$KIND_DIR/lib/engine.sh"
. "$KIND_DIR/lib/images.sh"
. "$KIND_DIR/lib/cluster.sh"

case ${1:-} in
up) cluster_up ;;
down) cluster_down ;;
load) cluster_load "${@:2}" ;;
engine) engine_up ;;
status)
	docker info >/dev/null 2>&1 && say "engine: answers" || say "engine: none"
	engine_is_ours && say "        started by this tool, data in $CACHE/docker"
	cluster_exists && say "cluster: $CLUSTER" && kube get nodes
	;;
*) die "usage: cluster.sh up|down|load IMAGE...|engine|status" ;;
esac
