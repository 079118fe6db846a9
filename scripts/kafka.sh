#!/usr/bin/env bash
# A real Apache Kafka broker for tests: one node, KRaft, loopback only.
#
#   scripts/kafka.sh install          download it (once; start and run do so too)
#   scripts/kafka.sh start DIR PORT   start in the background, print 127.0.0.1:PORT when it serves
#   scripts/kafka.sh run DIR PORT     run in the foreground
#   scripts/kafka.sh stop DIR         SIGTERM, and wait
#   scripts/kafka.sh kill DIR         SIGKILL, and wait
#
# DIR keeps the data: a broker started on it again has what it had.
# It needs Java 17 and Maven, which also find a registry mirror if there is one.
set -euo pipefail

readonly here="${BASH_SOURCE[0]%/*}"
readonly pom="$here/kafka/pom.xml"
version=$(sed -n 's:.*<kafka\.version>\(.*\)</kafka\.version>.*:\1:p' "$pom")
readonly version
readonly libs="${XDG_CACHE_HOME:-$HOME/.cache}/adtally/kafka-$version"

die() {
	echo "kafka.sh: $*" >&2
	exit 1
}

usage() {
	sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2
	exit 2
}

need() {
	command -v "$1" >/dev/null || die "$1 is missing: install $2"
}

# The folder appears under its name only when it is whole, so that an
# interrupted download is not taken for a broker.
install() {
	[[ -d $libs ]] && return
	need mvn "Maven 3.6 or later"
	need java "a JDK, 17 or later"
	echo "kafka.sh: downloading Apache Kafka $version (once)" >&2
	mkdir -p "${libs%/*}"
	local tmp
	tmp=$(mktemp -d "$libs.XXXXXX")
	if ! mvn -q -B -f "$pom" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$tmp" >&2; then
		rm -rf "$tmp"
		die "Maven did not download Apache Kafka $version"
	fi
	chmod 755 "$tmp"
	if [[ -d $libs ]]; then # another process was first
		rm -rf "$tmp"
	else
		mv "$tmp" "$libs"
	fi
}

java_() {
	local heap=$1
	shift
	# SerialGC and the first compiler only: the least threads and the fastest start.
	exec java -Xms64m "-Xmx$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError \
		-Dorg.slf4j.simpleLogger.defaultLogLevel="${KAFKA_LOG_LEVEL:-warn}" \
		-Dorg.slf4j.simpleLogger.showDateTime=true -Djava.awt.headless=true \
		-cp "$libs/*" "$@"
}

answers() {
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A random port for the controller: nobody else talks to it.
free_port() {
	local port
	for _ in {1..100}; do
		port=$((20000 + RANDOM % 12000))
		if ! answers "$port"; then
			echo "$port"
			return
		fi
	done
	die "no free port found"
}

# Settings are written at each start, because the ports may be others.
prepare() {
	local dir=$1 port=$2 controller
	mkdir -p "$dir"
	[[ -f $dir/pid ]] && is_ours "$dir" && die "process $(<"$dir/pid") serves $dir: scripts/kafka.sh stop $dir"
	for _ in {1..20}; do # a process that was just killed gives its port back late
		answers "$port" || break
		sleep 0.1
	done
	answers "$port" && die "port $port is taken: stop what listens there, or choose another port"
	controller=$(free_port)
	cat >"$dir/server.properties" <<-EOF
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@127.0.0.1:$controller
		listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
		advertised.listeners=PLAINTEXT://127.0.0.1:$port
		listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
		controller.listener.names=CONTROLLER
		inter.broker.listener.name=PLAINTEXT
		log.dirs=$dir/data
		log.message.timestamp.type=LogAppendTime
		auto.create.topics.enable=false
		default.replication.factor=1
		min.insync.replicas=1
		offsets.topic.replication.factor=1
		offsets.topic.num.partitions=4
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		transaction.state.log.num.partitions=4
		share.coordinator.state.topic.replication.factor=1
		share.coordinator.state.topic.min.isr=1
		group.initial.rebalance.delay.ms=0
		unclean.leader.election.enable=false
		broker.heartbeat.interval.ms=500
		broker.session.timeout.ms=3000
		num.network.threads=2
		num.io.threads=4
		log.cleaner.dedupe.buffer.size=16777216
	EOF
	if [[ ! -f $dir/data/meta.properties ]]; then
		(java_ 128m kafka.tools.StorageTool format --cluster-id adtally-test-clusterA --config "$dir/server.properties") >"$dir/format.log" 2>&1 ||
			die "format of $dir/data did not work: $(tail -n 1 "$dir/format.log")"
	fi
}

# is_ours tells whether the noted process still is the broker of this folder.
is_ours() {
	local dir=$1 args
	args=$(ps -o args= -p "$(<"$dir/pid")" 2>/dev/null) || return 1
	[[ $args == *"kafka.Kafka $dir/server.properties"* ]]
}

# lives is for a process that is_ours was true for: one that is ending has no
# command line any more. A zombie has ended.
lives() {
	local state
	state=$(ps -o stat= -p "$1" 2>/dev/null) || return 1
	[[ $state != Z* ]]
}

start() {
	local dir=$1 port=$2 pid
	install
	prepare "$dir" "$port"
	set -m # a process group of its own: a Ctrl-C is not for it
	java_ 512m kafka.Kafka "$dir/server.properties" </dev/null >>"$dir/server.log" 2>&1 &
	pid=$! # java's own, because java_ ends in exec
	set +m
	echo "$pid" >"$dir/pid"
	for _ in {1..600}; do
		if answers "$port"; then
			echo "127.0.0.1:$port"
			return
		fi
		kill -0 "$pid" 2>/dev/null || die "the broker ended at once: $(tail -n 1 "$dir/server.log"); see $dir/server.log"
		sleep 0.1
	done
	end "$dir" KILL
	die "the broker did not serve within 60 s; see $dir/server.log"
}

end() {
	local dir=$1 signal=$2 pid
	[[ -f $dir/pid ]] || return 0
	pid=$(<"$dir/pid")
	if is_ours "$dir"; then
		kill "-$signal" "$pid" 2>/dev/null || true
		for _ in {1..600}; do
			lives "$pid" || break
			sleep 0.05
		done
		lives "$pid" && die "process $pid does not end; end it by hand"
	fi
	rm -f "$dir/pid"
}

absolute() {
	case $1 in
	/*) echo "$1" ;;
	*) echo "$PWD/$1" ;;
	esac
}

case "${1:-}/$#" in
install/1) install ;;
start/3) start "$(absolute "$2")" "$3" ;;
run/3)
	install
	dir=$(absolute "$2")
	prepare "$dir" "$3"
	echo $$ >"$dir/pid"
	java_ 512m kafka.Kafka "$dir/server.properties"
	;;
stop/2) end "$(absolute "$2")" TERM ;;
kill/2) end "$(absolute "$2")" KILL ;;
*) usage ;;
esac
