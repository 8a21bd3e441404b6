# shellcheck shell=bash
# A Postfix of the Debian in $rootfs (target/tools/trixie); sourced after lib.sh. FOLDER is mounted at /srv/peer there.

# start_postfix FOLDER NAME MAIN_CF [MASTER_CF]: one with these lines besides the usual ones, and FOLDER/NAME/mail.log.
start_postfix() {
  local folder=$1 name=$2 inside=/srv/peer/$2 pid
  : "${rootfs:?}"
  mkdir -p "$folder/$name/postfix" "$folder/$name/lib" "$folder/$name/spool"
  cat >"$folder/$name/postfix/main.cf" <<END
compatibility_level = 3.10
queue_directory = $inside/spool
data_directory = $inside/lib
maillog_file = $inside/mail.log
maillog_file_prefixes = $inside
mydestination =
inet_protocols = ipv4
alias_maps =
notify_classes =
$3
END
  cat >"$folder/$name/postfix/master.cf" <<END
pickup    unix  n - n 1 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
showq     unix  n - n - - showq
flush     unix  n - - 1000? 0 flush
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
${4:-}
END
  chroot "$rootfs" chown postfix "$inside/lib"
  chroot "$rootfs" postfix -c "$inside/postfix" start >>"$folder/$name.log" 2>&1 || {
    tail -n 20 "$folder/$name.log" "$folder/$name/mail.log" >&2
    die "$name did not start"
  }
  # It goes into the background by itself: remembered as `spawn` does.
  pid=$(tr -d ' ' <"$folder/$name/spool/pid/master.pid")
  printf '%s %s TERM\n' "$pid" "$(started_at "$pid")" >"$folder/$name.pid"
}
