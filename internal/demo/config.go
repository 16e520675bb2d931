package demo

import "embed"

// Config is the configuration of `perfd demo` with the data it names: the same
// format that a user writes.
//
//go:embed perfd.yaml users.csv
var Config embed.FS

// ConfigFile is the configuration's name in Config.
const ConfigFile = "perfd.yaml"
