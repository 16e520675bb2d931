//go:build !unix

package history

import "os"

// isSparse reports false: nothing is known of how much the disk keeps.
func isSparse(*os.File) bool { return false }
