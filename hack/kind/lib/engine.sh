# Sourced: the Docker engine. One that answers is used as it is; otherwise one is started from Debian's package,
# with its data in the cache, and only that one is ever stopped.
# shellcheck shell=bash

ENGINE=$CACHE/engine
ENGINE_PID=$ENGINE/dockerd.pid

engine_up() {
	if docker info >/dev/null 2>&1; then return; fi
	[[ -z ${DOCKER_HOST:-}${DOCKER_CONTEXT:-} ]] || die "DOCKER_HOST or DOCKER_CONTEXT is set, and no Docker engine answers there"
	[[ $(id -u) == 0 ]] || die "no Docker engine answers 'docker info' for this user. Start one (systemctl start docker), or run this as root."
	install_engine
	if docker info >/dev/null 2>&1; then return; fi
	mount_cgroups
	mkdir -p "$ENGINE"
	local flags=(--data-root "$CACHE/docker" --exec-root "$ENGINE/run" --pidfile "$ENGINE_PID")
	if lacks_capabilities; then
		write_runtime
		flags+=(--add-runtime "swarm=$ENGINE/runc" --default-runtime swarm)
	fi
	# A pid file that a killed engine left behind stops the next one when another process has that pid by now.
	engine_is_ours || rm -f "$ENGINE_PID"
	step "starting a Docker engine" start_engine "${flags[@]}"
}

install_engine() {
	need_packages docker=docker.io dockerd=docker.io runc=runc containerd=containerd iptables=iptables
}

start_engine() {
	# Descriptors 8 and 9 are locks that must not outlive the script.
	setsid dockerd "$@" >>"$LOGS/dockerd.log" 2>&1 </dev/null 8>&- 9>&- &
	for ((i = 0; i < 300; i++)); do
		docker info >/dev/null 2>&1 && return
		sleep 0.2
	done
	tail -n 20 "$LOGS/dockerd.log"
	return 1
}

engine_is_ours() {
	local pid
	[[ -s $ENGINE_PID ]] && pid=$(<"$ENGINE_PID") && [[ -r /proc/$pid/cmdline ]] || return 1
	[[ $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") == *"$CACHE/docker "* ]]
}

engine_down() {
	engine_is_ours || return 0
	local others
	others=$(docker -H unix:///var/run/docker.sock ps --format '{{.Names}}' | paste -sd ' ')
	if [[ -n $others ]]; then
		say "  the Docker engine stays, because containers run in it: $others"
		return
	fi
	step "stopping the Docker engine" stop_engine
}

stop_engine() {
	local pid
	pid=$(<"$ENGINE_PID")
	kill "$pid"
	for ((i = 0; i < 150; i++)); do
		[[ -d /proc/$pid ]] || return 0
		sleep 0.2
	done
	return 1
}

# Bare machines and minimal images come without cgroup mounts, or without some; dockerd does not make them.
mount_cgroups() {
	local root=/sys/fs/cgroup
	[[ -d $root && ! -e $root/cgroup.controllers ]] || return 0
	mountpoint -q "$root/memory" || mount_cgroups_v1
	if ! mountpoint -q "$root/memory"; then
		# The kernel has no version 1, or something else uses version 2 already.
		umount -R "$root"
		mount -t cgroup2 cgroup2 "$root"
		return
	fi
	# A node's systemd keeps its books in version 2 also here. Only where the engine sees that hierarchy does it give each
	# container its own part of it; otherwise the next node trips over what the last one left there.
	mountpoint -q "$root/unified" && return
	if ! { mkdir -p "$root/unified" && mount -t cgroup2 cgroup2 "$root/unified"; } 2>/dev/null; then
		say "  cgroup2 cannot be mounted at $root/unified: a second cluster may not start"
	fi
}

# As Debian's cgroupfs-mount does it: the hierarchies that exist, then one for each controller that has none.
mount_cgroups_v1() {
	local root=/sys/fs/cgroup hierarchy name
	mountpoint -q "$root" || mount -t tmpfs -o mode=0755 cgroup "$root"
	while read -r hierarchy; do
		name=${hierarchy#name=}
		mkdir -p "$root/$name"
		mountpoint -q "$root/$name" && continue
		[[ $hierarchy != name=* ]] || hierarchy=none,$hierarchy
		mount -t cgroup -o "$hierarchy" cgroup "$root/$name" 2>/dev/null || rmdir "$root/$name"
	done < <(
		cut -d: -f2 /proc/self/cgroup | sed '/^$/d'
		awk '$2 == 0 && $4 == 1 { print $1 }' /proc/cgroups
		echo name=systemd
	)
}

lacks_capabilities() { [[ $(missing_capabilities) != "[]" ]]; }

# The capabilities that Docker asks for with --privileged and that this machine's root does not have, as JSON.
missing_capabilities() {
	local names bounding bit missing=()
	names=(CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
		NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
		SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
		MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE)
	bounding=0x$(awk '$1 == "CapBnd:" { print $2 }' /proc/self/status)
	for bit in "${!names[@]}"; do
		((bounding >> bit & 1)) || missing+=("\"CAP_${names[bit]}\"")
	done
	(
		IFS=,
		printf '[%s]\n' "${missing[*]}"
	)
}

# runc refuses to start what asks for a capability that the machine lacks, and kind's nodes ask for all of them. This
# runtime takes the missing ones out of the request, in both places where one arrives, and hands it on to runc.
write_runtime() {
	need_packages jq=jq
	local missing
	missing=$(missing_capabilities)
	say "  this machine lacks ${missing//[\[\]\"]/}: the engine gets a runtime that does not ask for it"
	cat >"$ENGINE/runc" <<RUNTIME
#!/bin/bash
strip() {
	[[ -f \$1 ]] || return 0
	jq -c --argjson missing '$missing' 'walk(if type == "array" then . - \$missing else . end)' "\$1" >"\$1.new" && mv "\$1.new" "\$1"
}
previous=
for argument in "\$@"; do
	case \$previous in
	--bundle | -b) strip "\$argument/config.json" ;;
	--process | -p) strip "\$argument" ;;
	esac
	previous=\$argument
done
exec $(command -v runc) "\$@"
RUNTIME
	chmod +x "$ENGINE/runc"
}

# have_image IMAGE: whether it is here, or can be pulled. The engine is asked itself, since it may have a mirror or a proxy;
# it gives up on a registry that does not answer after 15 s.
have_image() {
	docker image inspect "$1" >/dev/null 2>&1 || attempt "docker pull $1" docker pull "$1"
}
