# shellcheck shell=bash disable=SC2154
# How the demo talks: steps and their times, commands that can be copied, the conditions of a domain as they change.
# To be sourced after lib.sh. The caller sets: api (its base address), run (the demo's folder), log (the service's log).

live=
bold='' dim='' green='' red='' yellow='' plain=''
if [[ -t 1 && ${TERM:-dumb} != dumb ]]; then
  live=yes
  if [[ -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' yellow=$'\e[33m' plain=$'\e[0m'
  fi
fi

labels=() titles=() outcomes=() times=()
step_start=0

# begin LABEL TITLE: the next step.
begin() {
  labels+=("$1")
  titles+=("$2")
  outcomes+=(failed)
  times+=(0)
  step_start=$(now_ms)
  printf '\n%s%s. %s%s\n' "$bold" "$1" "$2" "$plain"
}

# finish OUTCOME: held, failed, or "skipped: why".
finish() {
  local last=$((${#titles[@]} - 1))
  ((last >= 0)) || return 0
  outcomes[last]=$1
  times[last]=$(($(now_ms) - step_start))
}

tell() { printf '   %s\n' "$*"; }
indent() { sed 's/^/   /'; }

# seconds MS: as 1.234 s
seconds() { printf '%d.%03d s' $(($1 / 1000)) $(($1 % 1000)); }

# shown COMMAND…: as it could be typed into a shell.
shown() {
  local word line=
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=@+,%-]+$ ]] || word=${word@Q}
    line+=" $word"
  done
  printf '   %s$%s%s\n' "$dim" "$line" "$plain"
}

pretty() {
  if [[ -n $green ]]; then jq -C .; else jq -M .; fi 2>/dev/null
}

# rest STATUS METHOD PATH TOKEN_FILE [JSON]: one REST call, shown as a curl line with its answer, which is then in $answer.
# Any other status fails the demo.
rest() {
  local expected=$1 method=$2 path=$3 token=$4 json=${5:-} status
  local -a data=()
  printf '   %s$ curl -sS -X %s %s%s \\\n' "$dim" "$method" "$api" "$path"
  # shellcheck disable=SC2016 # the reader's shell shall expand it
  printf '       -H "Authorization: Bearer $(cat %s)"' "$token"
  if [[ -n $json ]]; then
    printf " \\\\\n       -H 'Content-Type: application/json' -d '%s'" "$json"
    data=(-H 'Content-Type: application/json' -d "$json")
  fi
  printf '%s\n' "$plain"
  status=$(curl -sS --max-time 20 -o "$run/answer" -w '%{http_code}' -X "$method" "$api$path" \
    -H "Authorization: Bearer $(cat "$token")" "${data[@]}") || fail "$method $path: no answer"
  answer=$(cat "$run/answer")
  tell "$status"
  { pretty <<<"$answer" || printf '%s\n' "$answer"; } | indent
  [[ $status == "$expected" ]] || fail "$method $path answered $status, not $expected"
}

# field FILTER: of $answer; must be there.
field() {
  jq -er "$1" <<<"$answer" || fail "the answer has no $1"
}

# conditions PATH TOKEN_FILE: KIND, STATUS, REASON, MESSAGE of each, parted by \x1f (a tab would swallow empty fields).
conditions() {
  curl -sS --max-time 5 "$api$1" -H "Authorization: Bearer $(cat "$2")" 2>/dev/null |
    jq -r '.conditions[] | [.kind, .status, .reason, .message] | join("\u001f")' 2>/dev/null || true
}

# clip TEXT WIDTH: because a line that wraps cannot be drawn over.
clip() {
  if ((${#1} <= $2)); then printf '%s' "$1"; else printf '%s…' "${1:0:$2-1}"; fi
}

# columns: of the terminal.
columns() {
  local size
  size=$(stty size </dev/tty 2>/dev/null) && [[ ${size#* } -gt 20 ]] && echo "${size#* }" || echo 80
}

# watch_conditions SECONDS PATH TOKEN_FILE KIND…: shows the conditions until these kinds are all true; fails with the
# reasons of those that are not at the deadline. On a terminal the lines are drawn over, elsewhere each change is a line.
watch_conditions() {
  local limit=$1 path=$2 token=$3 start elapsed kind status reason message text drawn=0 left missing width=80
  shift 3
  local -A turned=() last=()
  start=$(now_ms)
  while :; do
    elapsed=$(($(now_ms) - start))
    left=$#
    missing=
    [[ -z $live ]] || width=$(($(columns) - 6))
    local -a lines=()
    while IFS=$'\x1f' read -r kind status reason message; do
      if [[ $status == True ]]; then
        turned[$kind]=${turned[$kind]:-$elapsed}
      else
        unset "turned[$kind]"
      fi
      if [[ " $* " == *" $kind "* ]]; then
        if [[ $status == True ]]; then left=$((left - 1)); else missing+="$kind: $reason: $message"$'\n'; fi
      elif [[ $status != True ]]; then
        lines+=("$dim   · $kind: $reason$plain")
        continue
      fi
      if [[ -n $live ]]; then
        if [[ $status == True ]]; then
          printf -v text '%-17s %9s  %s' "$kind" "$(seconds "${turned[$kind]}")" "$reason"
          lines+=("   $green✓$plain $(clip "$text" "$width")")
        else
          printf -v text '%-17s %9s  %s: %s' "$kind" "$(seconds "$elapsed")" "$reason" "$message"
          lines+=("   $yellow…$plain $(clip "$text" "$width")")
        fi
      elif [[ ${last[$kind]:-} != "$status $reason" ]]; then
        last[$kind]="$status $reason"
        printf '   [%9s] %-17s %-7s %s: %s\n' "$(seconds "$elapsed")" "$kind" "$status" "$reason" "$message"
      fi
    done < <(conditions "$path" "$token")
    if [[ -n $live && ${#lines[@]} -gt 0 ]]; then
      ((drawn == 0)) || printf '\e[%dA' "$drawn"
      printf '%s\e[K\n' "${lines[@]}"
      drawn=${#lines[@]}
    fi
    ((left > 0)) || return 0
    if ((elapsed > limit * 1000)); then
      fail "not all conditions turned true within $limit s:"$'\n'"${missing:-the API does not tell them}"
    fi
    running "$run" mtasts || fail "mtasts ended"
    sleep 0.2
  done
}

# fail MESSAGE: ends the demo; the service's last words come first, so that the message is not lost above them.
fail() {
  finish failed
  {
    if [[ -s $log ]]; then
      printf -- '\n--- the end of %s\n' "$log"
      tail -n 40 "$log"
    fi
    printf '\n%sfailed: %s%s\n' "$red" "$*" "$plain"
  } >&2
  exit 1
}

# table: what each step came to and how long it took.
table() {
  local i colour
  printf '\n%s%-3s %-58s %10s  %s%s\n' "$bold" '' step took outcome "$plain"
  for i in "${!titles[@]}"; do
    case ${outcomes[i]} in
    held) colour=$green ;;
    skipped*) colour=$yellow ;;
    *) colour=$red ;;
    esac
    printf '%-3s %-58s %10s  %s%s%s\n' "${labels[i]}." "${titles[i]}" "$(seconds "${times[i]}")" "$colour" "${outcomes[i]}" "$plain"
  done
}
