# Sourced: the Docker engine. One that answers is used as it is; otherwise one is started from Debian's package,
# with its data in the cache, and only that one is ever stopped.
# shellcheck shell=bash

ENGINE=$CACHE/engine
ENGINE_PID=$ENGINE/dockerd.pid

engine_up() {
	if docker info >/dev/null 2>&1; then return; fi
	need_packages docker=docker.io dockerd=docker.io runc=runc containerd=containerd iptables=iptables
	[[ $(id -u) == 0 ]] || die "no Docker engine answers 'docker info'. Start one (systemctl start docker) or run this as root."
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

start_engine() {
	# Descriptor 9 is a lock that must not outlive the script.
	setsid dockerd "$@" >>"$LOGS/dockerd.log" 2>&1 </dev/null 9>&- &
	for ((i = 0; i < 300; i++)); do
		docker info >/dev/null 2>&1 && return
		sleep 0.2
	done
	tail -n 20 "$LOGS/dockerd.log"
	return 1
}

engine_is_ours() {
	[[ -s $ENGINE_PID ]] && [[ $(tr '\0' ' ' <"/proc/$(<"$ENGINE_PID")/cmdline" 2>/dev/null) == *"$CACHE/docker"* ]]
}

engine_down() {
	engine_is_ours || return 0
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

# Bare machines and minimal images come without cgroup mounts; dockerd does not make them.
mount_cgroups() {
	[[ -d /sys/fs/cgroup ]] || return 0
	mountpoint -q /sys/fs/cgroup && return 0
	mount -t cgroup2 none /sys/fs/cgroup
}

lacks_capabilities() { [[ $(missing_capabilities) != "[]" ]]; }

# The capabilities, by name, that Docker asks for with --privileged and that this machine's root does not have.
missing_capabilities() {
	python3 - <<'PYTHON'
import json, re
names = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT
SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE""".split()
bounding = int(re.search(r"CapBnd:\s*(\w+)", open("/proc/self/status").read())[1], 16)
print(json.dumps(["CAP_" + name for bit, name in enumerate(names) if not bounding >> bit & 1]))
PYTHON
}

# runc refuses to start what asks for a capability that the machine lacks, and kind's nodes ask for all of them. This
# runtime takes the missing ones out of the request, in both places where one arrives, and hands it on to runc.
write_runtime() {
	need_packages jq=jq python3=python3
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
exec $(command -v runc || echo /usr/sbin/runc) "\$@"
RUNTIME
	chmod +x "$ENGINE/runc"
}

# registry_answers IMAGE: whether an image can be pulled, without waiting for a registry that never answers.
registry_answers() {
	local verdict=$CACHE/engine/registry-$(tr -c 'A-Za-z0-9.\n' '-' <<<"$1")
	docker image inspect "$1" >/dev/null 2>&1 && return
	# An answer holds for ten minutes, so that one run asks once.
	if [[ -z $(find "$verdict" -mmin -10 2>/dev/null) ]]; then
		mkdir -p "${verdict%/*}"
		if timeout 15 docker manifest inspect "$1" >/dev/null 2>&1; then echo yes; else echo no; fi >"$verdict"
	fi
	[[ $(<"$verdict") == yes ]]
}
