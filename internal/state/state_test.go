package state_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/history"
	"github.com/perfd/perfd/internal/state"
)

func TestStorageBelongsToOneDaemon(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	release, err := state.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.Lock(dir); err == nil || !strings.Contains(err.Error(), "give this one its own --storage.path") {
		t.Errorf("a second lock: %v, want an error that says what to do", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	again, err := state.Lock(dir)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	again()
}

// open opens the state of a folder as a daemon does: on the history's disk.
func open(t *testing.T, dir string) (*state.Store, error) {
	t.Helper()
	h, err := history.Open(history.Options{Dir: filepath.Join(dir, "history")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return state.Open(dir, h)
}

func TestStateOutlivesItsProcess(t *testing.T) {
	dir := t.TempDir()
	s, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	for key, v := range map[string]any{"a/1": 1, "a/2": "two", "b": map[string]int{"x": 3}} {
		if err := s.Set(key, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Set("a/2", nil); err != nil {
		t.Fatal(err)
	}
	if s, err = open(t, dir); err != nil { // nobody closed the first
		t.Fatal(err)
	}
	var one int
	if !s.Get("a/1", &one) || one != 1 {
		t.Errorf("a/1 = %d, want 1", one)
	}
	if s.Get("a/2", new(string)) {
		t.Error("what was forgotten is still there")
	}
	if d := cmp.Diff([]string{"a/1"}, s.Keys("a/")); d != "" {
		t.Errorf("keys (-want +got):\n%s", d)
	}
}

func TestStateOfAnOlderVersionIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	if err := os.WriteFile(path, []byte(`{"pause": {"until": "2030-01-01T00:00:00Z"}, "n": 7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file of the older version is still there: %v", err)
	}
	s, err := open(t, dir)
	var n int
	if err != nil || !s.Get("n", &n) || n != 7 || len(s.Keys("")) != 2 {
		t.Errorf("after a second start: %v, n = %d, keys %v; want everything that the file held", err, n, s.Keys(""))
	}
}

func TestDamagedStateIsSetAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	if err := os.WriteFile(path, []byte(`{"a": tru`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := open(t, dir)
	if err == nil || !strings.Contains(err.Error(), path+".damaged") {
		t.Errorf("open = %v, want an error that says where the damaged file is", err)
	}
	if err := s.Set("a", true); err != nil {
		t.Errorf("after damage the state takes nothing: %v", err)
	}
}
