// A small server with one known fault, or with growth that is harmless: node server.js MODE.
"use strict";
const http = require("http");
const held = [];
const cache = new Map();
let served = 0;
const listeners = new (require("events"))();
listeners.setMaxListeners(0);
const modes = {
  array: () => held.push(new Array(768).fill(served)), // leaks: something of each request stays
  listener: () => { const kept = new Array(768).fill(served); listeners.on("done", () => kept.length); }, // leaks: a listener keeps what it closes over
  steady: () => {}, // harmless
  lru: () => { cache.set(served % 2500, new Array(512).fill(served)); }, // harmless: fills, and is full
};
const mode = process.argv[2];
if (!modes[mode]) { console.error("no mode " + mode); process.exit(2); }
const server = http.createServer((req, res) => {
  if (req.url === "/metrics") {
    const m = process.memoryUsage();
    res.setHeader("Content-Type", "text/plain; version=0.0.4");
    res.end(`# TYPE heap_bytes gauge\nheap_bytes ${m.heapUsed}\n# TYPE rss_bytes gauge\nrss_bytes ${m.rss}\n`);
    return;
  }
  served++;
  const garbage = new Array(2000).fill(served);
  modes[mode]();
  res.end(String(garbage.length));
});
server.listen(0, "127.0.0.1", () => console.log("listening on 127.0.0.1:" + server.address().port));
