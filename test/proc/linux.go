package proc

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tick is Linux's USER_HZ, which is 100 on every architecture that Go has.
const tick = 10 * time.Millisecond

// CPU is the time that a process has spent on processors so far, user and
// system, all threads. Its grain is 10 ms.
func CPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command's name, in parentheses, may contain anything.
	_, rest, ok := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, fmt.Errorf("parse /proc/%d/stat: %q", pid, text)
	}
	var total time.Duration
	for _, field := range f[11:13] { // utime, stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse /proc/%d/stat: %w", pid, err)
		}
		total += time.Duration(n) * tick
	}
	return total, nil
}

// Resident is the memory of a process that is in RAM, in bytes. It walks the
// page tables, so it is exact, and slow for large processes.
func Resident(pid int) (int64, error) {
	return kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Rss:")
}

// Peak is the most memory that a process ever had in RAM, in bytes.
func Peak(pid int) (int64, error) {
	return kilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:")
}

// kilobytes reads the line of a file that begins with a key, in bytes.
func kilobytes(name, key string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), key); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("parse %s: %w", name, err)
			}
			return kb * 1024, nil
		}
	}
	return 0, fmt.Errorf("parse %s: no %s", name, key)
}

// Descriptors is the number of descriptors that a process has open.
func Descriptors(pid int) (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(list), err
}

// An Account is how much time each process and the hypervisor have taken from
// this machine's processors so far.
type Account struct {
	processes map[int]time.Duration // by process id, those that have ended excepted
	stolen    time.Duration         // by the hypervisor, all processors
}

// Accounts reads the time that all processes have spent so far.
func Accounts() (Account, error) {
	a := Account{processes: map[int]time.Duration{}}
	list, err := os.ReadDir("/proc")
	if err != nil {
		return a, err
	}
	for _, e := range list {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // no process
		}
		if spent, err := CPU(pid); err == nil { // else it has just ended
			a.processes[pid] = spent
		}
	}
	a.stolen, err = stolen()
	return a, err
}

// Others is the time that went to the hypervisor and to all processes but some
// since an earlier account. What a process spent that has ended meanwhile is not
// in it.
func (a Account) Others(since Account, but ...int) time.Duration {
	total := a.stolen - since.stolen
	for pid, spent := range a.processes {
		if !slices.Contains(but, pid) {
			total += spent - since.processes[pid]
		}
	}
	return total
}

// stolen reads the eighth figure of /proc/stat's first line.
func stolen() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, fmt.Errorf("parse /proc/stat: %q", line)
	}
	n, err := strconv.ParseInt(f[8], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse /proc/stat: %w", err)
	}
	return time.Duration(n) * tick, nil
}
