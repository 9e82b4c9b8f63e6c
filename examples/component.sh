#!/bin/sh
# A component beside its sidecar, with nothing but curl: hold a session, ask for an order, report what became of it.
# Run it as the sidecar's child: sidecar run --config sidecar.toml -- sh examples/component.sh
set -eu
: "${SIDECAR_SOCKET:?set it to the socket of the sidecar; sidecar run sets it for its child}"
ask() { curl --silent --show-error --max-time 5 --unix-socket "$SIDECAR_SOCKET" --data "$2" "http://sidecar$1"; }

# The session is this component's life: when this curl ends, the gate closes and the slot moves.
lines=$(mktemp -u)
mkfifo "$lines"
curl --silent --no-buffer --unix-socket "$SIDECAR_SOCKET" http://sidecar/v1/session >"$lines" &
session=$!
exec 3<"$lines"
trap 'kill "$session" 2>/dev/null; rm -f "$lines"' EXIT

# Each line is JSON: session-opened first, then each change of the gate, and a sign of life every second.
# A component that stays goes on reading them: one that does not is cut.
while read -r line <&3; do
    case "$line" in
    *'"open":true'*) break ;;
    *'"type":"gate-status.v1"'*) echo "waiting: $line" ;;
    esac
done

id="example-$$-$(date +%s)"
answer=$(ask /v1/orders '{"ClOrdID":"'"$id"'","account":"A1","venue":"SIM","symbol":"XYZ","side":"BUY","qty":"1"}')
echo "$answer"
case "$answer" in
*'"type":"order-granted.v1"'*)
    # Send the order to your venue here, then say what it answered.
    ask "/v1/orders/$id/report" '{"outcome":"committed","OrderID":"venue-1","OrdStatus":"NEW"}'
    ;;
*) exit 1 ;;
esac
