package credential

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// Bearer is a token that is written down, or that something else keeps fresh in a file (RFC 6750).
var Bearer = Kind{"bearer", "A token that is known, or that a file holds which is read again and again (RFC 6750).", func() Config { return &bearer{} }}

type bearer struct {
	Token     block.Secret `yaml:"token" doc:"The token."`
	TokenFile string       `yaml:"token_file" doc:"File that holds the token; it is read again every five seconds, and when the target answers 401."`
}

const (
	// readEvery is how often the file of a token is read.
	readEvery = 5 * time.Second
	// longestFile bounds it, in bytes.
	longestFile = 64 << 10
)

func (*bearer) Fields() []string { return []string{"Authorization"} }

func (c *bearer) Open(o *Opener) Source {
	checkValue(c.Token, "token", o)
	if (o.At.Get("token") == nil) == (c.TokenFile == "") {
		o.Errors.Add(o.At.Pos, o.At.Path, "has either a token or a token_file")
		return nil
	}
	if c.TokenFile != "" {
		return bearerFile(inDir(o, c.TokenFile))
	}
	header, err := field("Authorization", "Bearer "+c.Token.Value())
	if err != nil {
		return nil // that was reported
	}
	return fixed{&Value{Header: header, Secrets: []string{c.Token.Value()}}}
}

// A fixed source has one value.
type fixed struct{ value *Value }

func (f fixed) Fetch(context.Context, *Client) (*Value, error) {
	v := *f.value
	return &v, nil
}

// A bearerFile is the path of a file with a token.
type bearerFile string

func (f bearerFile) Fetch(context.Context, *Client) (*Value, error) {
	token, err := readToken(string(f))
	if err != nil {
		return nil, &Error{Reason: "file", Text: err.Error()}
	}
	v := &Value{Again: readEvery, Secrets: []string{token}}
	v.Header, err = field("Authorization", "Bearer "+token)
	return v, err
}

// readToken reads a file with a token. Only regular files are read: a pipe would block.
func readToken(path string) (string, error) {
	i, err := os.Stat(path)
	switch {
	case err != nil:
		return "", short(err)
	case !i.Mode().IsRegular():
		return "", errors.New(path + " is not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return "", short(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, longestFile+1))
	switch token := strings.TrimSpace(string(text)); {
	case err != nil:
		return "", short(err)
	case len(text) > longestFile:
		return "", errors.New(path + " is too long for a token")
	case token == "":
		return "", errors.New(path + " is empty")
	default:
		return token, nil
	}
}

// short says what is wrong with a path without the system call's name.
func short(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return errors.New(p.Path + ": " + p.Err.Error())
	}
	return err
}
