package output

import (
	"crypto/tls"

	"github.com/prometheus/common/config"

	"github.com/perfd/perfd/internal/block"
)

// TLS is how an output knows its receiver and who perfd is to it. Paths start
// from the configuration's folder.
type TLS struct {
	CAFile             string `yaml:"ca_file" doc:"Certificates that sign the receiver's (default: those of the system)."`
	CertFile           string `yaml:"cert_file" doc:"perfd's own certificate; it is read again for each connection."`
	KeyFile            string `yaml:"key_file" doc:"Key of cert_file."`
	ServerName         string `yaml:"server_name" doc:"Name that the receiver's certificate must have (default: the url's host)."`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify" doc:"Accept any certificate (default false)."`
}

// Validate checks that a certificate has its key.
func (t *TLS) Validate(at *block.Node, errs *block.Errors) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		errs.Add(at.Pos, at.Path, "must have cert_file and key_file together")
	}
}

// Settings are the same for the library that makes clients of them.
func (t TLS) Settings(dir string) config.TLSConfig {
	c := config.TLSConfig{
		CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify,
	}
	c.SetDirectory(dir)
	return c
}

// Config reads the files. The error says which one is wrong.
func (t TLS) Config(dir string) (*tls.Config, error) {
	settings := t.Settings(dir)
	return config.NewTLSConfig(&settings)
}

// Check reads the files and reports what is wrong with them. A block at that is
// nil or has mistakes already is left out.
func (t TLS) Check(at *block.Node, dir string, errs *block.Errors) {
	if at == nil || errs.In(at) {
		return
	}
	if _, err := t.Config(dir); err != nil {
		errs.Add(at.Pos, at.Path, "%v", err)
	}
}
