package pace

import (
	"testing"
	"time"
)

func TestEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		end     End
		text    string
		never   bool
		counted bool
		within  End // an hour
	}{
		{End{}, "never", true, false, End{Time: time.Hour}},
		{End{Time: 5 * time.Minute}, "after 5m", false, false, End{Time: 5 * time.Minute}},
		{End{Time: 2 * time.Hour}, "after 2h", false, false, End{Time: time.Hour}},
		{End{Total: 1}, "after 1 iteration", false, true, End{Total: 1, Time: time.Hour}},
		{End{PerVU: 10}, "after 10 iterations of each VU", false, true, End{PerVU: 10, Time: time.Hour}},
		{
			End{Total: 100, Time: 10 * time.Minute},
			"after 100 iterations or 10m, whichever is first", false, true,
			End{Total: 100, Time: 10 * time.Minute},
		},
	} {
		if got := tt.end.String(); got != tt.text {
			t.Errorf("String of %#v = %q, want %q", tt.end, got, tt.text)
		}
		if got := tt.end.Never(); got != tt.never {
			t.Errorf("Never of %v = %v, want %v", tt.end, got, tt.never)
		}
		if got := tt.end.Counted(); got != tt.counted {
			t.Errorf("Counted of %v = %v, want %v", tt.end, got, tt.counted)
		}
		if got := tt.end.Within(time.Hour); got != tt.within {
			t.Errorf("Within an hour of %v = %v, want %v", tt.end, got, tt.within)
		}
		if got := tt.end.Within(0); got != tt.end {
			t.Errorf("Within no bound of %v = %v, want it unchanged", tt.end, got)
		}
	}
}
