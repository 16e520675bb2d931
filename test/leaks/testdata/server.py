"""A small server with one known fault, or with growth that is harmless: python3 server.py MODE."""
import collections
import http.server
import socketserver
import sys
import threading

held = []
recent = collections.deque(maxlen=2500)
lock = threading.Lock()

modes = {
    "list": lambda n: held.append(bytearray(8 << 10)),  # leaks: something of each request stays
    "steady": lambda n: None,  # harmless
    "deque": lambda n: recent.append(bytearray(8 << 10)),  # harmless: fills, and is full
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served = 0

    def do_GET(self):
        if self.path == "/metrics":
            with open("/proc/self/statm") as f:
                rss = int(f.read().split()[1]) * 4096
            body = f"# TYPE rss_bytes gauge\nrss_bytes {rss}\n"
        else:
            with lock:
                Handler.served += 1
                do(Handler.served)
            body = str(len(bytearray(32 << 10)))
        data = body.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


do = modes[sys.argv[1]]
server = Server(("127.0.0.1", 0), Handler)
print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
