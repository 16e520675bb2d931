package output

import (
	"path/filepath"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/wire"
)

// TLS is how an output knows its receiver and who perfd is to it. Paths start
// from the configuration's folder.
type TLS struct {
	CAFile             string `yaml:"ca_file" doc:"Certificates that sign the receiver's (default: those of the system)."`
	CertFile           string `yaml:"cert_file" doc:"perfd's own certificate."`
	KeyFile            string `yaml:"key_file" doc:"Key of cert_file."`
	ServerName         string `yaml:"server_name" doc:"Name that the receiver's certificate must have (default: the url's host)."`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify" doc:"Accept any certificate (default false)."`
}

// Open reads the files, and again whenever they change. The error says which one is wrong.
func (t TLS) Open(dir string) (*wire.TLS, error) {
	return wire.NewTLS(t.options(dir))
}

func (t TLS) options(dir string) wire.TLSOptions {
	return wire.TLSOptions{
		CAFile: Path(dir, t.CAFile), CertFile: Path(dir, t.CertFile), KeyFile: Path(dir, t.KeyFile),
		ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify,
	}
}

// Path returns the path of a file that a configuration in a folder names, "" for none.
func Path(dir, file string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

// Check reads the files and reports what is wrong with them, each at its key of the
// block at a place. A block that is nil or has mistakes already is left out.
func (t TLS) Check(at *block.Node, dir string, errs *block.Errors) {
	if at == nil || errs.In(at) {
		return
	}
	for _, m := range t.options(dir).Mistakes() {
		key := at.Get(m.Option)
		errs.Add(key.Pos, key.Path, "%v", m.Err)
	}
}
