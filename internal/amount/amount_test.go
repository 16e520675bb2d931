package amount_test

import (
	"math"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/amount"
)

func TestAmounts(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		value float64
		unit  string
		want  string
	}{
		{math.NaN(), "seconds", "–"},
		{math.NaN(), "ratio", "–"},
		{inf, "seconds", "∞"},
		{-inf, "bytes", "−∞"},
		{0, "seconds", "0 s"},
		{0.0000000042, "seconds", "0.0042 µs"},
		{0.0000421, "seconds", "42.1 µs"},
		{0.00099960, "seconds", "1 ms"},
		{0.05234, "seconds", "52.3 ms"},
		{0.09996, "seconds", "100 ms"},
		{0.9996, "seconds", "1 s"},
		{-0.25, "seconds", "−250 ms"},
		{30, "seconds", "30 s"},
		{3600, "seconds", "1h"},
		{432000, "seconds", "5d"},
		{1e30, "seconds", amount.Span(math.MaxInt64 / 2)},
		{0, "ratio", "0 %"},
		{0.5, "ratio", "50 %"},
		{0.0012345, "ratio", "0.12 %"},
		{0.0000123, "ratio", "0.0012 %"},
		{0.99953, "ratio", "99.953 %"},
		{0.999953, "ratio", "99.9953 %"},
		{1, "ratio", "100 %"},
		{1.18, "ratio", "118 %"},
		{-0.05, "ratio", "−5 %"},
		{0, "bytes", "0 B"},
		{1023, "bytes", "1023 B"},
		{1536, "bytes", "1.5 KiB"},
		{1 << 20, "bytes", "1 MiB"},
		{1223, "bytes_per_second", "4.2 MiB/h"},
		{3 << 20, "bytes_per_second", "3 MiB/s"},
		{8.44, "per_second", "8.44/s"},
		{0.002, "count_per_second", "7.2/h"},
		{2, "count_per_second", "2/s"},
		{3215.4, "", "3,215"},
		{123, "count", "123"},
		{1234567, "count", "1,234,567"},
	} {
		if got := amount.Of(c.value, c.unit); got != c.want {
			t.Errorf("Of(%g, %q) = %q, want %q", c.value, c.unit, got, c.want)
		}
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 50 * time.Millisecond: "0s", 1500 * time.Millisecond: "2s", 59600 * time.Millisecond: "1m",
		90 * time.Second: "1m 30s", 10 * time.Minute: "10m", 65*time.Minute + 20*time.Second: "1h 5m",
		24 * time.Hour: "24h", 48 * time.Hour: "2d", 123 * time.Hour: "5d 3h",
	} {
		if got := amount.Span(d); got != want {
			t.Errorf("Span(%v) = %q, want %q", d, got, want)
		}
	}
}
