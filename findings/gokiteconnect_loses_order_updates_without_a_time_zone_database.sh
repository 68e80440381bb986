# gokiteconnect 4.4.1 (Kite's own client for Go), linked statically and run where there is no time zone database,
# as in an image made FROM scratch: the feed sends an order update whose order_timestamp is Kite's
# "2026-08-03 10:15:00", and a tick.
# Expected: OnOrderUpdate is called, as it is with a database; or OnError says what is missing.
# Seen: the tick comes, the order update never does, and nothing is said: the time of an update is read by the
# database's Asia/Kolkata, and an update that cannot be read is passed over. `import _ "time/tzdata"` in the
# program, or tzdata in the image, brings it back.
# Needs Go 1.25 or newer, and root or unshare (for a root directory without a database).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
# its checksum is not in every mirror of the checksum database
export GONOSUMDB=github.com/zerodha
mkdir -p "$work/go" "$work/bare"
cat > "$work/go/main.go" <<'GO'
package main

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"
	kiteconnect "github.com/zerodha/gokiteconnect/v4"
	"github.com/zerodha/gokiteconnect/v4/models"
	kiteticker "github.com/zerodha/gokiteconnect/v4/ticker"
)

const update = `{"type":"order","data":{"order_id":"1","status":"COMPLETE","order_timestamp":"2026-08-03 10:15:00"}}`

func main() {
	ended := make(chan struct{})
	feed := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		upgrader := websocket.Upgrader{}
		socket, err := upgrader.Upgrade(answer, request, nil)
		if err != nil {
			panic(err)
		}
		socket.WriteMessage(websocket.TextMessage, []byte(update))
		frame := []byte{0, 1, 0, 8}
		frame = binary.BigEndian.AppendUint32(frame, 408065)
		frame = binary.BigEndian.AppendUint32(frame, 157315)
		socket.WriteMessage(websocket.BinaryMessage, frame)
		<-ended
	}))
	root, _ := url.Parse(strings.Replace(feed.URL, "http:", "ws:", 1))
	ticker := kiteticker.New("key", "token")
	ticker.SetRootURL(*root)
	ticker.OnError(func(err error) { fmt.Println("error", err) })
	ticker.OnOrderUpdate(func(order kiteconnect.Order) { fmt.Println("order", order.OrderID) })
	// the tick was sent behind the update
	ticker.OnTick(func(tick models.Tick) { fmt.Println("tick", tick.LastPrice); close(ended) })
	go ticker.Serve()
	<-ended
}
GO
(cd "$work/go" && go mod init finding && go get github.com/zerodha/gokiteconnect/v4@v4.4.1 && go mod tidy \
  && CGO_ENABLED=0 go build -trimpath -o "$work/bare/program" .) >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
as_root=(); [ "$(id -u)" = 0 ] || as_root=(unshare --map-root-user)
with=$(timeout 60 "$work/bare/program" | paste -sd,)
without=$(timeout 60 "${as_root[@]}" chroot "$work/bare" /program | paste -sd,)
echo "with a time zone database: $with; without: $without"
[ "$with" = "order 1,tick 1573.15" ] && [ "$without" = "tick 1573.15" ]
