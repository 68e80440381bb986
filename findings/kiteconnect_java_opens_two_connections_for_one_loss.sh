#!/usr/bin/env bash
# kiteconnect 3.5.1 (Maven, Kite's own client for Java) with setTryReconnection(true): two instruments subscribed, one of them
# set to full; after 6 s the feed's side of the socket is gone, once.
# Expected: one new connection, over which the client asks for both instruments and the mode again.
# Seen: two. The first has onConnected called, and asks for nothing; within seconds, often within 20 ms, the client ends it
# and opens another, without onConnected, and there it asks for all again. Its own handler for a new connection is
# set when connect() has returned, which is too late for that connection, and until it has run the last pong counts
# as too old. With three sockets an api_key and a slot that is free only some time after its socket has closed,
# the second try may meet HTTP 429. Needs Java 17 or newer, Maven and Python 3.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check websockets==15.0.1
cat > "$work/pom.xml" <<'XML'
<project><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>kite</artifactId><version>1</version>
<dependencies><dependency>
<groupId>com.zerodhatech.kiteconnect</groupId><artifactId>kiteconnect</artifactId><version>3.5.1</version>
</dependency></dependencies></project>
XML
mvn -q -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars" >"$work/maven.log" 2>&1 \
  || { tail -20 "$work/maven.log"; exit 1; }
cat > "$work/Client.java" <<'JAVA'
import com.neovisionaries.ws.client.WebSocket;
import com.neovisionaries.ws.client.WebSocketFactory;
import com.zerodhatech.ticker.KiteTicker;
import java.util.ArrayList;
import java.util.List;

public class Client {
    /** The client has Kite's address built in: another one is put into its field. */
    static void set(KiteTicker ticker, String name, Object value) throws Exception {
        var field = KiteTicker.class.getDeclaredField(name);
        field.setAccessible(true);
        field.set(ticker, value);
    }

    public static void main(String[] arguments) throws Exception {
        KiteTicker ticker = new KiteTicker("token", "key");
        WebSocket socket = new WebSocketFactory().createSocket(arguments[0]);
        socket.addListener(ticker.getWebsocketAdapter());
        set(ticker, "wsuri", arguments[0]);
        set(ticker, "ws", socket);
        ticker.setTryReconnection(true);
        ticker.connect();
        ticker.subscribe(new ArrayList<>(List.of(408065L, 256265L)));
        ticker.setMode(new ArrayList<>(List.of(408065L)), "full");
        Thread.sleep(60_000);
        System.exit(0);
    }
}
JAVA
cat > "$work/feed.py" <<'PY'
import asyncio
import json
import sys

from websockets.asyncio.server import serve

asked = []  # of each connection, what was asked for

async def feed(socket):
    mine = []
    asked.append(mine)
    if len(asked) == 1:
        asyncio.get_running_loop().call_later(6, socket.transport.abort)
    try:
        async for text in socket:
            request = json.loads(text)
            mine.append("subscribe" if request["a"] == "subscribe" else request["v"][0])
    except Exception:
        pass  # lost, as meant

async def main():
    async with serve(feed, "127.0.0.1", 0, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        client = await asyncio.create_subprocess_exec(
            "java", "-cp", sys.argv[1] + "/jars/*", sys.argv[1] + "/Client.java", f"ws://127.0.0.1:{port}/",
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(50):
            while len(asked) < 2 or "full" not in asked[-1]:
                await asyncio.sleep(0.1)
        await asyncio.sleep(6)
        client.kill()
        await client.wait()
    print("connections, and what each was asked for:", asked)
    assert asked[0] == ["subscribe", "full"], asked
    assert asked[1:] == [[], ["subscribe", "quote", "full"]] or asked[1:] == [[], ["subscribe", "full", "quote"]], "changed"

asyncio.run(main())
PY
timeout 100 "$work/venv/bin/python" "$work/feed.py" "$work"
echo "as described"
