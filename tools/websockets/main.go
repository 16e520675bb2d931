// Command websockets exchanges messages on WebSockets with a library and nothing else, one after the other on each
// connection, and prints how many in a span, and the CPU time that its process spent for them. It is what bench/streams compares perfd with.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
)

func main() {
	library := flag.String("library", "", "gobwas, gorilla or coder")
	address := flag.String("address", "", "host:port of the server, which sends back what it gets")
	text := flag.String("text", "", "the message")
	connections := flag.Int("connections", 16, "how many WebSockets")
	warm := flag.Duration("warm", time.Second, "time before the span")
	span := flag.Duration("span", 2*time.Second, "how long is measured")
	flag.Parse()
	if err := run(*library, "ws://"+*address+"/", []byte(*text), *connections, *warm, *span); err != nil {
		fmt.Fprintln(os.Stderr, "websockets:", err)
		os.Exit(1)
	}
}

// An exchange sends the message, and returns what comes.
type exchange func() ([]byte, error)

func run(library, url string, text []byte, connections int, warm, span time.Duration) error {
	dial := map[string]func(string, []byte) (exchange, error){"gobwas": dialGobwas, "gorilla": dialGorilla, "coder": dialCoder}[library]
	if dial == nil {
		return fmt.Errorf("there is no library %q here", library)
	}
	counts := make([]atomic.Uint64, 8*connections) // one in a cache line
	failed := make(chan error, connections)
	for i := range connections {
		do, err := dial(url, text)
		if err != nil {
			return err
		}
		go func() {
			for {
				p, err := do()
				if err == nil && !bytes.Equal(p, text) {
					err = errors.New("another message came than was sent")
				}
				if err != nil {
					failed <- err
					return
				}
				counts[8*i].Add(1)
			}
		}()
	}
	look := func() (n uint64, cpu time.Duration, err error) {
		for i := range counts {
			n += counts[i].Load()
		}
		var u syscall.Rusage
		err = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return n, time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
	}
	var messages [2]uint64
	var cpu [2]time.Duration
	for i, d := range []time.Duration{warm, span} {
		select {
		case err := <-failed:
			return err
		case <-time.After(d):
		}
		var err error
		if messages[i], cpu[i], err = look(); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"messages": messages[1] - messages[0], "cpu": cpu[1] - cpu[0]})
}

func dialGorilla(url string, text []byte) (exchange, error) {
	c, answer, err := gorilla.DefaultDialer.Dial(url, nil)
	if err != nil {
		return nil, err
	}
	_ = answer.Body.Close() // it is empty
	return func() ([]byte, error) {
		if err := c.WriteMessage(gorilla.TextMessage, text); err != nil {
			return nil, err
		}
		_, p, err := c.ReadMessage()
		return p, err
	}, nil
}

func dialCoder(url string, text []byte) (exchange, error) {
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	return func() ([]byte, error) {
		if err := c.Write(ctx, websocket.MessageText, text); err != nil {
			return nil, err
		}
		_, p, err := c.Read(ctx)
		return p, err
	}, nil
}

func dialGobwas(url string, text []byte) (exchange, error) {
	var c net.Conn
	c, _, _, err := ws.Dial(context.Background(), url)
	if err != nil {
		return nil, err
	}
	return func() ([]byte, error) {
		if err := wsutil.WriteClientText(c, text); err != nil {
			return nil, err
		}
		return wsutil.ReadServerText(c)
	}, nil
}
