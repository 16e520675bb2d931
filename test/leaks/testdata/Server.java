import com.sun.net.httpserver.HttpServer;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryType;
import java.lang.management.MemoryUsage;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;

/** A small server with one known fault, or with growth that is harmless: java Server.java MODE. */
public class Server {
  static final List<byte[]> held = new ArrayList<>();
  static final Map<Integer, byte[]> cache = new LinkedHashMap<>();
  static int served;

  static synchronized void work(String mode) {
    served++;
    switch (mode) {
      case "list": held.add(new byte[8 << 10]); break; // leaks: something of each request stays
      case "cache": cache.put(served % 2500, new byte[16 << 10]); break; // harmless: fills, and is full
      case "steady": break; // harmless
      default: throw new IllegalArgumentException(mode);
    }
  }

  public static void main(String[] args) throws Exception {
    String mode = args[0];
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
    server.setExecutor(Executors.newFixedThreadPool(4));
    server.createContext("/", exchange -> {
      byte[] body;
      if (exchange.getRequestURI().getPath().equals("/metrics")) {
        long used = 0;
        for (MemoryPoolMXBean p : ManagementFactory.getMemoryPoolMXBeans()) {
          if (p.getType() == MemoryType.HEAP) {
            MemoryUsage u = p.getUsage();
            used += u.getUsed();
          }
        }
        body = ("# TYPE heap_bytes gauge\nheap_bytes " + used + "\n").getBytes();
        exchange.getResponseHeaders().set("Content-Type", "text/plain; version=0.0.4");
      } else {
        byte[] garbage = new byte[64 << 10];
        work(mode);
        body = String.valueOf(garbage.length).getBytes();
      }
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
    System.out.println("listening on 127.0.0.1:" + server.getAddress().getPort());
  }
}
