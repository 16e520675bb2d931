// A server of WebSockets by ws and of server-sent events by better-sse. It says where it listens on standard output, and at
// /counts what it did. Of a folder with ca.pem, cert.pem and key.pem as its argument it takes its certificate, and asks clients
// for theirs.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const http = require("node:http");
const https = require("node:https");
const { WebSocketServer } = require("ws");
const { createSession } = require("better-sse");

const counts = { received: 0, receivedBytes: 0, sent: 0, sentBytes: 0, pongs: 0, codes: {}, resumed: [] };
const parts = ['{"type":"whole","text":"gr', "\u00fc\u00df", 'e"}'];

// news are the events of /news, of which a connection carries some before it breaks.
const news = 40;
const each = 9;

async function serve(req, res) {
  if (req.url === "/counts") {
    res.setHeader("Content-Type", "application/json");
    res.end(JSON.stringify(counts));
    return;
  }
  const session = await createSession(req, res, { retry: 50 });
  if (session.lastId) counts.resumed.push(session.lastId);
  const from = Number(session.lastId || 0);
  const to = Math.min(news, from + each);
  for (let n = from + 1; n <= to; n++) session.push({ n }, n % 2 ? "odd" : "even", String(n));
  if (to < news) setTimeout(() => res.socket.destroy(), 50);
}

function speak(socket) {
  const send = (data, options) => {
    counts.sent++;
    counts.sentBytes += Buffer.byteLength(data);
    socket.send(data, options || {});
  };
  socket.on("pong", () => counts.pongs++);
  socket.on("close", (code) => (counts.codes[code] = (counts.codes[code] || 0) + 1));
  socket.on("error", () => {});
  socket.on("message", (data, binary) => {
    counts.received++;
    counts.receivedBytes += data.length;
    const m = binary ? {} : JSON.parse(data.toString());
    switch (m.type) {
      case "subscribe":
        for (let seq = 1; seq <= 5; seq++) send(JSON.stringify({ type: "tick", seq }));
        break;
      case "parts": {
        const whole = Buffer.from(parts.join(""));
        const at = whole.indexOf(0xc3) + 1; // within a letter
        counts.sent++;
        counts.sentBytes += whole.length;
        for (const [from, to] of [[0, at], [at, at + 1], [at + 1, whole.length]]) {
          socket.send(whole.subarray(from, to), { fin: to === whole.length, binary: false });
          socket.ping("between");
        }
        break;
      }
      case "invalid":
        socket.send(Buffer.from([0xff]), { binary: false });
        break;
      case "leave":
        socket.close(m.code, "bye");
        break;
      default:
        send(data, { binary });
    }
  });
}

const folder = process.argv[2];
const read = (name) => fs.readFileSync(path.join(folder, name));
const server = folder
  ? https.createServer({ ca: read("ca.pem"), cert: read("cert.pem"), key: read("key.pem"), requestCert: true, rejectUnauthorized: true }, serve)
  : http.createServer(serve);
const sockets = new WebSocketServer({
  server,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => (offered.has("orders.v2") ? "orders.v2" : false),
});
sockets.on("connection", speak);
server.listen(0, "127.0.0.1", () => console.log("listening on " + server.address().port));
