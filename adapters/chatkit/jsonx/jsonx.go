// Package jsonx reads a platform's JSON tolerantly: platforms add kinds of
// things without notice, and a delivery that holds one must still reach whoever
// it is for.
package jsonx

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// LooseString is a JSON string, or whatever stands in its place, as text: an empty
// input is null, and numbers come where strings were.
type LooseString string

// UnmarshalJSON never fails: what is no text is no text.
func (t *LooseString) UnmarshalJSON(b []byte) error {
	var s string
	switch {
	case json.Unmarshal(b, &s) == nil:
		*t = LooseString(s)
	case len(b) > 0 && strings.IndexByte("-0123456789", b[0]) >= 0:
		*t = LooseString(b)
	default:
		*t = ""
	}
	return nil
}

// IgnoreTypeErrors ignores a field of another type than expected: the others are decoded
// all the same.
func IgnoreTypeErrors(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return nil
	}
	return err
}

// Encode writes JSON with &, < and > as they are: half the size of a text
// with many of them.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
