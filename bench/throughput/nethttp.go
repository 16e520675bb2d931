package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// headerFields are header fields as curl takes them.
type headerFields []string

func (f *headerFields) String() string { return strings.Join(*f, ", ") }

// Set adds a field.
func (f *headerFields) Set(text string) error {
	if !strings.Contains(text, ": ") {
		return fmt.Errorf("%q is no header field", text)
	}
	*f = append(*f, text)
	return nil
}

// beNetHTTP makes requests over HTTP/2 by net/http for a time, in loops that have a connection each, and prints how many.
func beNetHTTP(url string, loops int, span time.Duration, fields headerFields) error {
	var n atomic.Int64
	errs := make(chan error, loops)
	until := time.Now().Add(span)
	var wg sync.WaitGroup
	for range loops {
		wg.Go(func() {
			var h2c http.Protocols
			h2c.SetUnencryptedHTTP2(true)
			client := http.Client{Transport: &http.Transport{Protocols: &h2c}}
			defer client.CloseIdleConnections()
			req, err := http.NewRequest(http.MethodGet, url, nil)
			if err == nil {
				for _, f := range fields {
					name, value, _ := strings.Cut(f, ": ")
					req.Header.Set(name, value)
				}
			}
			for err == nil && time.Now().Before(until) {
				var res *http.Response
				if res, err = client.Do(req); err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					res.Body.Close()
					n.Add(1)
				}
			}
			errs <- err
		})
	}
	wg.Wait()
	for range loops {
		if err := <-errs; err != nil {
			return err
		}
	}
	fmt.Printf("%d requests\n", n.Load())
	return nil
}
