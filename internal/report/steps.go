package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// Steps writes the steps that led to a finding as tables of CSV with an empty line between them. A line
// that begins with # says what follows. Instants are written in RFC 3339, and what has no value is empty.
func Steps(w io.Writer, kinds analysis.Kinds, f load.Finding, steps []analysis.Step) error {
	out := csv.NewWriter(w)
	for i, s := range steps {
		if i == 0 {
			fmt.Fprintf(w, "# %s %s: %s\n", kinds.Word(f.Kind), clean(analysis.Place(f)), clean(f.Sentence))
		}
		fmt.Fprintf(w, "# %s: %s\n", s.Name, s.What)
		if err := out.Write(s.Columns); err != nil {
			return err
		}
		row := make([]string, len(s.Columns))
		for _, values := range s.Rows {
			for j, v := range values {
				switch {
				case math.IsNaN(v):
					row[j] = ""
				case s.Columns[j] == "time", s.Columns[j] == "from", s.Columns[j] == "to":
					row[j] = moment(v)
				default:
					row[j] = strconv.FormatFloat(v, 'g', 8, 64)
				}
			}
			if err := out.Write(row); err != nil {
				return err
			}
		}
		if out.Flush(); out.Error() != nil {
			return out.Error()
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	return nil
}

// moment writes seconds since 1970; what lies outside the years of RFC 3339 is empty.
func moment(seconds float64) string {
	if math.Abs(seconds) > 1<<37 {
		return ""
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)).UTC().Format("2006-01-02T15:04:05.000Z")
}
