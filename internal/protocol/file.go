package protocol

import (
	"fmt"
	"os"

	"github.com/perfd/perfd/internal/block"
)

// File returns the path of a regular file that the configuration names. Any other is a mistake, which goes to c.Errors, and then it
// returns "". The text is not shown where it is hidden.
func (c *Compiler) File(t *block.Text) string {
	path := c.Path(t.S)
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		c.wrongFile(t, err)
		return ""
	}
	return path
}

// mostContent bounds a file that is kept in memory, in MiB.
const mostContent = 16

// Content returns what a file that the configuration names holds, at most 16 MiB. Mistakes go to c.Errors.
func (c *Compiler) Content(t *block.Text) []byte {
	path := c.File(t)
	if path == "" {
		return nil
	}
	st, err := os.Stat(path)
	if err == nil && st.Size() > mostContent<<20 {
		err = fmt.Errorf("%s is larger than %d MiB", path, mostContent)
	}
	var content []byte
	if err == nil {
		content, err = os.ReadFile(path)
	}
	if err != nil {
		c.wrongFile(t, err)
	}
	return content
}

func (c *Compiler) wrongFile(t *block.Text, err error) {
	if t.Hidden { // the error has the path
		c.Errors.Add(t.Pos, t.Path, "must be a regular file that can be read and is not too large, got %q", t)
		return
	}
	c.Errors.Add(t.Pos, t.Path, "%v", err)
}
