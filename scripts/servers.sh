# What scripts/test, scripts/soak, scripts/bench-recorder and scripts/bench-guard share: an Apache Kafka and a PostgreSQL
# that are obtained, started and gone with the script. Sourced after lib.sh, never run.

java_is_new_enough() { (($(java -version 2>&1 | sed -nE '1s/.*"([0-9]+).*/\1/p') >= 17)); }
postgres_is_there() { compgen -G '/usr/lib/postgresql/*/bin/postgres' || command -v pg_config; }

need_servers() {
    need 'openjdk-21-jre-headless|openjdk-17-jre-headless' "runs Apache Kafka" java_is_new_enough
    need maven "fetches Apache Kafka" command -v mvn
    need postgresql "the database under test" postgres_is_there
}

# install_missing, and Kafka's jars, which stay in the checkout, so that a second run fetches nothing.
obtain_servers() {
    # Debian's package would make a server of its own and start it on port 5432; these scripts bring their own.
    local no_server=/etc/postgresql-common/createcluster.d/ordercast-tests.conf
    if [[ " ${missing[*]} " == *' postgresql '* ]] && command -v apt-get >/dev/null; then
        as_root install -D -m 644 /dev/stdin "$no_server" <<<'create_main_cluster = off'
    fi
    install_missing
    [[ ! -e $no_server ]] || as_root rm "$no_server"
    java_is_new_enough || fail "Apache Kafka needs Java 17 or newer; this is: $(java -version 2>&1 | head -1)"
    jars=${CARGO_TARGET_DIR:-$PWD/target}/parts/kafka
    if ! cmp -s tests/parts/pom.xml "$jars/pom.xml"; then
        say "fetching Apache Kafka"
        rm -rf "$jars"
        mvn -q -B -ntp -f tests/parts/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars/lib" >&2
        cp tests/parts/pom.xml "$jars/pom.xml"
    fi
}

# Nothing that was started here outlives this script. A command runs in a process group of its own and is awaited, so that a
# signal is answered at once; the two servers ask the kernel to end with us, should we be killed ourselves.
scratch=$(mktemp -d /tmp/ordercast-test.XXXXXX)
chmod 755 "$scratch"
export TMPDIR=$scratch
running='' kafka='' postgres=''
finish() {
    local status=$?
    trap '' INT TERM
    [[ -z $running ]] || kill -KILL -- "-$running" || true
    [[ -z $kafka ]] || kill -KILL "$kafka" || true
    [[ -z $postgres ]] || kill -QUIT "$postgres" || true
    wait
    # What a killed test had started needs a moment to notice.
    for _ in {1..50}; do rm -rf "$scratch" && break || sleep 0.1; done
    exit "$status"
} 2>/dev/null
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

run() {
    set -m
    "$@" </dev/null &
    running=$!
    set +m
    wait "$running"
    running=''
}

# await PID LOG CHECK...: until the server started as PID answers.
await() {
    local pid=$1 log=$2 deadline=$((SECONDS + 60))
    shift 2
    until "$@" 2>/dev/null; do
        if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > deadline)); then
            cat "$log" >&2
            fail "$(basename "$log" .log) does not start"
        fi
        sleep 0.1
    done
}

# start_servers [OPTION of PostgreSQL]...: starts an Apache Kafka and a PostgreSQL, unless the caller's environment names some,
# and says in the environment where they are.
start_servers() {
    local ports
    mapfile -t ports < <(free_ports 3)
    if [[ -z ${ORDERCAST_TEST_POSTGRES:-} ]]; then
        tests/parts/postgres "$scratch/postgres" "${ports[0]}" "$@" >"$scratch/PostgreSQL.log" 2>&1 &
        postgres=$!
        export ORDERCAST_TEST_POSTGRES=postgres://postgres@127.0.0.1:${ports[0]}/postgres
    fi
    export ORDERCAST_TEST_KAFKA_LIBS=$jars/lib
    if [[ -z ${ORDERCAST_TEST_KAFKA:-} ]]; then
        tests/parts/kafka "$scratch/kafka" T3JkZXJjYXN0LXRlc3RzLQ "${ports[1]}" "${ports[2]}" >"$scratch/Kafka.log" 2>&1 &
        kafka=$!
        export ORDERCAST_TEST_KAFKA=127.0.0.1:${ports[1]}
        await "$kafka" "$scratch/Kafka.log" listens "${ports[1]}"
    fi
    [[ -z $postgres ]] || await "$postgres" "$scratch/PostgreSQL.log" grep -q ready "$scratch/postgres/data/postmaster.pid"
}
