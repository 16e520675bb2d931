package protocol

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
)

// Bytes is a block that says which bytes are sent: text, or a mapping with one of its keys.
type Bytes struct {
	Text   *block.Text `yaml:"text" doc:"Text; may hold ${…}."`
	Hex    *block.Text `yaml:"hex" doc:"Bytes in hexadecimal digits, spaces between them allowed; may hold ${…}."`
	Base64 *block.Text `yaml:"base64" doc:"Bytes in base64; may hold ${…}."`
	File   *block.Text `yaml:"file" doc:"The content of a file, read when the configuration is; the path starts from the configuration file."`
}

// bytesBlock is Bytes in its longer form.
type bytesBlock Bytes

// DecodeBlock reads text, or the mapping.
func (b *Bytes) DecodeBlock(n *block.Node, errs *block.Errors) {
	if n.Kind != block.Map {
		b.Text = new(block.Text)
		block.Decode(n, b.Text, errs)
		return
	}
	before := errs.Len()
	block.Decode(n, (*bytesBlock)(b), errs)
	written := 0
	for _, t := range []*block.Text{b.Text, b.Hex, b.Base64, b.File} {
		if t != nil {
			written++
		}
	}
	if written != 1 && errs.Len() == before {
		errs.Add(n.Pos, n.Path, "must be text, or have one of text, hex, base64 and file").Hint = `write "PING\r\n", or {hex: 50494e470d0a}`
	}
}

// JSONSchema describes both forms.
func (Bytes) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{block.Text{}.JSONSchema(), block.Schema(bytesBlock{})}}
}

// A Payload is compiled Bytes.
type Payload struct {
	fixed []byte         // where text is nil
	text  *expr.Template // of what differs from request to request
	// decode appends what text stands for; nil for the text itself.
	decode func(dst, text []byte) ([]byte, error)
	key    string // of the block
}

// Compile compiles the bytes. Mistakes go to k.Errors; with any, the payload must not be used.
func (b *Bytes) Compile(k *Compiler) *Payload {
	switch {
	case b.File != nil:
		return &Payload{fixed: k.Content(b.File)}
	case b.Hex != nil:
		return payload(k, "hex", *b.Hex, appendHex)
	case b.Base64 != nil:
		return payload(k, "base64", *b.Base64, base64.StdEncoding.AppendDecode)
	case b.Text != nil:
		return payload(k, "text", *b.Text, nil)
	}
	return &Payload{}
}

func payload(k *Compiler, key string, t block.Text, decode func(dst, text []byte) ([]byte, error)) *Payload {
	p := &Payload{key: key, decode: decode, text: expr.ParseTemplate(t, k.Symbols, k.Errors)}
	text, constant := p.text.Constant()
	if !constant {
		return p
	}
	p.text, p.fixed = nil, []byte(text)
	if decode != nil {
		var err error
		if p.fixed, err = decode(nil, []byte(text)); err != nil {
			if t.Hidden {
				err = errors.New("it is not")
			}
			k.Errors.Add(t.Pos, t.Path, "must be %s: %v", key, err).Hint = "write text for text"
		}
	}
	return p
}

// Constant returns the bytes where they are always the same.
func (p *Payload) Constant() ([]byte, bool) { return p.fixed, p.text == nil }

// Append appends the bytes. An error is an *expr.ValueError.
func (p *Payload) Append(dst []byte, s *expr.Scope) ([]byte, error) {
	if p.text == nil {
		return append(dst, p.fixed...), nil
	}
	begin := len(dst)
	dst, err := p.text.Append(dst, s)
	if err != nil || p.decode == nil {
		return dst, err
	}
	// The bytes are decoded behind their text, and then take its place.
	end := len(dst)
	if dst, err = p.decode(dst, dst[begin:end]); err != nil {
		return dst, &expr.ValueError{Text: p.key + ": " + err.Error()}
	}
	return dst[:begin+copy(dst[begin:], dst[end:])], nil
}

// appendHex appends the bytes that hexadecimal digits stand for. There may be white space between bytes.
func appendHex(dst, text []byte) ([]byte, error) {
	half, high := false, byte(0)
	for _, c := range text {
		var digit byte
		switch {
		case '0' <= c && c <= '9':
			digit = c - '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			digit = c | 0x20 - 'a' + 10
		case !half && (c == ' ' || c == '\n' || c == '\t'):
			continue
		default:
			return dst, fmt.Errorf("%q is no hexadecimal digit", rune(c))
		}
		if half = !half; half {
			high = digit << 4
		} else {
			dst = append(dst, high|digit)
		}
	}
	if half {
		return dst, errors.New("a digit is missing: a byte has two")
	}
	return dst, nil
}

// Written returns the text that the bytes are written as.
func (b *Bytes) Written() block.Text {
	for _, t := range []*block.Text{b.Text, b.Hex, b.Base64, b.File} {
		if t != nil {
			return *t
		}
	}
	return block.Text{}
}
