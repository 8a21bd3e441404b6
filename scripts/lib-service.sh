# For scripts that need the service itself, all roles in one process, without a world around it. Sourced after lib.sh.

# start_service FOLDER [DNS_PORT [CONFIG]]: a fresh Postgres and `mtasts all`, remembered there; stop them by `stop_all
# FOLDER`. CONFIG is more of its configuration, as TOML. Leaves the address of the API in $api, the operator's token in
# $operator, and the ports of the edge and the nameserver in $edge_port and $nameserver_port. Another binary than the dev build:
# in $service_binary.
start_service() {
  local run=$1 url postgres_port api_port admin_port edge_http_port nobody
  # The last port is nobody's: whatever a request makes the service ask for by DNS or at Cloudflare fails there at once.
  read -r postgres_port api_port admin_port edge_port edge_http_port nameserver_port nobody < <(free_ports 7)
  start_postgres "$run" "$postgres_port"
  "$(pg_bin psql)" -Xq -v ON_ERROR_STOP=1 "$(cat "$run/postgres/url")" -c 'CREATE DATABASE mtasts'
  operator=$(openssl rand -hex 32)
  url=$(cat "$run/postgres/url")
  (umask 077 && cat >"$run/mtasts.toml" <<END)
data_dir = "$root/$run/data"
[database]
url = "${url%/postgres}/mtasts"
[names]
allow_reserved = ["test"]
[api]
listen = ["127.0.0.1:$api_port"]
operator_token = "$operator"
[admin]
listen = "127.0.0.1:$admin_port"
[edge]
https_listen = ["127.0.0.1:$edge_port"]
http_listen = ["127.0.0.1:$edge_http_port"]
[nameserver]
listen = ["127.0.0.1:$nameserver_port"]
[resolver]
upstreams = ["127.0.0.1:${2:-$nobody}"]
timeout_milliseconds = 200
attempts = 1
[limits]
enabled = false
[mail]
relay = "127.0.0.1"
port = $nobody
tls = "none"
from = "digests@sts.test"
[customer_dns]
cloudflare_api_url = "http://127.0.0.1:$nobody/"
${3:-}
END
  # shellcheck disable=SC2034 # used by those who source this
  api=http://127.0.0.1:$api_port
  service_ready=http://127.0.0.1:$admin_port/readyz
  run_service "$run"
}

# run_service FOLDER: starts what start_service has made once more.
run_service() {
  spawn mtasts "$1" TERM "${service_binary:-$(mtasts_binary)}" all --config "$1/mtasts.toml"
  await_ready "$1" mtasts 60 curl -sf --max-time 2 "$service_ready"
}

# call METHOD PATH TOKEN [BODY]: one request, which must succeed.
call() { curl -sSf -X "$1" "$api$2" -H "Authorization: Bearer $3" -H 'Content-Type: application/json' ${4:+-d "$4"}; }

# new_key NAME: a tenant of this name with a key, which is printed.
new_key() {
  local id
  id=$(call POST /v1/tenants "$operator" "{\"name\":\"$1\"}" | jq -r .id)
  call POST "/v1/tenants/$id/api-keys" "$operator" "{\"name\":\"$1\"}" | jq -r .key
}
