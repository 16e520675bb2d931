package validity

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// findCPUStats finds the cpu.stat files that hold how long the process was
// throttled: those of its own cgroup and of all above it, since each may have a
// limit, in versions 1 and 2.
func findCPUStats(root string) (files []string) {
	for line := range lines(root, "proc/self/cgroup") {
		id, rest, _ := strings.Cut(line, ":")
		controllers, group, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		var mounts []string
		switch {
		case id == "0" && controllers == "":
			mounts = []string{"", "unified"}
		case slices.Contains(strings.Split(controllers, ","), "cpu"):
			mounts = []string{controllers, "cpu"}
		}
		for _, mount := range mounts {
			if found := cpuStatsOf(filepath.Join(root, "sys/fs/cgroup", mount), group); found != nil {
				files = append(files, found...)
				break
			}
		}
	}
	return files
}

// cpuStatsOf lists the files of a cgroup and of those above it that exist. In a
// container the group may be the host's path, of which nothing exists below the
// mount: its own group is then the mount itself.
func cpuStatsOf(mount, group string) (files []string) {
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		file := filepath.Join(mount, group, "cpu.stat")
		if _, ok := throttledOf(file); ok {
			files = append(files, file)
		}
		if group == "/" {
			return files
		}
	}
}

// throttled is for how long the kernel held CPU time back, all files together.
func throttled(files []string) (sum time.Duration) {
	for _, f := range files {
		d, _ := throttledOf(f)
		sum += d
	}
	return sum
}

func throttledOf(file string) (time.Duration, bool) {
	for line := range lines(file) {
		name, value, _ := strings.Cut(line, " ")
		var unit time.Duration
		switch name {
		case "throttled_usec": // version 2
			unit = time.Microsecond
		case "throttled_time": // version 1
			unit = time.Nanosecond
		default:
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		return time.Duration(n) * unit, err == nil
	}
	return 0, false
}

// descriptors is how many the process has open, and how many it may have.
func descriptors(root string) (open, limit int) {
	const name = "Max open files"
	for line := range lines(root, "proc/self/limits") {
		if fields := strings.Fields(strings.TrimPrefix(line, name)); strings.HasPrefix(line, name) && len(fields) > 0 {
			limit = number(fields[0])
		}
	}
	if limit == 0 {
		return 0, 0
	}
	d, err := os.Open(filepath.Join(root, "proc/self/fd"))
	if err != nil {
		return 0, 0
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		open += len(names)
		if err != nil {
			return open, limit
		}
	}
}

// ports is how many TCP sockets the host has, those that wait for late segments
// too, and how many local ports connects may use. Sockets to different addresses
// can share a port, so this is the careful side.
func ports(root string) (used, all int) {
	for line := range lines(root, "proc/sys/net/ipv4/ip_local_port_range") {
		if f := strings.Fields(line); len(f) == 2 {
			all = number(f[1]) - number(f[0]) + 1
		}
	}
	for _, file := range []string{"proc/net/sockstat", "proc/net/sockstat6"} {
		for line := range lines(root, file) {
			f := strings.Fields(line)
			if len(f) == 0 || f[0] != "TCP:" && f[0] != "TCP6:" {
				continue
			}
			for i := 1; i+1 < len(f); i += 2 {
				if f[i] == "inuse" || f[i] == "tw" {
					used += number(f[i+1])
				}
			}
		}
	}
	return used, all
}

// number parses text, 0 where it is no number.
func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

// lines yields the lines of a file, none if it cannot be read.
func lines(elem ...string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		text, err := os.ReadFile(filepath.Join(elem...))
		if err != nil {
			return
		}
		for line := range strings.Lines(string(text)) {
			if !yield(strings.TrimSpace(line)) {
				return
			}
		}
	}
}
