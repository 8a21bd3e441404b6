# shellcheck shell=bash
# What the scripts share; to be sourced. Children are remembered in FOLDER/NAME.pid together with their start time,
# so that a stop never hits a stranger who got the same pid later.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # used by those who source this
private=$root/scripts/private

say() { printf '%s\n' "$*" >&2; }
die() {
  say "${0##*/}: $*"
  exit 1
}

# Milliseconds since the epoch.
now_ms() {
  local micros=${EPOCHREALTIME/[.,]/}
  echo $((micros / 1000))
}

# free_ports N: N different loopback ports, free for TCP and UDP.
free_ports() { python3 "$root/scripts/private/free-ports" "$1"; }

# started_at PID: its start time in clock ticks since boot; nothing if there is no such process or it is a zombie.
started_at() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  stat=${stat##*) }
  # shellcheck disable=SC2086 # split on purpose: the fields after the command's name
  set -- $stat
  [[ $1 == Z ]] || echo "${20}"
}

# spawn NAME FOLDER SIGNAL COMMAND…: runs it in the background, in a session of its own (Ctrl-C must not reach it before
# our trap stops all in order), its output in FOLDER/NAME.log. SIGNAL is what stops it politely.
spawn() {
  local name=$1 folder=$2 signal=$3 pid
  shift 3
  # 9 is the lock that some callers hold: a child must not keep it.
  setsid "$@" </dev/null >>"$folder/$name.log" 2>&1 9>&- &
  pid=$!
  printf '%s %s %s\n' "$pid" "$(started_at "$pid")" "$signal" >"$folder/$name.pid"
}

# running FOLDER NAME
running() {
  local pid start signal
  read -r pid start signal 2>/dev/null <"$1/$2.pid" || return 1
  [[ -n $signal && $(started_at "$pid") == "$start" ]]
}

# stop_one FOLDER NAME: politely, after 10 s by SIGKILL; nothing to do is no error.
stop_one() {
  local pid start signal deadline
  if running "$1" "$2"; then
    read -r pid start signal <"$1/$2.pid"
    kill -s "$signal" "$pid" 2>/dev/null || true
    deadline=$(($(now_ms) + 10000))
    while running "$1" "$2"; do
      if (($(now_ms) > deadline)); then
        say "$2 (pid $pid) did not stop within 10 s: killed"
        kill -s KILL "$pid" 2>/dev/null || true
        break
      fi
      sleep 0.05
    done
  fi
  rm -f "$1/$2.pid"
}

# stop_all FOLDER: whatever is remembered there, the youngest first.
stop_all() {
  local file name
  [[ -d $1 ]] || return 0
  while IFS= read -r file; do
    name=${file##*/}
    stop_one "$1" "${name%.pid}"
  done < <(find "$1" -maxdepth 1 -name '*.pid' -printf '%T@ %p\n' | sort -rn | cut -d' ' -f2-)
}

# await SECONDS COMMAND…: polls until it succeeds; false at the deadline.
await() {
  local deadline=$(($(now_ms) + $1 * 1000))
  shift
  until "$@" >/dev/null 2>&1; do
    (($(now_ms) < deadline)) || return 1
    sleep 0.1
  done
}

# await_ready FOLDER NAME SECONDS COMMAND…: the same for a spawned process; ends early, with its log, if it died.
await_ready() {
  local folder=$1 name=$2 seconds=$3 deadline
  shift 3
  deadline=$(($(now_ms) + seconds * 1000))
  until "$@" >/dev/null 2>&1; do
    if ! running "$folder" "$name"; then
      say "--- the end of $folder/$name.log"
      tail -n 40 "$folder/$name.log" >&2 || true
      die "$name ended before it was ready"
    fi
    if (($(now_ms) > deadline)); then
      say "--- the end of $folder/$name.log"
      tail -n 40 "$folder/$name.log" >&2 || true
      die "$name was not ready within $seconds s"
    fi
    sleep 0.1
  done
}

# pg_bin NAME: a PostgreSQL program, from PATH or the newest version that Debian's packages put aside.
pg_bin() {
  local found
  found=$(command -v "$1" || true)
  if [[ -z $found ]]; then
    found=$(find /usr/lib/postgresql/*/bin -maxdepth 1 -name "$1" 2>/dev/null | sort -V | tail -n 1)
  fi
  [[ -n $found ]] && echo "$found"
}

# tool NAME: from PATH or /usr/sbin, which a plain user's PATH lacks on Debian.
tool() { PATH=$PATH:/usr/sbin:/sbin command -v "$1"; }

# port_open PORT: whether something accepts TCP connections on that loopback port.
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# start_postgres FOLDER PORT [durable]: a private cluster; its superuser's address is then in FOLDER/postgres/url.
start_postgres() {
  spawn postgres "$1" INT "$private/postgres" "$1/postgres" "$2" "${3:-fast}"
  await_ready "$1" postgres 60 "$(pg_bin pg_isready)" -q -h 127.0.0.1 -p "$2"
}

# discard_postgres FOLDER: its data, also where only a link leads to it.
discard_postgres() {
  if [[ -L $1/postgres/data ]]; then rm -rf "$(readlink -f "$1/postgres/data")"; fi
  rm -rf "$1/postgres" "$1/postgres.log"
}

# start_redis FOLDER PORT
start_redis() {
  spawn redis "$1" TERM "$private/redis" "$1/redis" "$2"
  await_ready "$1" redis 20 redis-cli -h 127.0.0.1 -p "$2" ping
}

# mtasts_binary: where cargo puts the dev build.
mtasts_binary() {
  echo "$(cargo metadata --format-version 1 --no-deps 2>/dev/null | jq -r .target_directory)/debug/mtasts"
}
