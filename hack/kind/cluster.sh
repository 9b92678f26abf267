#!/usr/bin/env bash
# A kind cluster, also where no image registry can be reached. README.md says how.
#
#   cluster.sh up             make the cluster, or use the one that is there
#   cluster.sh down           delete it, and stop the Docker engine if this started it and nothing else runs in it
#   cluster.sh load IMAGE...  put images into it
#   cluster.sh apply          apply the manifests on standard input
#   cluster.sh diagnose       print what helps to see why it misbehaves
#   cluster.sh engine         only make sure that a Docker engine answers
#   cluster.sh status         say what is there; fails when there is no cluster
. "$(dirname "$0")/lib/common.sh"
. "$KIND_DIR/lib/engine.sh"
. "$KIND_DIR/lib/images.sh"
. "$KIND_DIR/lib/cluster.sh"

case ${1:-} in
up)
	lock
	cluster_up
	;;
down)
	lock
	cluster_down
	;;
load)
	lock
	cluster_load "${@:2}"
	;;
engine)
	lock
	engine_up
	;;
apply) cluster_apply ;;
diagnose) cluster_diagnose ;;
status) cluster_status ;;
*) die "usage: cluster.sh up|down|load IMAGE...|apply|diagnose|engine|status" ;;
esac
